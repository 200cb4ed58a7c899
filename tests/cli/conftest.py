"""The installed command, its own data folder, and a copy of the sample project that is indexed once."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from daemons import private_data

SAMPLE = Path(__file__).parents[2] / "examples" / "mixed"
COMMAND = Path(sys.executable).with_name("codekin")


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    status: int
    out: str
    err: str


def run_codekin(*arguments: object, cwd: Path | None = None, stdin: str = "") -> Done:
    """Runs the installed command in a pipe."""
    words = [str(COMMAND), *map(str, arguments)]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=cwd, input=stdin, timeout=280)
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def session_patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="session")
def data(session_patch):
    with private_data(session_patch) as folder:
        yield folder


@pytest.fixture(scope="session")
def codekin(data):
    assert os.environ["CODEKIN_DATA_DIR"] == str(data)
    return run_codekin


@pytest.fixture(scope="session")
def sample(data, codekin) -> Path:
    root = data.parent / "work" / "mixed"
    shutil.copytree(SAMPLE, root)
    done = codekin("index", root, "--json")
    assert (done.status, done.err) == (0, "")
    return root
