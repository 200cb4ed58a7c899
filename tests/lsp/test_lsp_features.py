"""What an editor asks comes to the daemon in its terms, and back in the editor's."""

import asyncio
import json

import pytest

from codekin.errors import DaemonError

END_OF_HIT = {"utf-8": 12, "utf-16": 10, "utf-32": 9}
"""The last line of the one hit ends with an emoji."""

TEXT = "defmodule A do\n  # 汉🙂 do\n  def go, do: :ok\nend\n"


def position(line: int, character: int) -> dict[str, int]:
    return {"line": line, "character": character}


def span(start: tuple[int, int], end: tuple[int, int]) -> dict:
    return {"start": position(*start), "end": position(*end)}


def at(uri: str, line: int = 0, character: int = 0, **more) -> dict:
    return {"textDocument": {"uri": uri}, "position": position(line, character), **more}


async def test_similar_at_the_cursor_of_an_unsaved_text(window, root):
    """The daemon gets the text on the screen, not the one on disk."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), TEXT)
    answer = await window.ask("codekin/similar", at(uri, 2, limit=3, filters={"minScore": 0.5, "languages": ["cpp"]}))
    body = window.daemon.bodies("/similar")[0]
    filters = {"min_score": 0.5, "languages": ["cpp"]}
    assert body == {"root": str(root), "path": "lib/a.ex", "text": TEXT, "line": 3, "limit": 3, "filters": filters}
    hit = answer["hits"][0]
    assert (hit["uri"], hit["range"]) == ((root / "lib/b.ex").as_uri(), span((2, 0), (3, END_OF_HIT["utf-16"])))
    assert (hit["name"], hit["score"], hit["reasons"]) == ("B.run/1", 0.9, ["same calls"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
async def test_ranges_of_hits_are_in_the_clients_units(window, root, encoding):
    """The last line of the hit ends with an emoji, which each client counts in its own way."""
    await window.begin(root, encodings=[encoding])
    uri = (root / "lib" / "b.ex").as_uri()
    for opened in (False, True):
        if opened:
            window.open(uri, (root / "lib" / "b.ex").read_text())
        hit = (await window.ask("codekin/similar", at(uri)))["hits"][0]
        assert hit["range"]["end"] == position(3, END_OF_HIT[encoding])


@pytest.mark.parametrize(
    ("start", "end", "lines"),
    [((1, 3), (2, 1), (2, 3)), ((1, 0), (2, 0), (2, 2)), ((1, 1), (1, 1), (2, 2)), ((5, 0), (2, 0), (6, 6))],
)
async def test_similar_for_a_selection(window, root, start, end, lines):
    """A selection of whole lines ends at the start of the next, which is not part of it."""
    await window.begin(root)
    uri = (root / "lib" / "b.ex").as_uri()
    await window.ask("codekin/similar", {"textDocument": {"uri": uri}, "range": span(start, end)})
    body = window.daemon.bodies("/similar")[0]
    assert (body["line"], body["end_line"]) == lines
    assert "text" not in body


async def test_similar_for_a_pasted_snippet_and_an_untitled_text(window, root):
    """Code that is in no file yet has similar code all the same."""
    await window.begin(root)
    await window.ask("codekin/similar", {"snippet": "def f, do: 1", "language": "elixir"})
    uri = window.open("untitled:Untitled-1", "int f();", language="cpp")
    await window.ask("codekin/similar", at(uri))
    snippet, untitled = window.daemon.bodies("/similar")
    assert snippet == {"root": str(root), "path": "snippet.ex", "snippet": "def f, do: 1"}
    assert untitled == {"root": str(root), "path": "untitled.cpp", "text": "int f();", "line": 1}


async def test_a_file_outside_the_workspace_is_refused_with_advice(window, root, tmp_path):
    """No file outside the workspace is read, and the error says what to do."""
    await window.begin(root)
    error = await window.fail("codekin/similar", at((tmp_path / "other.ex").as_uri()))
    assert "open its folder" in error["message"]
    assert window.daemon.bodies("/similar") == []


async def test_an_error_of_the_daemon_is_one_sentence(window, root):
    """The daemon's own words reach the user, as a failed request."""
    await window.begin(root)
    window.daemon.answers["/search"] = DaemonError("The daemon does not answer; `codekin daemon stop` ends it.")
    error = await window.fail("codekin/search", {"text": "x"})
    assert error == {"code": -32803, "message": "The daemon does not answer; `codekin daemon stop` ends it."}


