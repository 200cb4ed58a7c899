"""Ghost text, by keystrokes: it appears, is typed along, taken whole, by word and by line, and goes away."""

import sys
from pathlib import Path

import pytest


def insert(neovim, keys: str) -> None:
    neovim.keys("i" + keys)


def accept_with_tab(neovim) -> None:
    neovim.lua("""
        vim.keymap.set("i", "<Tab>", function()
          return require("codekin").accept() and "" or "<Tab>"
        end, { expr = true })
    """)


def test_ghost_text_appears_and_tab_takes_it(ghostly, script):
    """The first thing that a user sees; Tab stays a Tab where there is nothing to take."""
    accept_with_tab(ghostly)
    script.suggest({"text": "with_backoff(fun, 3)\n    |> elem(1)"})
    ghostly.api.command("set expandtab shiftwidth=2 softtabstop=2")
    insert(ghostly, "<Tab>x = ")
    assert ghostly.until(ghostly.ghost) == "with_backoff(fun, 3)\n    |> elem(1)"
    assert ghostly.shows("  x = with_backoff(fun, 3)")
    assert ghostly.shows("    |> elem(1)")
    assert ghostly.lines() == ["  x = "]
    ghostly.keys("<Tab>")
    ghostly.until(lambda: ghostly.lines() == ["  x = with_backoff(fun, 3)", "    |> elem(1)"])
    assert ghostly.api.current.window.cursor == (2, 14)
    ghostly.until(lambda: [body["event"] for body in script.asked("/complete/events")] == ["shown", "accepted"])
    ghostly.keys("<Esc>u")
    ghostly.until(lambda: ghostly.lines() == ["  x = "] or ghostly.lines() == [""])


def test_keys_that_follow_tab_at_once_come_after_the_suggestion(ghostly, script):
    """Keys typed right after <Tab> are inserted after the accepted suggestion."""
    accept_with_tab(ghostly)
    script.suggest({"text": "with_backoff(fun)"})
    insert(ghostly, "x = ")
    ghostly.until(ghostly.ghost)
    ghostly.keys("<Tab><CR>y<Esc>")
    ghostly.until(lambda: ghostly.lines() == ["x = with_backoff(fun)", "y"])
    assert not [line for line in ghostly.messages() if "rror" in line]


def test_typing_along_sends_no_request(ghostly, script):
    """What was suggested and is typed by hand needs no second request."""
    script.suggest({"text": "alpha beta"})
    insert(ghostly, "x ")
    ghostly.until(ghostly.ghost)
    requests = len(script.asked("/complete"))
    for typed, rest in (("a", "lpha beta"), ("l", "pha beta"), ("pha ", "beta")):
        ghostly.keys(typed)
        ghostly.until(lambda rest=rest: ghostly.ghost() == rest)
    assert len(script.asked("/complete")) == requests
    script.suggest()
    ghostly.keys("Z")
    ghostly.until(lambda: ghostly.ghost() == "")
    ghostly.until(lambda: "rejected" in [body["event"] for body in script.asked("/complete/events")])


def test_words_and_lines_are_taken_one_by_one(ghostly, script):
    """The user's mappings accept parts, whose lengths are reported in the client's units."""
    ghostly.api.command("imap <F2> <Plug>(codekin-accept-word)")
    ghostly.api.command("imap <F3> <Plug>(codekin-accept-line)")
    script.suggest({"text": "söß(🙂) do\n  one\n  two"})
    insert(ghostly, "x = ")
    ghostly.until(ghostly.ghost)
    for line, rest in (("x = söß", "(🙂) do\n  one\n  two"), ("x = söß(", "🙂) do\n  one\n  two")):
        ghostly.keys("<F2>")
        ghostly.until(lambda line=line: ghostly.lines() == [line])
        assert ghostly.ghost() == rest
    script.suggest()
    for lines, rest in ((["x = söß(🙂) do"], "\n  one\n  two"), (["x = söß(🙂) do", "  one"], "\n  two")):
        ghostly.keys("<F3>")
        ghostly.until(lambda lines=lines: ghostly.lines() == lines)
        assert ghostly.ghost() == rest
    ghostly.keys("<F3>")
    ghostly.until(lambda: ghostly.lines() == ["x = söß(🙂) do", "  one", "  two"])
    events = ghostly.until(
        lambda: (
            [e for e in script.asked("/complete/events") if e["event"] == "accepted"]
            and script.asked("/complete/events")
        )
    )
    assert [event.get("length") for event in events] == [None, 3, 4, 9, 15, None]


def test_what_stands_after_the_cursor_is_replaced_not_doubled(ghostly, script):
    """A closing bracket from an auto-pair plugin appears once."""
    accept_with_tab(ghostly)
    script.suggest({"text": "a, b)", "ahead": 1})
    insert(ghostly, "f()<Left>")
    ghostly.keys("<BS>(")
    assert ghostly.until(ghostly.ghost) == "a, b"
    ghostly.keys("<Tab>")
    ghostly.until(lambda: ghostly.lines() == ["f(a, b)"])


