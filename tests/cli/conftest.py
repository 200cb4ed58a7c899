"""The installed command, its own data folder, and a copy of the sample project that is indexed once."""

import os
import shutil
from pathlib import Path

import pytest

from daemons import private_data, run_codekin

SAMPLE = Path(__file__).parents[2] / "examples" / "mixed"


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
