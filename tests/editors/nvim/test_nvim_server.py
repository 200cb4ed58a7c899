"""The plugin with the real server and its daemon: similar code in every view, lenses, hints, status, utf-8."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from codekin.daemon.process.startup import listener_pid
from daemons import run_codekin

SETTINGS = {"codekin": {"similar": {"duplicate_hints": True, "duplicate_min_score": 0.05, "lens_min_score": 0.0}}}


@pytest.fixture
def neovim(start_neovim, project):
    """A Neovim whose index is ready, with the cursor in the function that has a duplicate."""
    neovim = start_neovim()
    neovim.enable(["codekin", "lsp"], settings=SETTINGS)
    neovim.open(project / "lib" / "retry.ex")
    neovim.attached()
    neovim.ready()
    neovim.api.current.window.cursor = (4, 2)
    return neovim


def quickfix(neovim) -> list[dict]:
    return neovim.lua("return vim.fn.getqflist()")


def close_extra_windows(neovim) -> None:
    neovim.api.command("cclose")
    neovim.api.command("only")


def test_similar_code_in_the_quickfix_list_preview_and_picker(neovim, project):
    """The same places in each view, and each leads to the code."""
    assert neovim.lua("return vim.lsp.get_clients({name='codekin'})[1].offset_encoding") == "utf-8"
    neovim.api.command("Codekin similar")
    first = neovim.until(lambda: quickfix(neovim))[0]
    assert "again/3" in first["text"]
    assert first["end_lnum"] == 11
    assert neovim.api.current.buffer.options["filetype"] == "qf"
    neovim.keys("<CR>")
    neovim.until(lambda: neovim.api.current.buffer.name == str(project / "lib" / "http.ex"))
    close_extra_windows(neovim)

    neovim.open(project / "lib" / "retry.ex")
    neovim.api.command("4,8Codekin similar preview")
    neovim.until(lambda: neovim.shows("with_backoff") and neovim.shows("again(fun, attempts - 1, wait * 2)"))
    neovim.keys("<CR>")
    neovim.until(lambda: neovim.api.current.buffer.name == str(project / "lib" / "http.ex"))

    neovim.open(project / "lib" / "retry.ex")
    neovim.lua("""
        vim.ui.select = function(items, options, choose)
          offered = vim.tbl_map(options.format_item, items)
          choose(items[1])
        end
    """)
    neovim.api.current.window.cursor = (4, 2)
    neovim.api.command("Codekin similar picker")
    neovim.until(lambda: neovim.api.current.buffer.name == str(project / "lib" / "http.ex"))
    assert "again/3" in neovim.lua("return offered")[0]


def test_a_long_doc_does_not_hide_the_code(neovim, project):
    """The preview and the jump show the code, not the documentation above it."""
    doc = "".join(f"  Says much, in line {number}.\n" for number in range(30))
    retry = (project / "lib" / "retry.ex").read_text().replace("Shop.Retry", "Shop.Told")
    expected = retry.replace("  def with_backoff", f'  @doc """\n{doc}  """\n  def with_backoff', 1)
    (project / "lib" / "told.ex").write_text(expected)
    neovim.api.command("Codekin index")
    neovim.until(lambda: any("4 files" in line for line in neovim.messages()))
    neovim.api.command("Codekin similar preview")
    neovim.until(lambda: neovim.shows("told.ex"))
    assert not neovim.shows("Says much")
    neovim.keys("gg/told.ex<CR><CR>")
    neovim.until(lambda: neovim.api.current.buffer.name == str(project / "lib" / "told.ex"))
    assert neovim.api.current.line.startswith("  def with_backoff")


def test_search_duplicates_symbols_and_the_actions(neovim, project):
    """Words find code, and the standard client's ways lead to the same places."""
    neovim.api.command("Codekin search retry with backoff")
    neovim.until(lambda: any("  with_backoff/3  " in item["text"] for item in quickfix(neovim)))
    assert neovim.lua("return vim.fn.getqflist({title=1}).title") == "Search: retry with backoff"
    close_extra_windows(neovim)
    neovim.open(project / "lib" / "retry.ex")
    symbols = "return vim.lsp.buf_request_sync(0, 'workspace/symbol', {query='retry with backoff'}, 9000)[1].result"
    assert neovim.lua(symbols)
    neovim.api.current.window.cursor = (4, 2)
    neovim.lua("vim.fn.setqflist({}); vim.lsp.buf.code_action({apply=true})")
    neovim.until(lambda: any("again" in item["text"] for item in quickfix(neovim)))
    neovim.api.command("Codekin index")
    neovim.until(lambda: any("3 files" in line for line in neovim.messages()))


