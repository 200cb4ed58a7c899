"""`:checkhealth codekin` names each cause of silence, with what to do about it; so do the commands."""

import sys
from pathlib import Path

import pytest

from codekin import __version__

SCRIPTED = [sys.executable, str(Path(__file__).parent / "scripted_server.py")]
READY = {"state": "ready", "files": 2, "chunks": 5, "problems": [], "model": {"phase": "ready", "name": "m"}}


def health(neovim) -> str:
    neovim.api.command("silent checkhealth codekin")
    return neovim.until(lambda: "Neovim" in "\n".join(neovim.lines()) and "\n".join(neovim.lines()))


def program(folder: Path, words: str) -> Path:
    path = folder / "codekin"
    path.write_text(f"#!/bin/sh\n{words}\n")
    path.chmod(0o755)
    return path


def test_server_missing(start_neovim, project):
    """The commonest fault: the server is not installed, or not where Neovim looks."""
    neovim = start_neovim()
    neovim.enable(["no-such-codekin", "lsp"])
    text = health(neovim)
    assert 'ERROR the server "no-such-codekin" is not found' in text
    assert "pipx install codekin" in text


def test_a_missing_server_is_reported_when_a_file_is_opened(start_neovim, project):
    """Opening a file without an installed server gives one message that says so."""
    neovim = start_neovim()
    neovim.enable(["no-such-codekin", "lsp"])
    neovim.open(project / "lib" / "retry.ex")
    neovim.open(project / "lib" / "http.ex")
    neovim.keys("<CR>:Codekin similar<CR>")
    expected = (
        'the server "no-such-codekin" is not found: install it with `pipx install codekin`, or see :checkhealth codekin'
    )
    neovim.until(lambda: f"Codekin does not run here: {expected}." in neovim.messages())
    assert neovim.messages().count(f"Codekin: {expected}.") == 1


def test_an_empty_index_is_reported_with_its_reason(start_neovim, tmp_path):
    """An empty index is reported together with its reason."""
    (tmp_path / "empty" / ".git").mkdir(parents=True)
    (tmp_path / "empty" / "CMakeLists.txt").write_text("project(empty)\n")
    neovim = start_neovim()
    neovim.enable(["codekin", "lsp"], filetypes=["cmake"])
    neovim.open(tmp_path / "empty" / "CMakeLists.txt")
    neovim.attached()
    sentence = "Codekin: No file here is in a known language"
    expected = neovim.until(lambda: [line for line in neovim.messages() if line.startswith(sentence)], 150)
    assert len(expected) == 1
    assert expected[0].endswith("See :checkhealth codekin.")
    assert "the index is empty" in health(neovim)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("echo 'Codekin needs Python 3.11 or newer, not 3.8.' >&2; exit 2", "not 3.8."),
        ("echo \"ModuleNotFoundError: No module named 'pygls'\" >&2; exit 1", "No module named 'pygls'"),
    ],
)
def test_server_that_does_not_start(start_neovim, tmp_path, words, expected):
    """An old Python or a missing package is shown with the server's own message."""
    neovim = start_neovim()
    neovim.enable([str(program(tmp_path, words)), "lsp"])
    text = health(neovim)
    assert "does not start" in text
    assert expected in text


def test_a_server_that_ends_says_where_to_look(start_neovim, tmp_path, project):
    """When the server exits, a message names the log to read."""
    neovim = start_neovim()
    neovim.enable([str(program(tmp_path, "exit 2")), "lsp"])
    neovim.open(project / "lib" / "retry.ex")
    neovim.until(lambda: any(":checkhealth codekin" in line for line in neovim.messages()))


def test_client_not_enabled_and_nothing_open(start_neovim):
    """The report says that the client is not enabled, or that no buffer is served."""
    neovim = start_neovim()
    assert "the client is not enabled" in health(neovim)
    neovim.enable(["codekin", "lsp"])
    text = health(neovim)
    assert f"OK server {__version__} at" in text
    assert "no buffer is served" in text


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({**READY, "chunks": 0, "problems": ["No file here is in a known language."]}, "the index is empty"),
        ({**READY, "problems": ["No file here is in a known language."]}, "No file here is in a known language."),
        ({**READY, "state": "indexing"}, "the index is indexing"),
        ({**READY, "model": {"phase": "failed", "problem": "weights are gone"}}, "weights are gone"),
        ({}, "nothing is known of the index yet"),
        (READY, "2 files, 5 chunks"),
    ],
)
def test_index_and_model(start_neovim, script, project, about, expected):
    """An empty index, one that is not ready, and a model that cannot be used."""
    script.suggest(**{"/workspaces/open": about})
    neovim = start_neovim()
    neovim.enable(SCRIPTED)
    neovim.open(project / "lib" / "retry.ex")
    neovim.attached()
    neovim.until(lambda: script.asked("/workspaces/open"))
    assert expected in health(neovim)


