"""Ghost text stands where the cursor is, for the text that is on the screen, once."""

import asyncio

import pytest

INVOKED, AUTOMATIC = 1, 2


def ask(uri: str, line: int, character: int, kind: int = AUTOMATIC) -> dict:
    position = {"line": line, "character": character}
    return {"textDocument": {"uri": uri}, "position": position, "context": {"triggerKind": kind}}


def suggestion(text: str, start: int, end: int, number: str = "s1") -> dict:
    return {"id": number, "text": text, "replace_start": start, "replace_end": end, "kind": "line"}


def span(start: tuple[int, int], end: tuple[int, int]) -> dict:
    start, end = ({"line": line, "character": character} for line, character in (start, end))
    return {"start": start, "end": end}


@pytest.mark.parametrize(("encoding", "before"), [("utf-8", 10), ("utf-16", 6), ("utf-32", 5)])
async def test_columns_after_emoji_and_cjk(window, root, encoding, before):
    """The cursor stands behind an emoji and a Chinese character, which every client counts otherwise."""
    await window.begin(root, encodings=[encoding])
    uri = window.open((root / "lib" / "a.ex").as_uri(), "x\r\n  🙂汉y汉\n")
    window.daemon.answers["/complete"] = {"items": [suggestion("y + 1", 7, 8)], "model": "m", "ms": 1}
    (item,) = (await window.ask("textDocument/inlineCompletion", ask(uri, 1, before)))["items"]
    (body,) = window.daemon.bodies("/complete")
    assert (body["line"], body["column"], body["character_offset"]) == (2, 5, 8)
    assert (body["text"], body["version"], body["trigger"]) == ("x\r\n  🙂汉y汉\n", 1, "automatic")
    assert item["range"] == span((1, before - 1), (1, before))
    assert item["insertText"] == "y + 1"
    at_end = await window.ask("textDocument/inlineCompletion", ask(uri, 1, 999))
    assert window.daemon.bodies("/complete")[1]["character_offset"] == 9
    assert at_end["items"]


async def test_an_invoked_request_asks_for_alternatives(window, root):
    """Cycling needs something to cycle through."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), "a")
    await window.ask("textDocument/inlineCompletion", ask(uri, 0, 1, INVOKED))
    (body,) = window.daemon.bodies("/complete")
    assert (body["trigger"], body["alternatives"]) == ("invoked", 3)
    assert body["window"]


async def test_a_stale_text_is_never_answered(window, root):
    """A suggestion for an older text would be inserted in the wrong place."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), "abc")
    gate = asyncio.Event()

    async def late(_body):
        await gate.wait()
        return {"items": [suggestion("def", 3, 3)], "model": "m", "ms": 1}

    window.daemon.answers["/complete"] = late
    number = window.request("textDocument/inlineCompletion", ask(uri, 0, 3))
    await window.until(lambda: window.daemon.bodies("/complete"))
    window.change(uri, 2, {"range": span((0, 3), (0, 3)), "text": "x"})
    await window.ask("codekin/status")
    gate.set()
    assert (await window.reply(number))["result"]["items"] == []


async def test_any_client_can_switch_suggestions_off(window, root):
    """Only clients with a plugin of ours could stop what comes unasked."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), "a")
    window.daemon.answers["/complete"] = {"items": [suggestion("b", 1, 1)], "model": "m", "ms": 1}

    async def switch(**params):
        return await window.ask(
            "workspace/executeCommand", {"command": "codekin.switchSuggestions", "arguments": [params]}
        )

    async def count(kind=AUTOMATIC):
        return len((await window.ask("textDocument/inlineCompletion", ask(uri, 0, 1, kind)))["items"])

    assert await switch(language="elixir") == {"on": True, "languagesOff": ["elixir"]}
    assert (await count(), await count(INVOKED)) == (0, 1)
    assert await switch(language="elixir") == {"on": True, "languagesOff": []}
    assert await count() == 1
    assert (await switch())["on"] is False
    assert await count() == 0
    assert (await switch(on=False))["on"] is False
    assert (await switch(on=True))["on"] is True
    assert await count() == 1
    over = {"command": "codekin.switchSuggestions", "arguments": [None]}
    assert (await window.ask("workspace/executeCommand", over))["on"] is False
    wrong = {"command": "codekin.switchSuggestions", "arguments": [{"on": "yes"}]}
    assert "true or false" in (await window.fail("workspace/executeCommand", wrong))["message"]


async def test_two_hundred_keystrokes_leave_one_request_alive(window, root):
    """Each newer request withdraws the one before; all are answered, the last with its suggestion."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), "")
    gate = asyncio.Event()

    async def late(body):
        await gate.wait()
        return {"items": [suggestion("!", body["character_offset"], body["character_offset"])], "model": "m", "ms": 1}

    window.daemon.answers["/complete"] = late
    numbers = []
    for at in range(200):
        window.change(uri, at + 2, {"range": span((0, at), (0, at)), "text": "a"})
        numbers.append(window.request("textDocument/inlineCompletion", ask(uri, 0, at + 1)))
        await asyncio.sleep(0)
    await window.until(lambda: len(window.daemon.cancelled) + 1 >= len(window.daemon.bodies("/complete")))
    for number in numbers[:-1]:
        assert (await window.reply(number))["result"]["items"] == []
    gate.set()
    assert len((await window.reply(numbers[-1]))["result"]["items"]) == 1
    assert len(window.daemon.cancelled) == len(window.daemon.bodies("/complete")) - 1