def test_progress_is_reported_by_the_standard_client(start_neovim, project):
    """Indexing progress reaches `vim.lsp.status()`, and so any statusline."""
    neovim = start_neovim()
    neovim.lua("""
        told = {}
        vim.api.nvim_create_autocmd("LspProgress", { callback = function(event)
          table.insert(told, event.data.params.value.kind)
          words = (words or "") .. vim.lsp.status()
        end })
    """)
    neovim.enable(["codekin", "lsp"])
    neovim.open(project / "lib" / "retry.ex")
    neovim.attached()
    neovim.ready()
    neovim.until(lambda: "end" in neovim.lua("return told"))
    assert neovim.lua("return told")[0] == "begin"
    assert "index" in neovim.lua("return words").lower()
    neovim.until(lambda: neovim.lua("return require('codekin').statusline()") == "Codekin")


def test_duplicates_log_and_dashboard(neovim, project):
    """The remaining commands lead to what they name."""
    neovim.lua("vim.ui.open = function(url) opened = url end")
    neovim.api.command("Codekin dashboard")
    assert neovim.until(lambda: neovim.lua("return opened")).startswith("http://127.0.0.1:")
    retry = (project / "lib" / "retry.ex").read_text()
    (project / "lib" / "copy.ex").write_text(retry.replace("Shop.Retry", "Shop.Copy"))
    neovim.api.command("Codekin index")
    neovim.until(lambda: any("4 files" in line for line in neovim.messages()))
    neovim.api.command("Codekin duplicates")
    neovim.until(lambda: quickfix(neovim))
    assert {Path(neovim.api.funcs.bufname(item["bufnr"])).name for item in quickfix(neovim)} == {"copy.ex", "retry.ex"}
    assert neovim.lua("return vim.fn.getqflist({title=1}).title") == "One group of near-duplicates"
    close_extra_windows(neovim)
    neovim.api.command("Codekin log")
    assert neovim.api.current.buffer.name == neovim.lua("return vim.lsp.log.get_filename()")


PLUGINS = Path(os.environ.get("CODEKIN_NVIM_PLUGINS", "/nowhere"))
"""A folder with checkouts of telescope.nvim, plenary.nvim, fzf-lua and snacks.nvim, for who has them."""


@pytest.mark.skipif(not PLUGINS.is_dir(), reason="set CODEKIN_NVIM_PLUGINS to a folder of pickers")
@pytest.mark.parametrize("picker", ["telescope", "fzf-lua", "snacks"])
def test_the_users_picker_shows_and_opens_similar_code(neovim, project, picker):
    """The user's own picker lists similar code, and <CR> jumps to it."""
    for name in ("plenary.nvim", "telescope.nvim", "fzf-lua", "snacks.nvim"):
        neovim.api.command(f"set rtp+={PLUGINS / name}")
    neovim.lua("require('codekin').setup({ picker = ... })", picker)
    neovim.api.command("Codekin similar picker")
    neovim.until(lambda: neovim.shows("again/3"))
    neovim.keys("<CR>")
    neovim.until(lambda: neovim.api.current.buffer.name == str(project / "lib" / "http.ex"))


def counted(neovim):
    """The first lens that has something to show."""
    lenses = neovim.lua("return vim.lsp.codelens.get(0)") or []
    return next((lens for lens in lenses if (lens.get("command") or {}).get("command")), None)


