"""The installed commands and a real window on one data folder, as a user has them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "benchmarks"))

from lsp_client import COMMAND, LspClient

SAMPLE = Path(__file__).parents[2] / "examples" / "mixed"


@pytest.fixture
def root(data) -> Path:
    """A copy of the sample project; its index is made by whoever asks first."""
    folder = data.parent / "mixed"
    shutil.copytree(SAMPLE, folder)
    return folder


@pytest.fixture
def codekin(data):
    """Runs the installed command in a pipe."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        words = [str(COMMAND), *map(str, arguments)]
        given = {**os.environ, **environment}
        return subprocess.run(words, check=False, capture_output=True, text=True, timeout=110, env=given)

    return run


@pytest.fixture
def window(data, root):
    """A window on the sample, ready to be asked."""
    with LspClient(data) as window:
        window.begin(root)
        window.until_ready()
        yield window