def test_text_before_the_cursor_may_be_replaced(ghostly, script):
    """A suggestion may begin with what was typed last."""
    accept_with_tab(ghostly)
    script.suggest({"text": "🙂foobar", "back": 4})
    insert(ghostly, "é 🙂foo")
    assert ghostly.until(ghostly.ghost) == "bar"
    ghostly.keys("<Tab>")
    ghostly.until(lambda: ghostly.lines() == ["é 🙂foobar"])


def test_alternatives_are_requested_and_cycled(ghostly, script):
    """The first press asks for more than the one on the screen."""
    ghostly.api.command("imap <F2> <Plug>(codekin-next)")
    ghostly.api.command("imap <F3> <Plug>(codekin-previous)")
    script.suggest({"text": "one"}, {"text": "two"}, {"text": "three"})
    insert(ghostly, "x ")
    ghostly.until(lambda: ghostly.ghost() == "one")
    ghostly.keys("<F2>")
    ghostly.until(lambda: ghostly.ghost() == "two")
    assert script.asked("/complete")[-1]["trigger"] == "invoked"
    for key, shown in (("<F2>", "three"), ("<F2>", "one"), ("<F3>", "three")):
        ghostly.keys(key)
        ghostly.until(lambda shown=shown: ghostly.ghost() == shown)


def test_each_alternative_replaces_its_own_range(ghostly, script):
    """Two suggestions may begin at different places before the cursor."""
    accept_with_tab(ghostly)
    ghostly.api.command("imap <F2> <Plug>(codekin-next)")
    ghostly.api.command("imap <F3> <Plug>(codekin-trigger)")
    script.suggest({"text": "one"}, {"text": "xtwo)", "back": 1, "ahead": 1})
    insert(ghostly, "f(x)<Left>")
    ghostly.keys("<F3>")
    ghostly.until(lambda: ghostly.ghost() == "one")
    ghostly.keys("<F2>")
    ghostly.until(lambda: ghostly.ghost() == "two")
    ghostly.keys("<F2>")
    ghostly.until(lambda: ghostly.ghost() == "one")
    ghostly.keys("<F2><Tab>")
    ghostly.until(lambda: ghostly.lines() == ["f(xtwo)"])


def test_it_goes_away_with_escape_dismissal_and_the_cursor(ghostly, script):
    """Escape, dismissal and cursor movement remove the suggestion."""
    ghostly.api.command("imap <F2> <Plug>(codekin-dismiss)")
    script.suggest({"text": "one"})
    insert(ghostly, "x ")
    for away in ("<F2>", "<Left>", "<Esc>"):
        ghostly.until(ghostly.ghost)
        ghostly.keys(away)
        ghostly.until(lambda: ghostly.ghost() == "")
        ghostly.keys("<Esc>A ")


def test_a_late_answer_is_not_shown(ghostly, script):
    """The user has typed on meanwhile."""
    script.suggest({"text": "late"}, wait=0.5)
    insert(ghostly, "x ")
    ghostly.until(lambda: script.asked("/complete"))
    script.suggest()
    ghostly.keys("y")
    ghostly.until(lambda: len(script.asked("/complete")) > 1)
    ghostly.api.command("sleep 700m")
    assert ghostly.ghost() == ""


def test_toggle_and_filetypes(ghostly, script):
    """Off is silent; asking by hand still works."""
    ghostly.api.command("imap <F2> <Plug>(codekin-trigger)")
    script.suggest({"text": "one"})
    for off, on in (("Codekin toggle", "Codekin toggle"), ("Codekin toggle elixir", "Codekin toggle elixir")):
        ghostly.api.command(off)
        requests = len(script.asked("/complete"))
        insert(ghostly, "x ")
        ghostly.api.command("sleep 300m")
        assert (ghostly.ghost(), len(script.asked("/complete"))) == ("", requests)
        ghostly.keys("<F2>")
        ghostly.until(lambda: ghostly.ghost() == "one")
        ghostly.keys("<Esc>")
        ghostly.api.command(on)
        insert(ghostly, "y ")
        ghostly.until(lambda: ghostly.ghost() == "one")
        ghostly.keys("<Esc>")


def test_the_menu_and_ghost_text_do_not_meet(ghostly, script):
    """While the completion menu is open, the ghost text steps back."""
    script.suggest({"text": "one"})
    insert(ghostly, "word wo")
    ghostly.until(ghostly.ghost)
    ghostly.keys("<C-n>")
    ghostly.until(lambda: ghostly.ghost() == "")


NATIVE = """
    called, item = {}, nil
    vim.lsp.inline_completion = {
      enable = function(on, filter) table.insert(called, { "enable", on, filter.bufnr }) end,
      get = function(options)
        table.insert(called, { "get" })
        local current = item
        item = nil
        if current and options then options.on_accept(current) end
        return current ~= nil
      end,
      select = function(options) table.insert(called, { "select", options.count }) end,
    }
"""
"""What Neovim 0.12 has, as far as the plugin calls it."""