async def test_search_queries_every_folder_and_ranks_together(window, root, tmp_path):
    """Folders of one window are searched as one."""
    other = tmp_path / "other"
    other.mkdir()
    await window.begin(root, other)

    asked = []

    def answer(body):
        asked.append(body)
        score = 0.9 if body["root"] == str(other) else 0.4
        hit = {"path": "x.ex", "name": "X", "kind": "module", "language": "elixir"}
        hit |= {"start_line": 1, "end_line": 1, "code_line": 1}
        return {"query": {}, "hits": [{**hit, "score": score, "reasons": []}], "space": "s", "ms": 2}

    window.daemon.answers["/search"] = answer
    hits = (await window.ask("codekin/search", {"text": "retry"}))["hits"]
    assert [hit["uri"] for hit in hits] == [(other / "x.ex").as_uri(), (root / "x.ex").as_uri()]
    one = await window.ask("codekin/search", {"text": "retry", "root": str(root)})
    assert len(one["hits"]) == 1
    near = (other / "y.ex").as_uri()
    await window.ask("codekin/search", {"text": "retry", "near": near, "grep": "def"})
    assert {(body["root"], body.get("near")) for body in asked if "grep" in body} == {
        (str(root), None),
        (str(other), "y.ex"),
    }
    symbols = await window.ask("workspace/symbol", {"query": "retry"})
    assert [(symbol["name"], symbol["kind"], symbol["containerName"]) for symbol in symbols] == [("X", 2, "x.ex")] * 2
    assert await window.ask("workspace/symbol", {"query": " "}) == []


async def test_commands_answer_as_the_requests_do(window, root):
    """A client without custom requests gets the same answers."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), TEXT)
    for name, params in (("similar", at(uri)), ("search", {"text": "x"}), ("status", {})):
        duplicate = {"command": f"codekin.{name}", "arguments": [params]}
        assert await window.ask("workspace/executeCommand", duplicate) == await window.ask(f"codekin/{name}", params)
    assert (await window.fail("workspace/executeCommand", {"command": "rm"}))["code"] == -32602


async def test_a_lens_counts_when_it_is_resolved(window, root):
    """A lens is counted when it is resolved, and its command shows what was counted."""
    await window.begin(root, initializationOptions={"showSimilarCommand": "client.show"})
    uri = window.open((root / "lib" / "a.ex").as_uri(), TEXT)
    (lens,) = await window.ask("textDocument/codeLens", {"textDocument": {"uri": uri}})
    assert "command" not in lens
    assert lens["range"] == span((1, 0), (1, 0))
    assert window.daemon.bodies("/similar") == []
    command = (await window.ask("codeLens/resolve", lens))["command"]
    assert (command["title"], command["command"]) == ("1 similar", "client.show")
    assert command["arguments"][0]["hits"][0]["uri"] == (root / "lib/b.ex").as_uri()
    window.daemon.answers["/similar"] = {"hits": [], "ms": 0}
    assert (await window.ask("codeLens/resolve", lens))["command"] == {"title": "0 similar", "command": ""}
    window.daemon.answers["/similar"] = DaemonError("gone.")
    assert "command" in await window.ask("codeLens/resolve", lens)


async def test_lenses_can_be_switched_off_while_running(window, root):
    """A changed setting applies at once, whether the client sends it or the server requests it."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), TEXT)
    window.notify("workspace/didChangeConfiguration", {"settings": {"codekin": {"similar": {"lens": False}}}})
    assert await window.ask("textDocument/codeLens", {"textDocument": {"uri": uri}}) == []
    await window.until(
        lambda: (window.daemon.bodies("/workspaces/open") or [{}])[-1].get("settings") == {"similar": {"lens": False}}
    )