def test_lens_hint_and_unsaved_text(neovim, project):
    """The lens counts and shows, the near-duplicate is a hint, and code that is not saved counts."""
    neovim.until(lambda: neovim.shows(" similar"))
    hint = neovim.until(lambda: neovim.lua("return vim.diagnostic.get(0)"))[0]
    assert (hint["severity"], hint["code"], hint["source"]) == (4, "near-duplicate", "codekin")
    lens = neovim.until(lambda: counted(neovim))  # the first answer may come before the vectors
    neovim.api.current.window.cursor = (lens["range"]["start"]["line"] + 1, 0)
    neovim.lua("vim.lsp.codelens.run()")
    neovim.until(lambda: any("again" in item["text"] for item in quickfix(neovim)))
    close_extra_windows(neovim)
    neovim.open(project / "lib" / "headers.ex")
    neovim.attached()
    text = (project / "lib" / "retry.ex").read_text().replace("with_backoff", "typed_just_now")
    neovim.api.current.buffer[:] = ["# 🙂🙂", *text.splitlines()]
    neovim.api.current.window.cursor = (6, 0)
    neovim.lua("vim.fn.setqflist({})")
    neovim.api.command("Codekin similar")
    neovim.until(lambda: any("again/3" in item["text"] for item in quickfix(neovim)))
    assert neovim.lua("return vim.fn.getqflist({title=1}).title").endswith("typed_just_now/3")


def test_a_killed_daemon_is_reported_and_comes_back(neovim, environment):
    """The statusline shows the state, one message appears, and the next request is answered."""
    assert neovim.lua("return require('codekin').statusline()") == "Codekin"
    neovim.lua("""
        told = {}
        vim.api.nvim_create_autocmd("User", { pattern = "CodekinStatus", callback = function(event)
          table.insert(told, event.data.kind)
        end })
    """)
    os.kill(listener_pid(Path(environment["CODEKIN_DATA_DIR"])), signal.SIGKILL)
    neovim.until(lambda: "Error" in neovim.lua("return told"))
    neovim.ready()
    assert neovim.lua("return told").count("Error") == 1
    assert len([line for line in neovim.messages() if line.startswith("Codekin: ")]) == 1
    neovim.api.command("Codekin similar")
    neovim.until(lambda: quickfix(neovim))


def test_words_of_the_terminal_and_health(neovim):
    """The status opens in a window below; health reports no problem of a working setup."""
    neovim.api.command("Codekin status")
    neovim.until(lambda: neovim.lua("return vim.wo.winbar") == "codekin status")
    assert any("chunks" in line for line in neovim.lines())
    neovim.keys("q")
    neovim.api.command("Codekin doctor")
    neovim.until(lambda: neovim.api.current.buffer.options["filetype"] == "checkhealth")
    text = neovim.until(lambda: "chunks" in "\n".join(neovim.lines()) and "\n".join(neovim.lines()))
    assert "ERROR" not in text
    assert "3 files" in text
    assert "the daemon answers" in text


def test_quitting_leaves_no_server_behind(neovim):
    """An editor that is closed, or killed, takes its server with it."""
    pid = neovim.lua("return vim.fn.getpid()")
    listed = subprocess.run(["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True, check=True)
    (server,) = map(int, listed.stdout.split())
    os.kill(pid, signal.SIGKILL)
    for _ in range(100):
        if subprocess.run(["kill", "-0", str(server)], capture_output=True, check=False).returncode:
            return
        subprocess.run(["sleep", "0.1"], check=True)
    raise AssertionError(server)


def test_ghost_text_of_the_repository_itself(neovim, project):
    """No model and no script: the code at hand completes the line that is typed, and Tab takes it."""
    neovim.lua("""
        vim.keymap.set("i", "<Tab>", function()
          return require("codekin").accept() and "" or "<Tab>"
        end, { expr = true })
    """)
    neovim.open(project / "lib" / "headers.ex")
    neovim.attached()
    run_codekin("complete", f"{project / 'lib' / 'retry.ex'}:3:5")  # nothing is shown before other files were read
    neovim.api.current.window.cursor = (2, 0)
    neovim.api.command("set noautoindent indentexpr=")
    neovim.keys("o  # 🙂<CR>  def f(fun) do<CR>    case fun.() do<CR>      {:ok, value} -> ")
    shown = neovim.until(neovim.ghost)
    assert shown.startswith("{:ok, value}")
    neovim.keys("<Tab>")
    neovim.until(lambda: "      {:ok, value} -> {:ok, value}" in neovim.lines())
    assert neovim.ghost() == ""
