"""The plugin's own Lua checks, in Neovim without a screen, and every Lua file by itself."""

import subprocess
from pathlib import Path

HERE = Path(__file__).parent
PLUGIN = HERE.parents[2] / "editors" / "nvim"


def run(binary, environment, *arguments):
    command = [binary, "--headless", "--clean", *arguments]
    given = {**environment, "CODEKIN_PLUGIN": str(PLUGIN)}
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=60)


def test_pure_functions(binary, environment):
    """Columns, words and lines of any script."""
    done = run(binary, environment, "-l", HERE / "text_spec.lua")
    assert done.returncode == 0, done.stderr


def test_every_module_loads_by_itself(binary, environment):
    """A module that needs another one to be loaded first breaks for whoever calls it first."""
    for path in sorted(PLUGIN.rglob("lua/**/*.lua")):
        name = ".".join(path.relative_to(PLUGIN / "lua").with_suffix("").parts).removesuffix(".init")
        code = f"lua vim.opt.rtp:prepend(vim.env.CODEKIN_PLUGIN); assert(type(require('{name}')) == 'table')"
        done = run(binary, environment, "-c", code, "-c", "qa!")
        assert (done.returncode, done.stderr) == (0, ""), name
