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
from wheelhouse import build_wheelhouse

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


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    return build_wheelhouse(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory, wheels) -> Path:
    """A Python with nothing but the command, installed by pip from the folder of wheels."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    offline = ["--quiet", "--no-index", "--no-compile", "--find-links", wheels]
    pip = [folder / "bin/python", "-m", "pip", "install", *offline, "codekin"]
    done = subprocess.run(pip, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def outside(folder: Path) -> dict[str, str]:
    """The environment of a machine that knows nothing of this checkout, with data folders of its own."""
    kept = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "CODEKIN_BUILD"}}
    return kept | {"CODEKIN_DATA_DIR": str(folder / "data"), "HOME": str(folder), "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def run(bare, tmp_path_factory):
    """Runs the installed command on the sample; gives exit status, output and errors."""
    folder = tmp_path_factory.mktemp("user")
    root = shutil.copytree(REPOSITORY / "examples/mixed", folder / "mixed")

    def command(*words):
        told = {"cwd": root, "env": outside(folder), "capture_output": True, "text": True}
        done = subprocess.run([bare / "bin/codekin", *words], check=False, **told)
        return done.returncode, done.stdout, done.stderr

    yield command
    command("daemon", "stop")


@pytest.mark.slow
def test_the_wheel_works_where_it_is_installed_offline(bare, run):
    """Without a network and without torch, the installed command indexes and answers by meaning."""
    (site,) = (bare / "lib").glob("python*/site-packages")
    assert not {"torch", "transformers", "peft"} & {path.name for path in site.iterdir()}
    assert (bare / "share/man/man1/codekin.1").is_file()
    assert re.match(r"codekin \d+\.\d+\.\d+ \(build [0-9a-f]{16}\)\nembedder: ", run("--version")[1])
    assert run("--completion", "fish")[1].startswith("# fish completion")
    assert run("index", ".")[0] == 0
    status, out, err = run("search", "retry with backoff", "--json")
    assert (status, bool(json.loads(out)["hits"])) == (0, True), err
    assert "degraded" not in json.loads(out)
    assert run("check", "--diff", "HEAD")[0] in {0, 2}  # a copy of the sample is no repository


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("finetune",), "Fine-tuning"),
        (("finetune", "--background", "--method", "lora"), "Fine-tuning"),
        (("triplets",), "Fine-tuning"),
        (("schedule", "install", "--no-start"), "Fine-tuning at night"),
        (("embed", "--device", "cuda", "lib/storehouse/retry.ex"), "The device cuda"),
    ],
)
def test_what_needs_torch_names_the_extra(run, words, what):
    """What an installation without models cannot do is one sentence that says how to get it."""
    sentence = f"{what} needs PyTorch; `pip install 'codekin[models]'` brings it.\n"
    assert run(*words) == (2, "", sentence)


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["uvx", "pipx"])
def test_uvx_and_pipx_install_the_wheel(installer, wheels, tmp_path):
    """Both bring the command from the folder of wheels, offline, without torch."""
    own = {"UV_CACHE_DIR": str(tmp_path / "cache"), "PIPX_HOME": str(tmp_path / "pipx"), "UV_PYTHON": sys.executable}
    own |= {"PIPX_BIN_DIR": str(tmp_path / "bin"), "PIPX_DEFAULT_BACKEND": "uv"}
    calls = {
        "uvx": [["uv", "tool", "run", "--offline", "--no-index", "--find-links", wheels, "codekin", "--version"]],
        "pipx": [
            ["pipx", "install", "--quiet", f"--pip-args=--no-index --find-links={wheels}", "codekin"],
            [tmp_path / "bin/codekin", "--version"],
        ],
    }
    for program, *words in calls[installer]:
        command = [program, *words] if Path(program).is_absolute() else [sys.executable, "-m", program, *words]
        done = subprocess.run(command, env=outside(tmp_path) | own, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert re.match(r"codekin \d+\.\d+\.\d+ \(build ", done.stdout)
