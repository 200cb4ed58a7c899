"""The sample project, indexed once."""

import shutil
from pathlib import Path

import pytest
from agents import SAMPLE

from daemons import private_data, run_codekin


@pytest.fixture(scope="session")
def data():
    with pytest.MonkeyPatch.context() as patch, private_data(patch) as folder:
        yield folder


@pytest.fixture(scope="session")
def sample(data) -> Path:
    root = data.parent / "work" / "mixed"
    shutil.copytree(SAMPLE, root)
    done = run_codekin("index", root, "--json")
    assert (done.status, done.err) == (0, "")
    return root