def test_an_old_server_and_a_daemon_that_cannot_start(start_neovim, script, project):
    """What the server does not offer, and what it cannot reach."""
    neovim = start_neovim()
    neovim.enable(SCRIPTED)
    neovim.open(project / "lib" / "retry.ex")
    neovim.attached()
    neovim.lua("""
        local client = vim.lsp.get_clients({ name = "codekin" })[1]
        client.server_capabilities.inlineCompletionProvider = nil
        client.request_sync = function()
          local folder = { name = "x", lost = "The daemon could not start: no space left.", connected = false }
          return { result = { folders = { folder }, message = "" } }
        end
    """)
    text = health(neovim)
    assert "does not offer textDocument/inlineCompletion" in text
    assert f"version {__version__}: upgrade it" in text
    assert "ERROR the daemon is gone: The daemon could not start: no space left." in text


def test_switched_off(start_neovim):
    """Suggestions that the user has switched off, and forgotten about."""
    neovim = start_neovim()
    neovim.api.command("silent Codekin toggle")
    assert ":Codekin toggle" in health(neovim)
    neovim.api.command("silent Codekin toggle")
    neovim.lua("require('codekin').setup({ ghost_text = false })")
    assert "ghost_text = false" in health(neovim)


def test_commands_without_a_server_say_so(start_neovim, project):
    """One sentence, no stack trace."""
    neovim = start_neovim()
    neovim.open(project / "lib" / "retry.ex")
    neovim.api.command("Codekin similar")
    neovim.keys(":Codekin nonsense<CR>")
    neovim.lua("require('codekin').setup({ limit = 'many', colour = 1 })")
    neovim.lua("vim.lsp.config('codekin', { cmd = { 'no-such-codekin' } })")
    neovim.keys(":Codekin status<CR>")
    text = neovim.until(lambda: "started" in "\n".join(neovim.messages()) and "\n".join(neovim.messages()))
    assert "Codekin does not run here" in text
    assert 'there is no "nonsense"; there are dashboard, doctor,' in text
    assert "limit must be a number" in text
    assert 'no option "colour"' in text
    assert "no-such-codekin cannot be started" in text
    assert "traceback" not in text


def test_help_completion_and_statusline(start_neovim):
    """The help has its tags, subcommands complete, and the statusline is empty without a server."""
    neovim = start_neovim()
    neovim.api.command("helptags ALL")
    neovim.api.command("help :Codekin-similar")
    assert neovim.api.current.buffer.name.endswith("codekin.txt")
    assert neovim.lua("return vim.fn.getcompletion('Codekin s', 'cmdline')") == ["search", "similar", "status"]
    assert neovim.lua("return vim.fn.getcompletion('Codekin similar p', 'cmdline')") == ["picker", "preview"]
    assert neovim.lua("return require('codekin').statusline()") == ""


def test_nothing_heavy_is_loaded_at_start_and_no_key_is_taken(start_neovim):
    """At start the plugin loads no Lua module and maps only `<Plug>` keys."""
    neovim = start_neovim()
    assert (
        neovim.lua("return vim.tbl_filter(function(n) return n:match('^codekin') end, vim.tbl_keys(package.loaded))")
        == []
    )
    own = """
        local all = vim.api.nvim_get_keymap(...)
        local found = vim.tbl_filter(function(map) return (map.desc or ""):match("Codekin") end, all)
        return vim.tbl_map(function(map) return map.lhs end, found)
    """
    for mode, number in (("i", 7), ("n", 2), ("x", 1)):
        maps = neovim.lua(own, mode)
        assert len(maps) == number
        assert all(lhs.startswith("<Plug>(codekin-") for lhs in maps)
