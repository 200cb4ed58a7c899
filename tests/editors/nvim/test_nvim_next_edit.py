"""The next edit: shown as a diff in normal mode, Tab goes there and takes it, Esc dismisses it, undo takes one step."""

SHOWN = "return require('codekin.next_edit').visible()"


def edits(neovim, path: str, number: int, old: str, new: str) -> dict:
    one = {"path": path, "start_line": number, "end_line": number, "old_lines": [old], "new_lines": [new]}
    return {"edits": [{**one, "chance": 0.9, "kinds": ["replace"]}]}


def test_tab_goes_to_the_next_edit_and_takes_it(ghostly, script, project):
    """After a change in normal mode the place in another file is shown, opened, taken and undone in one step."""
    (project / "lib" / "other.ex").write_text("one\ntwo old\nthree\n")
    script.suggest(**{"/next-edit": edits(ghostly, "lib/other.ex", 2, "two old", "two new")})
    ghostly.keys("iuse old<Esc>")
    ghostly.until(lambda: script.asked("/buffers"))
    ghostly.keys("0wcwnew<Esc>")
    ghostly.until(lambda: ghostly.lua(SHOWN))
    assert ghostly.shows("next edit: other.ex:2")
    body = script.asked("/next-edit")[-1]
    assert body["text"].splitlines()[0] == "use new"
    ghostly.keys("<Tab>")
    ghostly.until(lambda: ghostly.api.current.buffer.name.endswith("other.ex"))
    assert ghostly.shows("two new")
    assert ghostly.lines() == ["one", "two old", "three"]
    script.suggest(**{"/next-edit": {"edits": []}})
    ghostly.keys("<Tab>")
    ghostly.until(lambda: ghostly.lines() == ["one", "two new", "three"])
    assert not ghostly.lua(SHOWN)
    ghostly.keys("u")
    ghostly.until(lambda: ghostly.lines() == ["one", "two old", "three"])


def test_escape_dismisses_it_for_good_and_insert_mode_shows_none(ghostly, script):
    """What was dismissed does not come again; the keys are the user's own once nothing is shown."""
    script.suggest(**{"/next-edit": edits(ghostly, "lib/new.ex", 2, "b", "c")})
    ghostly.keys("ia<CR>b<Esc>ggxia<Esc>")
    ghostly.until(lambda: ghostly.lua(SHOWN))
    ghostly.keys("i")
    ghostly.until(lambda: not ghostly.lua(SHOWN))
    ghostly.keys("<Esc>")
    ghostly.until(lambda: ghostly.lua(SHOWN))
    ghostly.keys("<Esc>")
    ghostly.until(lambda: not ghostly.lua(SHOWN))
    asked = len(script.asked("/next-edit"))
    ghostly.keys("xia<Esc>")
    ghostly.until(lambda: len(script.asked("/next-edit")) > asked)
    assert not ghostly.lua(SHOWN)
    assert ghostly.lua("return vim.fn.maparg('<Tab>', 'n')") == ""