def test_neovims_own_inline_completion_is_used_where_it_exists(start_neovim, script, project):
    """From 0.12 on, Neovim draws the ghost text itself, and the plugin draws none."""
    neovim = start_neovim()
    neovim.lua(NATIVE)
    neovim.enable([sys.executable, str(Path(__file__).parent / "scripted_server.py")])
    neovim.open(project / "lib" / "new.ex")
    neovim.attached()
    assert neovim.lua("item = {}; local c = require('codekin'); c.next(); return c.accept()") is True
    neovim.api.command("Codekin toggle elixir")
    buffer = neovim.api.current.buffer.number
    assert neovim.lua("return called") == [["enable", True, buffer], ["select", 1], ["get"], ["enable", False, buffer]]
    script.suggest({"text": "one"})
    insert(neovim, "x ")
    neovim.api.command("sleep 300m")
    assert neovim.ghost() == ""


@pytest.mark.parametrize("place", ["{ start_row = 0, start_col = 4 }", "{ start = { row = 0, col = 4 } }"])
def test_parts_of_neovims_own_suggestion_can_be_taken(start_neovim, script, project, place):
    """Neovim accepts the whole suggestion; the plugin inserts a word or a line, and reports it."""
    neovim = start_neovim()
    neovim.lua(NATIVE)
    neovim.enable([sys.executable, str(Path(__file__).parent / "scripted_server.py")])
    neovim.open(project / "lib" / "new.ex")
    neovim.attached()
    script.suggest({"text": "söß(🙂) do\n  one"})
    insert(neovim, "x = ")
    suggest = """
        local client = vim.lsp.get_clients({ name = "codekin" })[1]
        local params = vim.lsp.util.make_position_params(0, client.offset_encoding)
        params.context = { triggerKind = 2 }
        local given = client:request_sync("textDocument/inlineCompletion", params, 5000).result.items[1]
        item = { client_id = client.id, insert_text = given.insertText, command = given.command }
        item.range =
    """
    for call, line in (("accept_word", "x = söß"), ("accept_line", "x = söß(🙂) do")):
        neovim.lua(suggest + place if call == "accept_word" else "item = last")
        neovim.lua("last = item")
        assert neovim.lua(f"return require('codekin').{call}()") is True
        neovim.until(lambda line=line: neovim.lines() == [line])
    neovim.lua("item = last")
    assert neovim.lua("return require('codekin').dismiss()") is True
    assert neovim.lua("return require('codekin').accept_word()") is False
    events = neovim.until(lambda: len(script.asked("/complete/events")) == 3 and script.asked("/complete/events"))
    assert [(event["event"], event.get("length")) for event in events] == [
        ("partially_accepted", 3),
        ("partially_accepted", 9),
        ("rejected", None),
    ]


@pytest.mark.parametrize("keys", ["<C-c>", "<C-o>", "<C-\\><C-n>", "<Esc>"])
def test_the_suggestion_goes_with_insert_mode_however_it_is_left(ghostly, script, keys):
    """Nothing is drawn in another mode, where it would read as text."""
    script.suggest({"text": "with_backoff(fun)"})
    insert(ghostly, "x = ")
    ghostly.until(ghostly.ghost)
    ghostly.keys(keys)
    ghostly.until(lambda: ghostly.ghost() == "")
    assert not ghostly.shows("with_backoff")


def test_undo_takes_the_suggestion_and_leaves_what_was_typed(ghostly, script):
    """One undo step is the suggestion, the one before it what was typed by hand."""
    accept_with_tab(ghostly)
    script.suggest({"text": "with_backoff(fun)\n  |> elem(1)"})
    insert(ghostly, "x = ")
    ghostly.until(ghostly.ghost)
    ghostly.keys("<Tab>")
    ghostly.until(lambda: ghostly.lines() == ["x = with_backoff(fun)", "  |> elem(1)"])
    ghostly.keys("<Esc>u")
    ghostly.until(lambda: ghostly.lines() == ["x = "])
    ghostly.keys("<C-r>")
    ghostly.until(lambda: ghostly.lines() == ["x = with_backoff(fun)", "  |> elem(1)"])


def test_a_repeat_types_again_what_was_typed_alone(ghostly, script):
    """As the help says: a suggestion is text and not keys."""
    accept_with_tab(ghostly)
    script.suggest({"text": "with_backoff(fun)"})
    ghostly.api.current.buffer[:] = ["", ""]
    insert(ghostly, "x = ")
    ghostly.until(ghostly.ghost)
    ghostly.keys("<Tab>")
    ghostly.until(lambda: ghostly.lines() == ["x = with_backoff(fun)", ""])
    ghostly.keys("<Esc>j0.")
    ghostly.until(lambda: ghostly.lines() == ["x = with_backoff(fun)", "x = "])
