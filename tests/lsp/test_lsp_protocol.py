"""Every request is answered exactly once, in any order of events and whatever the message."""

import asyncio
import random

import pytest

from codekin.lsp.transport import JsonRpcError


async def forever(_body=None):
    await asyncio.Event().wait()


async def test_requests_before_initialize_are_refused(window):
    """A request before `initialize` gets the protocol's error."""
    assert (await window.fail("codekin/status"))["code"] == -32002
    await window.begin()
    assert (await window.fail("initialize", {}))["code"] == -32600


async def test_initialize_survives_whatever_a_client_adds(window):
    """Unknown or malformed capabilities are ignored."""
    odd = {
        "workspace": {"symbol": {"symbolKind": {"valueSet": [999]}}},
        "general": {"positionEncodings": ["ebcdic", 5]},
    }
    result = await window.ask("initialize", {"processId": "x", "trace": "loud", "capabilities": odd, "rootUri": 7})
    assert result["capabilities"]["positionEncoding"] == "utf-16"


async def test_initialize_without_params_is_answered(window):
    """A request with null params gets a response."""
    assert "capabilities" in await window.ask("initialize", None)


async def test_capabilities_are_announced(window, root):
    """Every supported request is announced, inline completion included."""
    capabilities = await window.begin(root, encodings=["utf-8", "utf-16"])
    assert capabilities["positionEncoding"] == "utf-8"
    assert capabilities["textDocumentSync"]["openClose"] is True
    assert capabilities["textDocumentSync"]["change"] == 2
    assert capabilities["inlineCompletionProvider"] == {}
    assert capabilities["codeLensProvider"] == {"resolveProvider": True}
    assert {"codekin.similar", "codekin.search"} <= set(capabilities["executeCommandProvider"]["commands"])
    assert capabilities["workspace"]["workspaceFolders"] == {"supported": True, "changeNotifications": True}


async def test_unknown_methods(window):
    """A request is refused by name, a notification passed over."""
    await window.begin()
    window.notify("$/unknown", {"jsonrpc": "2.0"})
    assert (await window.fail("codekin/unknown", {}))["code"] == -32601
    assert (await window.fail("$/unknown", {}))["code"] == -32601


@pytest.mark.parametrize(
    "method",
    [
        "codekin/similar",
        "codekin/search",
        "textDocument/codeAction",
        "textDocument/codeLens",
        "codeLens/resolve",
        "textDocument/inlineCompletion",
        "textDocument/completion",
        "workspace/executeCommand",
    ],
)
async def test_wrong_params_are_refused_with_a_sentence(window, root, method):
    """Params of a wrong form, or with a nested "jsonrpc" key, get an error response."""
    await window.begin(root)
    for params in (None, [], 5, "x", {}, {"jsonrpc": "2.0", "id": 1}, {"textDocument": {"uri": 5}}):
        error = await window.fail(method, params)
        assert error["code"] == -32602
        assert error["message"].endswith(".")


async def test_messages_that_are_none_are_answered_with_an_error(window):
    """JSON that is no message of the protocol gets an error each, and the session goes on."""
    await window.begin()
    batch = [{"method": "x"}]
    idless = [[], batch, 5, "x", None, {}, {"id": None, "method": "codekin/status"}, {"id": True, "method": "x"}]
    idless += [{"id": [1], "method": "x"}, {"id": 1.5, "method": "x"}]
    window.receive(
        *idless, {"id": 7, "method": 5}, {"method": None, "id": 8}, {"id": 9}, JsonRpcError(-32700, "broken")
    )
    assert (await window.ask("codekin/status"))["kind"] == "Inactive"
    refused = [(m["id"], m["error"]["code"]) for m in window.sent if "error" in m]
    assert refused == [(None, -32600)] * len(idless) + [(7, -32600), (8, -32600), (9, -32600), (None, -32700)]