async def test_settings_are_pulled_where_the_client_offers_it(window, root):
    """VS Code and Neovim only say that something changed."""
    table = {"similar": {"lens": False}}
    window.replies["workspace/configuration"] = lambda params: [table for _ in params["items"]]
    workspace = {"configuration": True, "didChangeConfiguration": {"dynamicRegistration": True}}
    await window.begin(root, capabilities={"workspace": workspace})
    uri = window.open((root / "lib" / "a.ex").as_uri(), TEXT)
    await window.until(lambda: window.notifications("client/registerCapability"))
    await window.until(lambda: any(body["settings"] == table for body in window.daemon.bodies("/workspaces/open")))
    assert await window.ask("textDocument/codeLens", {"textDocument": {"uri": uri}}) == []
    table = {}
    window.notify("workspace/didChangeConfiguration", {"settings": None})
    await window.until(lambda: window.daemon.bodies("/workspaces/open")[-1]["settings"] == {})
    assert await window.ask("textDocument/codeLens", {"textDocument": {"uri": uri}})


async def test_a_wrong_setting_is_named_in_the_status(window, root):
    """A setting with a wrong value is named in the status."""
    await window.begin(root, initializationOptions={"similar": {"limit": "many"}})
    await window.ask("textDocument/codeLens", {"textDocument": {"uri": (root / "lib/b.ex").as_uri()}})
    status = await window.ask("codekin/status")
    assert status["kind"] == "Warning"
    assert "similar.limit" in status["message"]


async def test_the_action_for_cursor_and_selection(window, root):
    """It is offered where it can work, and not where only certain kinds are wanted."""
    await window.begin(root)
    uri = (root / "lib" / "b.ex").as_uri()
    params = {"textDocument": {"uri": uri}, "range": span((1, 0), (1, 0)), "context": {"diagnostics": []}}
    (action,) = await window.ask("textDocument/codeAction", params)
    assert action["command"] == {
        "title": "Find similar code",
        "command": "codekin.showSimilar",
        "arguments": [{"uri": uri, "position": position(1, 0)}],
    }
    selected = {**params, "range": span((1, 0), (2, 0))}
    (action,) = await window.ask("textDocument/codeAction", selected)
    assert action["command"]["arguments"] == [{"uri": uri, "range": span((1, 0), (2, 0))}]
    assert await window.ask("textDocument/codeAction", {**params, "context": {"only": ["quickfix"]}}) == []


async def test_a_client_without_a_view_is_offered_a_choice(window, root):
    """A client without a view of ours shows the similar code as a choice."""
    window.replies["window/showMessageRequest"] = lambda params: params["actions"][0]
    await window.begin(root, capabilities={"window": {"showDocument": {"support": True}}})
    argument = {"uri": (root / "lib/b.ex").as_uri(), "position": position(1, 0)}
    command = {"command": "codekin.showSimilar", "arguments": [argument]}
    assert (await window.ask("workspace/executeCommand", command))["hits"]
    (shown,) = await window.until(lambda: window.notifications("window/showDocument"))
    assert shown["uri"] == (root / "lib/b.ex").as_uri()
    assert shown["selection"]["start"] == position(2, 0)


