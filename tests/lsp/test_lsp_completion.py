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


async def test_an_invoked_request_gets_alternatives(window, root):
    """Cycling needs something to cycle through."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), "a")
    await window.ask("textDocument/inlineCompletion", ask(uri, 0, 1, INVOKED))
    (body,) = window.daemon.bodies("/complete")
    assert (body["trigger"], body["alternatives"]) == ("invoked", 3)
    assert body["window"]


async def test_a_stale_text_is_never_answered(window, root):
    """A request for an older text gets no suggestion."""
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
    """Any client can switch suggestions off by `workspace/executeCommand`."""
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


async def test_a_cancelled_completion_cancels_the_daemons_work(window, root):
    """Cancelling the request cancels the generation."""
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


async def menu_item(window, root, line: str, *items: dict) -> dict:
    """The first menu item at the end of a line."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), line)
    window.daemon.answers["/complete"] = {"items": list(items), "model": "m", "ms": 1}
    (item, *_) = (await window.ask("textDocument/completion", ask(uri, 0, len(line))))["items"]
    return item


async def test_a_menu_item_holds_the_whole_word(window, root):
    """Menus filter by the word before the cursor: nvim-cmp, blink.cmp and mini.completion show what begins with it."""
    item = await menu_item(window, root, "  x = Enum.so", suggestion("rt(numbers)", 13, 13))
    assert (item["label"], item["filterText"]) == ("sort(numbers)", "sort(numbers)")
    assert item["textEdit"] == {"range": span((0, 11), (0, 13)), "newText": "sort(numbers)"}


async def test_a_menu_item_after_a_dot_begins_at_the_cursor(window, root):
    """There is no word to repeat."""
    item = await menu_item(window, root, "  x = Enum.", suggestion("sort(numbers)", 11, 11))
    assert (item["label"], item["filterText"]) == ("sort(numbers)", "sort(numbers)")
    assert item["textEdit"] == {"range": span((0, 11), (0, 11)), "newText": "sort(numbers)"}


async def test_a_menu_item_of_several_lines_is_filtered_by_its_first(window, root):
    """The rest is in its documentation and in the edit."""
    item = await menu_item(window, root, "cas", suggestion("e x do\n  1 -> 2\nend", 3, 3))
    assert (item["label"], item["filterText"]) == ("case x do", "case x do")
    assert item["textEdit"]["newText"] == item["documentation"] == "case x do\n  1 -> 2\nend"


async def over_selection(window, root, selected: dict, *items: dict, encoding: str = "utf-16") -> list[dict]:
    """Ghost text for `  🙂 = Enum.so` while an item of a menu is selected."""
    await window.begin(root, encodings=[encoding])
    uri = window.open((root / "lib" / "a.ex").as_uri(), "  🙂 = Enum.so)\n")
    window.daemon.answers["/complete"] = {"items": list(items), "model": "m", "ms": 1}
    params = ask(uri, 0, 14)
    params["context"]["selectedCompletionInfo"] = selected
    return (await window.ask("textDocument/inlineCompletion", params))["items"]


async def test_ghost_text_goes_on_from_the_selected_item_of_a_menu(window, root):
    """The daemon sees the text with the item in place; what it adds replaces what the item replaces."""
    selected = {"range": span((0, 12), (0, 14)), "text": "sort_by"}
    (item,) = await over_selection(window, root, selected, suggestion("(numbers)", 18, 19))
    (body,) = window.daemon.bodies("/complete")
    assert (body["text"], body["column"], body["character_offset"]) == ("  🙂 = Enum.sort_by)\n", 18, 18)
    assert (item["insertText"], item["range"]) == ("sort_by(numbers)", span((0, 12), (0, 15)))


async def test_what_does_not_go_on_from_the_selected_item_is_left_out(window, root):
    """Only suggestions that continue the selected item are sent."""
    selected = {"range": span((0, 12), (0, 14)), "text": "sort_by"}
    items = [suggestion("shuffle(numbers)", 11, 18, "s1"), suggestion("sort_by(x)", 11, 18, "s2")]
    shown = await over_selection(window, root, selected, *items)
    assert [item["insertText"] for item in shown] == ["sort_by(x)"]
    assert shown[0]["range"] == span((0, 12), (0, 14))


@pytest.mark.parametrize(
    "selected", [{}, 5, {"range": span((0, 1), (1, 0)), "text": "x"}, {"text": "x"}, {"range": {}}]
)
async def test_a_selection_that_cannot_be_read_is_passed_over(window, root, selected):
    """The suggestions are those of the text as it is."""
    (item,) = await over_selection(window, root, selected, suggestion("rt(numbers)", 13, 13))
    assert item["insertText"] == "rt(numbers)"


