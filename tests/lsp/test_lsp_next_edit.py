"""After an edit the window asks where it must be carried on, and gives the places as edits of the client."""

import asyncio


def span(start: tuple[int, int], end: tuple[int, int]) -> dict:
    start, end = ({"line": line, "character": character} for line, character in (start, end))
    return {"start": start, "end": end}


def found(path: str, start: int, end: int, old: list[str], new: list[str]) -> dict:
    lines = {"start_line": start, "end_line": end, "old_lines": old, "new_lines": new}
    return {"edits": [{"path": path, **lines, "chance": 0.9, "kinds": ["replace"]}], "ms": 1}


async def test_the_daemon_hears_of_the_last_edit_alone(window, root):
    """Changes in neighbouring lines are one edit; a change elsewhere begins another."""
    await window.begin(root)
    text = "".join(f"line {number}\n" for number in range(20))
    uri = window.open((root / "lib" / "a.ex").as_uri(), text)
    window.daemon.answers["/next-edit"] = {"edits": [], "ms": 1}
    assert (await window.ask("codekin/nextEdit", {"textDocument": {"uri": uri}}))["edits"] == []
    assert window.daemon.bodies("/next-edit") == []
    window.change(uri, 2, {"range": span((1, 0), (1, 4)), "text": "LINE"})
    window.change(uri, 3, {"range": span((2, 0), (2, 4)), "text": "LINE"})
    await window.ask("codekin/nextEdit", {"textDocument": {"uri": uri}})
    (body,) = window.daemon.bodies("/next-edit")
    assert body["before"] == text
    assert body["text"] == text.replace("line 1\nline 2\n", "LINE 1\nLINE 2\n")
    window.change(uri, 4, {"range": span((15, 0), (15, 4)), "text": "LINE"})
    await window.ask("codekin/nextEdit", {"textDocument": {"uri": uri}})
    assert window.daemon.bodies("/next-edit")[-1]["before"] == body["text"]


async def test_places_come_as_edits_in_the_clients_units(window, root):
    """Lines are replaced, inserted and deleted; a line with an emoji ends where the client counts its end."""
    await window.begin(root, encodings=["utf-16"])
    uri = window.open((root / "lib" / "a.ex").as_uri(), "a\r\nb\r\n")
    window.change(uri, 2, {"range": span((0, 0), (0, 1)), "text": "x"})

    async def edit(answer: dict) -> dict:
        window.daemon.answers["/next-edit"] = answer
        (one,) = (await window.ask("codekin/nextEdit", {"textDocument": {"uri": uri}}))["edits"]
        return one

    replaced = await edit(found("lib/b.ex", 4, 4, ["  end # 🙂"], ["  end"]))
    assert replaced["range"] == span((3, 0), (3, 10))
    assert (replaced["text"], replaced["oldText"]) == ("  end", "  end # 🙂")
    assert replaced["textDocument"] == {"uri": (root / "lib" / "b.ex").as_uri()}
    inserted = await edit(found("lib/a.ex", 2, 1, [], ["c", "d"]))
    assert (inserted["range"], inserted["text"]) == (span((1, 0), (1, 0)), "c\r\nd\r\n")
    assert inserted["textDocument"] == {"uri": uri, "version": 2}
    deleted = await edit(found("lib/a.ex", 2, 2, ["b"], []))
    assert (deleted["range"], deleted["text"]) == (span((1, 0), (2, 0)), "")
    window.notify("codekin/dismissNextEdit", {"id": deleted["id"]})
    assert (await window.ask("codekin/nextEdit", {"textDocument": {"uri": uri}}))["edits"] == []


async def test_clients_of_copilots_language_server_get_one_edit_of_an_open_file(window, root):
    """`textDocument/copilotInlineEdit` gives the likeliest edit with its document's version."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), "a\nb\n")
    window.change(uri, 2, {"range": span((0, 0), (0, 1)), "text": "x"})
    window.daemon.answers["/next-edit"] = found("lib/a.ex", 2, 2, ["b"], ["y"])
    position = {"line": 0, "character": 1}
    params = {"textDocument": {"uri": uri, "version": 2}, "position": position, "context": {"triggerKind": 2}}
    (edit,) = (await window.ask("textDocument/copilotInlineEdit", params))["edits"]
    assert (edit["textDocument"]["version"], edit["text"]) == (2, "y")
    window.daemon.answers["/next-edit"] = found("lib/b.ex", 2, 2, ["b"], ["y"])
    assert (await window.ask("textDocument/copilotInlineEdit", params))["edits"] == []


async def test_an_answer_for_an_older_text_is_dropped(window, root):
    """What was found before the document changed again is not shown."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), "a\nb\n")
    window.change(uri, 2, {"range": span((0, 0), (0, 1)), "text": "x"})
    gate = asyncio.Event()

    async def late(_body):
        await gate.wait()
        return found("lib/a.ex", 2, 2, ["b"], ["y"])

    window.daemon.answers["/next-edit"] = late
    number = window.request("codekin/nextEdit", {"textDocument": {"uri": uri}})
    await window.until(lambda: window.daemon.bodies("/next-edit"))
    window.change(uri, 3, {"range": span((0, 0), (0, 1)), "text": "z"})
    await window.ask("codekin/status")
    gate.set()
    assert (await window.reply(number))["result"]["edits"] == []


def test_a_renamed_function_is_followed_to_another_file(start_editor, tmp_path):
    """Through the real server and daemon: the call in another file, read from disk or unsaved, comes as an edit."""
    root = tmp_path / "shop"
    root.mkdir()
    (root / "price.ex").write_text("defmodule Price do\n  def in_cents(price), do: round(price * 100)\nend\n")
    caller = "defmodule Cart do\n  def total(cart) do\n    Price.in_cents(cart.price)\n  end\nend\n"
    (root / "cart.ex").write_text(caller)
    editor = start_editor()
    editor.begin(root)
    uri = (root / "price.ex").as_uri()
    item = {"uri": uri, "languageId": "elixir", "version": 1, "text": (root / "price.ex").read_text()}
    editor.send(method="textDocument/didOpen", params={"textDocument": item})
    editor.until(lambda m: m.get("method") == "codekin/status" and _is_ready(m["params"]), 120)
    change = {"range": span((1, 6), (1, 14)), "text": "to_cents"}
    identifier = {"uri": uri, "version": 2}
    editor.send(method="textDocument/didChange", params={"textDocument": identifier, "contentChanges": [change]})
    edits: list[dict] = []
    while not edits:  # until the corpus has been read
        edits = editor.ask("codekin/nextEdit", {"textDocument": {"uri": uri}})["edits"]
    assert edits[0]["textDocument"] == {"uri": (root / "cart.ex").as_uri()}
    assert edits[0]["text"] == "    Price.to_cents(cart.price)"


def _is_ready(status: dict) -> bool:
    return status["kind"] == "Normal" and not status["busy"]