async def test_hints_are_off_until_enabled_and_cleared_with_the_setting(window, root):
    """A near-duplicate is a quiet hint with its duplicate; it is off by default."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), TEXT)
    await window.ask("codekin/status")
    assert window.notifications("textDocument/publishDiagnostics") == []
    on = {"settings": {"codekin": {"similar": {"duplicate_hints": True, "duplicate_min_score": 0.8}}}}
    window.notify("workspace/didChangeConfiguration", on)
    (published,) = await window.until(lambda: window.notifications("textDocument/publishDiagnostics"))
    (hint,) = published["diagnostics"]
    assert (published["uri"], published["version"], hint["severity"], hint["code"]) == (uri, 1, 4, "near-duplicate")
    assert "lib/b.ex:3" in hint["message"]
    assert hint["relatedInformation"][0]["location"]["uri"] == (root / "lib/b.ex").as_uri()
    assert window.daemon.bodies("/similar")[-1]["filters"] == {"min_score": 0.8}
    window.notify("workspace/didChangeConfiguration", {"settings": {"codekin": {}}})
    await window.until(lambda: window.notifications("textDocument/publishDiagnostics")[-1]["diagnostics"] == [])


async def test_a_new_function_that_repeats_code_is_marked_while_it_is_written(window, root):
    """A quiet piece of information names what does the same and why; a setting takes it away."""
    query = {"path": "lib/a.ex", "name": "A.go/0", "language": "elixir", "start_line": 2, "end_line": 4}
    hit = {**window.daemon.answers["/similar"]["hits"][0], "reasons": []}
    existing = [{"hit": hit, "relation": "renamed copy", "overlap": 1.0, "evidence": ["the same but for names: a → b"]}]
    window.daemon.answers["/drafts"] = {"functions": [{"query": query, "existing": existing}]}
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), TEXT)
    (published,) = await window.until(lambda: window.notifications("textDocument/publishDiagnostics"))
    (hint,) = published["diagnostics"]
    assert (published["uri"], hint["severity"], hint["code"]) == (uri, 3, "does-the-same")
    assert hint["range"]["start"]["line"] == 1
    assert "lib/b.ex:3): renamed copy; the same but for names: a → b." in hint["message"]
    assert window.daemon.bodies("/drafts")[-1] == {"root": str(root), "path": "lib/a.ex", "text": TEXT}
    off = {"settings": {"codekin": {"similar": {"reuse_hints": False}}}}
    window.notify("workspace/didChangeConfiguration", off)
    await window.until(lambda: window.notifications("textDocument/publishDiagnostics")[-1]["diagnostics"] == [])


async def test_texts_reach_the_daemon_in_order_and_the_last_alone_counts(window, root):
    """Unsaved code counts; a closed document's file counts again."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), "one", version=3)
    for version in range(4, 9):
        window.change(uri, version, {"text": f"text {version}"})
    await window.until(lambda: (window.daemon.bodies("/buffers") or [{}])[-1].get("text") == "text 8")
    assert len(window.daemon.bodies("/buffers")) <= 3
    window.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
    body = await window.until(lambda: next((b for b in window.daemon.bodies("/buffers") if b["text"] is None), None))
    assert body.items() >= {"root": str(root), "path": "lib/a.ex", "text": None, "version": 8}.items()
    assert {b["window"] for b in window.daemon.bodies("/buffers")} == {window.session.window}


async def test_folders_come_and_go_while_running(window, root, tmp_path):
    """Each folder is watched from the moment it is added until it is removed."""
    other = tmp_path / "other"
    other.mkdir()
    await window.begin(root)
    await window.until(lambda: str(root) in window.daemon.streams)
    event = {"added": [{"uri": other.as_uri(), "name": "other"}], "removed": [{"uri": root.as_uri(), "name": "p"}]}
    window.notify("workspace/didChangeWorkspaceFolders", {"event": event})
    await window.until(lambda: str(other) in window.daemon.streams)
    status = await window.until(lambda: (window.notifications("codekin/status") or [None])[-1])
    await window.until(lambda: window.notifications("codekin/status")[-1]["kind"] == "Normal")
    status = await window.ask("codekin/status")
    assert [folder["name"] for folder in status["folders"]] == ["other"]
    assert await window.fail("codekin/similar", at((root / "lib/b.ex").as_uri()))


