"""A workspace's index with something to learn, and the folder of what was learned."""

from pathlib import Path

import pytest
from learning_samples import NoisyEmbedder, built_index


@pytest.fixture(scope="session")
def embedder() -> NoisyEmbedder:
    return NoisyEmbedder()


@pytest.fixture(scope="session")
def shared_index(tmp_path_factory, embedder):
    with built_index(tmp_path_factory.mktemp("index"), embedder) as index:
        yield index


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "learning"
