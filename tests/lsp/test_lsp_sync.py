"""The daemon gets every text, and a change that does not fit is told once and put right."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from windows import SharedDaemon, open_window

from codekin.daemon.services.buffers import WindowBuffers
from codekin.lsp.features import sync

EDIT = {"range": {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}}, "text": "x"}


def message(window) -> str:
    return (window.notifications("codekin/status") or [{"message": ""}])[-1]["message"]


async def sent_text(window, text: str) -> None:
    await window.until(
        lambda: window.daemon.bodies("/buffers") and window.daemon.bodies("/buffers")[-1]["text"] == text
    )


async def test_a_text_under_an_unchanged_version_reaches_the_daemon(window, root):
    """A client that never counts up is served like any other."""
    await window.begin(root)
    uri = window.open((root / "lib" / "a.ex").as_uri(), "one")
    window.change(uri, 1, {"text": "two"})
    window.change(uri, 1, EDIT)
    await sent_text(window, "xtwo")


@pytest.mark.parametrize("mend", ["save", "whole", "close"])
async def test_an_edit_that_does_not_fit_is_reported_until_it_is_put_right(window, root, mend):
    """An edit under an older version fits no text; the saved file, a whole text or closing puts it right."""
    file = root / "lib" / "b.ex"
    await window.begin(root)
    uri = window.open(file.as_uri(), "abc", version=5)
    window.change(uri, 3, EDIT)
    await window.until(lambda: "does not fit Codekin's text of b.ex" in message(window))
    if mend == "save":
        file.write_text("saved")
        window.notify("textDocument/didSave", {"textDocument": {"uri": uri}})
        await sent_text(window, "saved")
        window.change(uri, 4, EDIT)
        await sent_text(window, "xsaved")
    elif mend == "whole":
        window.change(uri, 3, {"text": "whole"})
        await sent_text(window, "whole")
    else:
        window.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
    await window.until(lambda: message(window) == "Codekin is ready.")


async def test_a_change_of_a_file_that_was_never_opened_reads_the_file(window, root):
    """The document is served with the text on the disk, and the status names it."""
    await window.begin(root)
    uri = (root / "lib" / "b.ex").as_uri()
    window.change(uri, 7, EDIT)
    await window.until(lambda: "does not fit" in message(window))
    assert window.session.documents.get(uri).text == (root / "lib" / "b.ex").read_text()


async def test_a_change_that_cannot_be_read_is_reported(window, root):
    """A malformed edit leaves the text whole and is not passed over in silence."""
    await window.begin(root)
    uri = window.open((root / "lib" / "b.ex").as_uri(), "abc")
    window.change(uri, 2, {"range": {"start": {}}, "text": "x"})
    await window.until(lambda: "does not fit" in message(window))
    assert window.session.documents.get(uri).text == "abc"


async def test_saving_is_announced_without_the_text(window, root):
    """The text of a saved document is at hand already."""
    capabilities = await window.begin(root)
    assert capabilities["textDocumentSync"]["save"] == {"includeText": False}


async def test_a_file_that_moves_to_an_inner_folder_leaves_the_outer_one(window, root):
    """An unsaved text counts in one workspace."""
    await window.begin(root)
    uri = window.open((root / "lib" / "b.ex").as_uri(), "typed")
    await sent_text(window, "typed")
    added = {"added": [{"uri": (root / "lib").as_uri(), "name": "lib"}], "removed": []}
    window.notify("workspace/didChangeWorkspaceFolders", {"event": added})
    await window.until(lambda: window.daemon.bodies("/buffers")[-1]["root"] == str(root / "lib"))
    texts = {(body["root"], body["path"]): body["text"] for body in window.daemon.bodies("/buffers")}
    assert texts == {(str(root), "lib/b.ex"): None, (str(root / "lib"), "b.ex"): "typed"}
    assert uri


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["open", "type", "rewrite", "close", "leave", "lose"]),
        st.sampled_from([0, 1, 2]),
        st.sampled_from(["a.ex", "b.ex"]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=20)
@given(operations=OPERATIONS)
def test_windows_that_come_and_go_leave_what_the_open_ones_show(operations, tmp_path_factory):
    """Real windows against the daemon's real store of texts, and a model of what is on the screens."""
    asyncio.run(_run_windows(operations, tmp_path_factory.getbasetemp()))


async def _run_windows(operations, root) -> None:
    delay, sync.SEND_DELAY = sync.SEND_DELAY, 0.0
    store, windows, shown, versions, left = WindowBuffers(), {}, {}, {}, None
    try:
        for number, (operation, name, path) in enumerate(operations):
            if name not in windows and operation != "leave":
                windows[name] = await open_window(SharedDaemon(store), root)
            key = (name, path)
            uri = (root / path).as_uri()
            if operation == "leave" and name in windows:
                left = windows.pop(name)
                await left.session.close()
                shown = {known: entry for known, entry in shown.items() if known[0] != name}
            elif operation == "lose" and name in windows:
                windows[name].daemon.lose()
                again = {known: (0, number, entry[2]) for known, entry in shown.items() if entry[0] == 0}
                shown |= {known: entry for known, entry in again.items() if known[0] == name}
            elif operation == "open" and key not in shown:
                windows[name].open(uri, f"opened {number}")
                shown[key], versions[key] = (0, number, f"opened {number}"), 1
            elif operation in {"type", "rewrite"} and key in shown:
                versions[key] += number % 2  # some clients never count up
                change = EDIT if operation == "type" else {"text": f"text {number}"}
                windows[name].change(uri, versions[key], change)
                text = "x" + shown[key][2] if operation == "type" else f"text {number}"
                shown[key] = (1, number, text)
            elif operation == "close" and key in shown:
                windows[name].notify("textDocument/didClose", {"textDocument": {"uri": uri}})
                del shown[key]
            ordered = sorted((entry, path) for (_name, path), entry in shown.items())
            expected = {path: entry[2] for entry, path in ordered}
            if (present := windows.get(name, left)) is not None:
                await present.until(lambda expected=expected: dict(store.texts) == expected)
    finally:
        sync.SEND_DELAY = delay
        for window in windows.values():
            await window.session.close()
