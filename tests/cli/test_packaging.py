"""What is released: a wheel that installs and works offline, versions that agree, a manual and completions."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

from codekin.cli.app import COMMANDS

REPOSITORY = Path(__file__).parents[2]
SHELL = REPOSITORY / "server/codekin/cli/shell"


def test_versions_agree():
    """The package, the VS Code extension, the Neovim plugin and the Emacs package are of one version."""
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    lock = json.loads((REPOSITORY / "editors/vscode/package-lock.json").read_text("utf-8"))
    nvim = (REPOSITORY / "editors/nvim/lua/codekin/init.lua").read_text("utf-8")
    emacs = (REPOSITORY / "editors/emacs/codekin.el").read_text("utf-8")
    found = {
        "extension": json.loads((REPOSITORY / "editors/vscode/package.json").read_text("utf-8"))["version"],
        "lock": lock["version"],
        "locked package": lock["packages"][""]["version"],
        "nvim": re.search(r'^M\.version = "([^"]+)"', nvim, re.MULTILINE)[1],
        "emacs": re.search(r"^;; Version: (\S+)", emacs, re.MULTILINE)[1],
    }
    assert set(found.values()) == {version}


def test_the_manual_and_the_completions_know_every_command():
    """scripts/generate_command_docs.py writes them from the commands; a release writes them anew."""
    spec = importlib.util.spec_from_file_location("commands", REPOSITORY / "scripts/generate_command_docs.py")
    generator = importlib.util.module_from_spec(spec)
    sys.modules["commands"] = generator
    spec.loader.exec_module(generator)
    written = {one.words[1] for one in generator.read_commands() if len(one.words) == 2}
    assert written == {row.name for row in COMMANDS}
    for name in ("codekin.1", "codekin.bash", "codekin.zsh", "codekin.fish"):
        text = (SHELL / name).read_text("utf-8")
        assert [row.name for row in COMMANDS if row.name not in text] == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("typed", "completed"), [("sea", "search"), ("search --hist", "--history"), ("models pul", "pull")]
)
def test_bash_completes(typed, completed):
    """Commands, subcommands and options are completed without starting the program."""
    words = f"codekin {typed}".split()
    script = (
        f"source {SHELL / 'codekin.bash'}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _codekin;"
        ' echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == completed


@pytest.mark.slow
def test_the_wheel_works_where_it_is_installed_offline(tmp_path):
    """Built without a network, installed from a folder of wheels, it answers with all files that it needs."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "wheels", REPOSITORY]
    subprocess.run(build, check=True, capture_output=True)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    find = [
        *("-m", "pip", "install", "--quiet", "--no-index", "--no-deps"),
        "--find-links",
        tmp_path / "wheels",
        "codekin",
    ]
    subprocess.run([python, *find], check=True, capture_output=True)
    (wheels_of_others,) = {Path(pytest.__file__).parents[1]}
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (site / "others.pth").write_text(f"{wheels_of_others}\n", "utf-8")  # what a wheelhouse of torch's size would bring

    outside = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "CODEKIN_BUILD"}}
    environment = outside | {"CODEKIN_DATA_DIR": str(tmp_path / "data"), "HF_HUB_OFFLINE": "1"}
    root = shutil.copytree(REPOSITORY / "examples/mixed", tmp_path / "mixed")

    def run(*words):
        command = [tmp_path / "venv" / "bin" / "codekin", *words]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    try:
        assert re.match(r"codekin \d+\.\d+\.\d+ \(build [0-9a-f]{16}\)\nembedder: ", run("--version")[1])
        assert run("--completion", "fish")[1].startswith("# fish completion")
        assert run("index", ".")[0] == 0
        status, out, err = run("search", "retry with backoff", "--json")
        assert (status, bool(json.loads(out)["hits"])) == (0, True), err
        assert "degraded" not in json.loads(out)
    finally:
        run("daemon", "stop")
    show = [python, "-c", "import codekin; print(codekin.__file__)"]
    where = subprocess.run(show, capture_output=True, text=True, env=environment, check=True)
    assert where.stdout.startswith(str(site))
    assert (tmp_path / "venv/share/man/man1/codekin.1").is_file()