async def test_wrong_version_is_refused(window):
    """JSON-RPC 1 clients wait for an answer as well."""
    await window.begin()
    window.receive({"jsonrpc": "1.0", "id": 77, "method": "codekin/status"})
    assert (await window.reply(77))["error"]["code"] == -32600


async def test_a_cancelled_request_is_answered_and_its_work_cancelled(window, root):
    """A reply of -32800, and the daemon sees its connection close."""
    await window.begin(root)
    window.daemon.answers["/search"] = forever
    number = window.request("codekin/search", {"text": "x"})
    await window.until(lambda: window.daemon.bodies("/search"))
    window.notify("$/cancelRequest", {"id": number})
    assert (await window.reply(number))["error"]["code"] == -32800
    assert window.daemon.cancelled == ["/search"]


async def test_a_command_is_cancelled_too(window, root):
    """The commands that stand for our requests are cancelled as the requests are."""
    await window.begin(root)
    window.daemon.answers["/search"] = forever
    number = window.request("workspace/executeCommand", {"command": "codekin.search", "arguments": [{"text": "x"}]})
    await window.until(lambda: window.daemon.bodies("/search"))
    window.notify("$/cancelRequest", {"id": number})
    assert (await window.reply(number))["error"]["code"] == -32800
    assert window.daemon.cancelled == ["/search"]


async def test_cancelling_what_is_not_there_does_nothing(window):
    """Unknown, finished and malformed ids are passed over."""
    await window.begin()
    finished = window.request("codekin/status")
    await window.reply(finished)
    for params in ({"id": finished}, {"id": 999}, {"id": "x"}, {"id": None}, {"id": {}}, {"id": True}, [], None):
        window.notify("$/cancelRequest", params)
    await window.ask("codekin/status")
    assert len([m for m in window.sent if m.get("id") == finished]) == 1


async def test_a_request_cancelled_in_the_same_breath_is_answered(window, root):
    """A cancel may come before the handler's first step."""
    await window.begin(root)
    window.receive(
        {"id": 50, "method": "codekin/search", "params": {"text": "x"}},
        {"method": "$/cancelRequest", "params": {"id": 50}},
    )
    reply = await window.reply(50)
    assert reply["error"]["code"] == -32800


async def test_a_duplicate_id_is_refused_while_the_first_lives(window, root):
    """A second request under a pending id is refused."""
    await window.begin(root)
    window.daemon.answers["/search"] = forever
    window.receive(*[{"id": "same", "method": "codekin/search", "params": {"text": "x"}}] * 2)
    assert (await window.reply("same"))["error"]["code"] == -32600
    window.notify("$/cancelRequest", {"id": "same"})
    await window.until(lambda: [m for m in window.sent if m.get("id") == "same" and m["error"]["code"] == -32800])


async def test_a_hundred_slow_requests_leave_the_way_free(window, root):
    """Quick requests pass slow ones, and each id gets one reply."""
    await window.begin(root)
    gate = asyncio.Event()

    async def slow(_body):
        await gate.wait()
        return {"hits": [], "ms": 0}

    window.daemon.answers["/search"] = slow
    numbers = [window.request("codekin/search", {"text": "x"}) for _ in range(100)]
    await window.until(lambda: len(window.daemon.bodies("/search")) == 100)
    await window.ask("codekin/status")
    assert not [m for m in window.sent if m.get("id") in numbers]
    gate.set()
    for number in numbers:
        assert "result" in await window.reply(number)
    assert sorted(m["id"] for m in window.sent if m.get("id") in numbers) == numbers