async def test_status_follows_the_daemon(window, root):
    """One message when the daemon is lost, one when it is back, with all texts sent again."""
    await window.begin(root)
    window.open((root / "lib" / "a.ex").as_uri(), TEXT)
    await window.until(lambda: window.daemon.bodies("/buffers"))
    stream = window.daemon.streams[str(root)]
    stream.put_nowait({"event": "status", "state": "ready", "problems": []})
    await window.until(lambda: window.notifications("codekin/status")[-1]["message"] == "Codekin is ready.")
    sent = len(window.daemon.bodies("/buffers"))
    stream.put_nowait({"event": "lost", "message": "The daemon left; it is started again."})
    lost = await window.until(
        lambda: next((s for s in window.notifications("codekin/status") if s["kind"] == "Error"), None)
    )
    assert (lost["busy"], lost["message"]) == (True, "The daemon left; it is started again.")
    stream.put_nowait({"event": "connected"})
    await window.until(lambda: len(window.daemon.bodies("/buffers")) > sent)
    kinds = [status["kind"] for status in window.notifications("codekin/status")]
    assert kinds.count("Error") == 1
    assert window.notifications("codekin/status")[-1]["kind"] == "Normal"


async def test_a_daemon_that_cannot_start_is_reported_and_tried_again(window, root):
    """The window lives without its daemon, says why, and heals."""
    window.unreachable = DaemonError("The daemon could not start: no space left.")
    await window.begin(root)
    await window.until(lambda: window.notifications("codekin/status")[-1:])
    await window.until(lambda: window.notifications("codekin/status")[-1]["message"] == str(window.unreachable))
    assert (await window.fail("codekin/search", {"text": "x"}))["code"] == -32803
    window.unreachable = None
    await window.until(lambda: window.notifications("codekin/status")[-1]["kind"] == "Normal")
    errors = [status for status in window.notifications("codekin/status") if status["kind"] == "Error"]
    assert len(errors) == 1


@pytest.mark.parametrize("supported", [True, False])
async def test_progress_is_begun_reported_and_ended_once_a_run(window, root, supported):
    """Two runs have two tokens, each created, begun and ended once; none for clients without."""
    await window.begin(root, capabilities={"window": {"workDoneProgress": supported}})
    await window.until(lambda: str(root) in window.daemon.streams)
    stream = window.daemon.streams[str(root)]
    for _run in range(2):
        for done in (0, 5, 9):
            stream.put_nowait({"event": "progress", "done": done, "total": 10, "rate": 3.0})
        stream.put_nowait({"event": "ready"})
    await window.until(lambda: any(s["message"].startswith("Indexing") for s in window.notifications("codekin/status")))
    await window.until(lambda: window.notifications("codekin/status")[-1]["message"] == "Codekin is ready.")
    runs: dict[str, list[str]] = {}
    for params in window.notifications("$/progress"):
        runs.setdefault(params["token"], []).append(params["value"]["kind"])
    assert list(runs.values()) == [["begin", "report", "report", "end"]] * (2 if supported else 0)
    created = [params["token"] for params in window.notifications("window/workDoneProgress/create")]
    assert created == list(runs)


async def test_a_progress_token_that_is_refused_is_not_used(window, root):
    """Without a token that the client accepted, no progress is reported."""
    original = window.write

    def write(data: bytes) -> None:
        if b"workDoneProgress/create" in data:
            window.receive({"id": json.loads(data)["id"], "error": {"code": 1, "message": "no"}})
        else:
            original(data)

    window.write = write
    await window.begin(root, capabilities={"window": {"workDoneProgress": True}})
    await window.until(lambda: str(root) in window.daemon.streams)
    stream = window.daemon.streams[str(root)]
    for event in ({"event": "progress", "done": 1, "total": 2}, {"event": "ready"}, {"event": "connected"}):
        stream.put_nowait(event)
    await window.until(stream.empty)
    await asyncio.sleep(0.05)
    assert window.notifications("$/progress") == []


async def test_lenses_are_refreshed_when_the_index_changes(window, root):
    """Counts grow old as files change."""
    await window.begin(root, capabilities={"workspace": {"codeLens": {"refreshSupport": True}}})
    await window.until(lambda: window.notifications("workspace/codeLens/refresh"))
    before = len(window.notifications("workspace/codeLens/refresh"))
    window.daemon.streams[str(root)].put_nowait({"event": "changed", "paths": ["lib/b.ex"]})
    await window.until(lambda: len(window.notifications("workspace/codeLens/refresh")) > before)