async def test_a_cancelled_completion_withdraws_the_daemons_work(window, root):
    """A model must not go on writing for nobody."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), "abc")
    window.daemon.answers["/complete"] = lambda _body: asyncio.Event().wait()
    number = window.request("textDocument/inlineCompletion", ask(uri, 0, 3))
    await window.until(lambda: window.daemon.bodies("/complete"))
    window.notify("$/cancelRequest", {"id": number})
    assert (await window.reply(number))["error"]["code"] == -32800
    assert window.daemon.cancelled == ["/complete"]


async def test_a_menu_item_for_clients_without_ghost_text(window, root):
    """The item replaces what the suggestion replaces, and is found by what stands before the cursor."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), "  🙂.fo\n")
    window.daemon.answers["/complete"] = {"items": [suggestion("foo()\n  bar", 4, 6)], "model": "m", "ms": 1}
    position = {"textDocument": {"uri": uri}, "position": {"line": 0, "character": 7}}
    answer = await window.ask("textDocument/completion", position)
    (item,) = answer["items"]
    assert answer["isIncomplete"] is True
    assert item["label"] == "foo()"
    assert item["textEdit"] == {"range": span((0, 5), (0, 7)), "newText": "foo()\n  bar"}
    assert item["filterText"].startswith("fo")


async def test_no_menu_where_ghost_text_is_shown(window, root):
    """The same suggestion twice on one screen is noise."""
    await window.begin(root, capabilities={"textDocument": {"inlineCompletion": {}}})
    uri = window.open((root / "lib" / "a.ex").as_uri(), "a")
    position = {"textDocument": {"uri": uri}, "position": {"line": 0, "character": 1}}
    assert (await window.ask("textDocument/completion", position))["items"] == []
    assert window.daemon.bodies("/complete") == []


@pytest.mark.parametrize("table", [{"enabled": False}, {"languages_off": ["elixir"]}])
async def test_switched_off_means_silent_until_asked(window, root, table):
    """Off by setting or by language; asking by hand still works."""
    await window.begin(root, initializationOptions={"completion": table})
    uri = window.open((root / "lib" / "a.ex").as_uri(), "a")
    assert (await window.ask("textDocument/inlineCompletion", ask(uri, 0, 1)))["items"] == []
    assert window.daemon.bodies("/complete") == []
    await window.ask("textDocument/inlineCompletion", ask(uri, 0, 1, INVOKED))
    assert window.daemon.bodies("/complete")


async def test_what_became_of_a_suggestion_is_told(window, root):
    """Events become training pairs; a part is counted in code points, whatever the client counts in."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), "a")
    window.daemon.answers["/complete"] = {"items": [suggestion("🙂🙂b", 1, 1)], "model": "m", "ms": 1}
    (item,) = (await window.ask("textDocument/inlineCompletion", ask(uri, 0, 1)))["items"]
    command = item["command"]
    assert command["command"] == "codekin.didAccept"
    window.notify("codekin/didShow", {"id": "s1"})
    window.notify("codekin/didPartiallyAccept", {"id": "s1", "acceptedLength": 4})
    window.notify("codekin/didAccept", {"id": "unknown"})
    window.notify("codekin/didReject", {})
    accept = {"command": command["command"], "arguments": command["arguments"]}
    await window.ask("workspace/executeCommand", accept)
    about = {"root": str(root), "id": "s1"}
    assert window.daemon.bodies("/complete/events") == [
        {**about, "event": "shown"},
        {**about, "event": "partially_accepted", "length": 2},
        {**about, "event": "accepted"},
    ]


async def test_a_part_is_told_before_the_whole(window, root):
    """Parts come as notifications and the whole as a command: the daemon would take a late part for a new one."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), "a")
    window.daemon.answers["/complete"] = {"items": [suggestion("bc", 1, 1)], "model": "m", "ms": 1}
    (item,) = (await window.ask("textDocument/inlineCompletion", ask(uri, 0, 1)))["items"]
    gate = asyncio.Event()

    async def late(_body):
        await gate.wait()
        return {}

    window.daemon.answers["/complete/events"] = late
    window.notify("codekin/didPartiallyAccept", {"id": "s1", "acceptedLength": 1})
    number = window.request("workspace/executeCommand", item["command"])
    await window.until(lambda: window.daemon.bodies("/complete/events"))
    await window.ask("codekin/status")
    assert [body["event"] for body in window.daemon.bodies("/complete/events")] == ["partially_accepted"]
    gate.set()
    await window.reply(number)
    assert [body["event"] for body in window.daemon.bodies("/complete/events")] == ["partially_accepted", "accepted"]


async def test_each_folder_is_warmed_up_once(window, root):
    """The first suggestion must not wait until the repository has been read; who wants none is left alone."""
    await window.begin(root)
    window.open((root / "lib" / "a.ex").as_uri(), "a")
    await window.until(lambda: window.daemon.warmed)
    window.open((root / "lib" / "c.ex").as_uri(), "c")
    await asyncio.sleep(0.1)
    assert [body["root"] for body in window.daemon.warmed] == [str(root)]
    for event in ("lost", "connected"):
        window.daemon.streams[str(root)].put_nowait({"event": event})
    await window.until(lambda: len(window.daemon.warmed) == 2)  # a new daemon knows nothing


async def test_no_warming_up_where_suggestions_are_off(window, root):
    """Switched off means no work for it."""
    await window.begin(root, initializationOptions={"completion": {"enabled": False}})
    window.open((root / "lib" / "a.ex").as_uri(), "a")
    await window.until(lambda: window.daemon.bodies("/buffers"))
    await asyncio.sleep(0.1)
    assert window.daemon.warmed == []