async def test_a_request_sees_the_text_it_was_sent_after(window, root):
    """Messages that arrive together are handled in order: a request sees no later edit."""
    await window.begin(root)
    uri = (root / "a.ex").as_uri()
    window.open(uri, "one")
    similar = {"textDocument": {"uri": uri}, "position": {"line": 0, "character": 0}}
    edit = {"textDocument": {"uri": uri, "version": 2}, "contentChanges": [{"text": "two"}]}
    window.receive(
        {"id": 90, "method": "codekin/similar", "params": similar},
        {"method": "textDocument/didChange", "params": edit},
        {"id": 91, "method": "codekin/similar", "params": similar},
    )
    await window.reply(90)
    await window.reply(91)
    assert [body["text"] for body in window.daemon.bodies("/similar")] == ["one", "two"]


async def test_an_error_of_ours_is_one_reply_and_the_session_goes_on(window, root):
    """An exception in a handler gives an error response, and the session goes on."""
    await window.begin(root)
    window.daemon.answers["/search"] = lambda _body: {"no": "hits"}
    assert (await window.fail("codekin/search", {"text": "x"}))["code"] == -32603
    assert await window.ask("codekin/status")


async def test_responses_to_nothing_are_passed_over(window, root):
    """A response with the id of a request in flight, or of nothing, changes nothing."""
    await window.begin(root)
    gate = asyncio.Event()
    window.daemon.answers["/search"] = lambda _body: gate.wait()
    number = window.request("codekin/search", {"text": "x"})
    window.receive(
        {"id": number, "result": 1}, {"id": "none", "error": {"code": 1, "message": "x"}}, {"id": 5, "error": 3}
    )
    assert await window.ask("codekin/status")
    gate.set()
    await window.reply(number)


async def test_shutdown_ends_what_runs_and_refuses_the_rest(window, root):
    """Shutdown cancels what runs; later requests are refused, and exit ends with status 0."""
    await window.begin(root)
    window.daemon.answers["/search"] = forever
    running = window.request("codekin/search", {"text": "x"})
    await window.until(lambda: window.daemon.bodies("/search"))
    assert await window.ask("shutdown") is None
    assert (await window.reply(running))["error"]["code"] == -32800
    assert (await window.fail("codekin/status"))["code"] == -32600
    window.notify("exit")
    await window.server.protocol.stopped.wait()
    assert window.server.protocol.exit_code == 0


async def test_exit_without_shutdown_is_reported_by_the_status(window):
    """The protocol asks for exit status 1 then."""
    await window.begin()
    window.notify("exit")
    await window.server.protocol.stopped.wait()
    assert window.server.protocol.exit_code == 1


async def test_any_stream_of_messages_gets_one_answer_a_request(window, root, caplog):
    """Whatever a client sends, in whatever order, each request is answered once and the session lives."""
    await window.begin(root)
    source = random.Random(11)
    methods = [*window.server.protocol.fm.features, "initialize", "unknown/method", "$/cancelRequest", ""]
    methods = [method for method in methods if method not in {"shutdown", "exit"}]
    uri = (root / "lib" / "b.ex").as_uri()
    place = {"line": 2**40, "character": -1}
    pieces = [
        None,
        5,
        "x",
        [],
        {},
        uri,
        place,
        {"uri": uri},
        {"uri": uri, "version": 1, "text": "é\r🙂"},
        {"start": place},
    ]
    keys = ["textDocument", "position", "range", "text", "query", "command", "arguments", "event", "settings", "id",
            "contentChanges", "data", "context", "snippet", "filters", "limit", "jsonrpc"]  # fmt: skip
    numbers = []
    for number in range(1000, 2000):
        params = {key: source.choice(pieces) for key in source.sample(keys, 4)} | {
            "textDocument": source.choice(pieces)
        }
        message = {"method": source.choice(methods), "params": source.choice([params, params, *pieces])}
        if source.random() < 0.7:
            message["id"] = number
            numbers.append(number)
        window.receive(message)
    for number in numbers:
        await window.reply(number)
    assert await window.ask("codekin/status")
    assert sorted(message["id"] for message in window.sent if message.get("id") in set(numbers)) == numbers
    internal = {m["error"]["message"] for m in window.sent if m.get("error", {}).get("code") == -32603}
    assert internal == set()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