async def test_finetuning_history_and_rollback(window, root):
    """The editor starts fine-tuning, shows its history and rolls it back."""
    await window.begin(root)
    assert await window.ask("codekin/finetune", {"method": "head", "nonsense": 1}) == {
        "message": "Fine-tuning has started."
    }
    assert await window.ask("codekin/history") == {"runs": [], "active": "base"}
    assert (await window.ask("codekin/rollback", {"checkpoint": "base"}))["active"] == "base"
    assert (await window.ask("codekin/dashboard"))["url"].startswith("http://127.0.0.1:")
    about = {"root": str(root)}
    assert window.daemon.bodies("/finetune") == [{**about, "method": "head", "background": True}]
    assert window.daemon.bodies("/history") == [about]
    assert window.daemon.bodies("/rollback") == [{**about, "checkpoint": "base"}]


async def test_duplicates_and_indexing_on_demand(window, root):
    """Groups come with places that can be opened, and the result of an indexing with its counts."""
    await window.begin(root)
    (group,) = (await window.ask("codekin/duplicates", {"filters": {"minScore": 0.8}}))["groups"]
    assert [hit["uri"] for hit in group] == [(root / "lib/b.ex").as_uri()] * 2
    assert window.daemon.bodies("/duplicates")[0]["filters"] == {"min_score": 0.8}
    assert await window.ask("codekin/index", {"rebuild": True}) == {"files": 1, "chunks": 2}
    assert window.daemon.bodies("/index") == [{"root": str(root), "rebuild": True}]


async def test_a_hit_in_an_open_document_has_the_uri_it_was_opened_by(window, root, tmp_path):
    """Results use the URI by which the client opened a file, through links too."""
    link = tmp_path / "link"
    link.symlink_to(root)
    await window.begin(link)
    await window.ask("codekin/search", {"text": "x"})
    opened = (root / "lib" / "b.ex").as_uri()
    (hit,) = (await window.ask("codekin/search", {"text": "x"}))["hits"]
    assert hit["uri"] == (link / "lib" / "b.ex").as_uri()
    window.open(opened, "one line\nanother\nthird\n🙂\n")
    (hit,) = (await window.ask("codekin/search", {"text": "x"}))["hits"]
    assert (hit["uri"], hit["range"]["end"]) == (opened, position(3, 2))


async def test_pushed_settings_count_where_the_client_does_not_answer_for_them(window, root):
    """Pushed settings apply where the client answers `workspace/configuration` with null."""
    window.replies["workspace/configuration"] = lambda _params: [None]
    await window.begin(root, capabilities={"workspace": {"configuration": True}})
    pushed = {"settings": {"codekin": {"completion": {"enabled": False}}}}
    window.notify("workspace/didChangeConfiguration", pushed)
    await window.until(lambda: not window.session.settings(next(iter(window.session.folders))).completion.enabled)


@pytest.mark.parametrize(
    ("client", "options", "wanted"),
    [("Visual Studio Code", {}, True), ("helix", {}, False), ("Emacs", {}, False), ("Emacs", {"status": True}, True),
     ("Zed", {"status": False}, False)],
)  # fmt: skip
async def test_the_status_goes_to_clients_that_take_it(window, root, client, options, wanted):
    """Emacs and Helix get the custom status notification only if they opt in."""
    await window.begin(root, clientInfo={"name": client}, initializationOptions=options)
    await window.until(lambda: window.session.status.current.message == "Codekin is ready.")
    assert bool(window.notifications("codekin/status")) == wanted


async def test_a_document_of_a_megabyte_has_no_lenses(window, root):
    """A document of a megabyte is not cut into lenses."""
    await window.begin(root)
    uri = window.open((root / "lib" / "b.ex").as_uri(), "x = 1\n" * 150_000)
    assert await window.ask("textDocument/codeLens", {"textDocument": {"uri": uri}}) == []
    assert window.daemon.bodies("/lens") == []