async def test_a_part_that_was_accepted_over_a_selection_is_counted_from_the_cursor(window, root):
    """The daemon counts in its own text, which begins after the selected item."""
    selected = {"range": span((0, 12), (0, 14)), "text": "sort_by"}
    await over_selection(window, root, selected, suggestion("(numbers)", 18, 18))
    window.notify("codekin/didPartiallyAccept", {"id": "s1", "acceptedLength": 8})
    await window.until(lambda: window.daemon.bodies("/complete/events"))
    assert window.daemon.bodies("/complete/events")[0]["length"] == 1


async def test_no_menu_where_ghost_text_is_shown(window, root):
    """The same suggestion twice on one screen is noise."""
    await window.begin(root, capabilities={"textDocument": {"inlineCompletion": {}}})
    uri = window.open((root / "lib" / "a.ex").as_uri(), "a")
    position = {"textDocument": {"uri": uri}, "position": {"line": 0, "character": 1}}
    assert (await window.ask("textDocument/completion", position))["items"] == []
    assert window.daemon.bodies("/complete") == []


@pytest.mark.parametrize("table", [{"enabled": False}, {"languages_off": ["elixir"]}])
async def test_switched_off_means_silent_until_invoked(window, root, table):
    """Off by setting or by language; asking by hand still works."""
    await window.begin(root, initializationOptions={"completion": table})
    uri = window.open((root / "lib" / "a.ex").as_uri(), "a")
    assert (await window.ask("textDocument/inlineCompletion", ask(uri, 0, 1)))["items"] == []
    assert window.daemon.bodies("/complete") == []
    await window.ask("textDocument/inlineCompletion", ask(uri, 0, 1, INVOKED))
    assert window.daemon.bodies("/complete")


async def test_what_became_of_a_suggestion_is_reported(window, root):
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


async def test_a_part_is_reported_before_the_whole(window, root):
    """Parts come as notifications and the whole as a command; the daemon gets them in that order."""
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
    """Each folder is warmed up once, and again for a new daemon."""
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


async def test_a_file_of_no_folder_is_served_with_its_own_text(window, root):
    """Its parent folder, which nobody opened, is never read."""
    await window.begin()
    uri = window.open((root / "lib" / "b.ex").as_uri(), "abc")
    window.daemon.answers["/complete"] = {"items": [suggestion("def", 3, 3)], "model": "m", "ms": 1}
    (item,) = (await window.ask("textDocument/inlineCompletion", ask(uri, 0, 3, INVOKED)))["items"]
    (body,) = window.daemon.bodies("/complete")
    assert item["insertText"] == "def"
    assert body["text"] == "abc"
    assert body["root"].endswith("/single-files")
    assert body["path"].endswith("/b.ex")
    await window.ask("codekin/similar", {"textDocument": {"uri": uri}, "position": {"line": 0, "character": 0}})
    assert window.daemon.bodies("/similar")[0]["root"] == body["root"]
    assert window.daemon.bodies("/buffers") == window.daemon.warmed == []


async def test_a_file_beside_the_open_folder_is_served_alone(window, root, tmp_path):
    """A dependency that is looked at is no part of the workspace."""
    await window.begin(root)
    uri = window.open((tmp_path / "deps" / "plug.ex").as_uri(), "abc")
    await window.ask("textDocument/inlineCompletion", ask(uri, 0, 3, INVOKED))
    assert window.daemon.bodies("/complete")[0]["root"].endswith("/single-files")


async def test_the_daemon_hears_whether_a_shown_text_stands_there_later(window, root, monkeypatch):
    """Some time after it was shown, and at the next save: retained if the text is there once more, by whatever keys."""
    monkeypatch.setattr("codekin.lsp.features.retention.RETENTION_SECONDS", 0.01)
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), "x = \n")
    window.daemon.answers["/complete"] = {"items": [suggestion("call()", 4, 4)], "model": "m", "ms": 1}
    await window.ask("textDocument/inlineCompletion", ask(uri, 0, 4))

    def outcomes() -> list[str]:
        return [body["event"] for body in window.daemon.bodies("/complete/events")]

    window.notify("codekin/didShow", {"id": "s1"})
    await window.until(lambda: "lost" in outcomes())
    window.notify("codekin/didReject", {"id": "s1", "reason": "typed"})
    window.change(uri, 2, {"range": span((0, 4), (0, 4)), "text": "call()"})
    window.notify("textDocument/didSave", {"textDocument": {"uri": uri}})
    await window.until(lambda: outcomes()[-1] == "retained")
    assert outcomes() == ["shown", "lost", "typed_over", "retained"]
