from pathlib import Path

import pytest
from sample_trees import GAMMA, Place, module


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A small tree."""
    place = Place(tmp_path / "root", tmp_path / "index")
    place.write("lib/a.ex", module("A", "alpha"))
    place.write("lib/b.ex", module("B", "beta"))
    place.write("src/c.cpp", GAMMA)
    place.write("notes.rst", "words")
    return place
