"""A workspace's index with something to learn, and the folder of what was learned."""

from pathlib import Path

import pytest
from finetune_samples import NoisyEmbedder, application, built_index


@pytest.fixture(scope="session")
def embedder() -> NoisyEmbedder:
    return NoisyEmbedder()


@pytest.fixture(scope="session")
def shared_index(tmp_path_factory, embedder):
    with built_index(tmp_path_factory.mktemp("index"), embedder) as index:
        yield index


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "finetune"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The application as a workspace on the disk."""
    folder = tmp_path / "app"
    for path, text in application(50).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "mix.exs").write_text("defmodule App.MixProject do\nend\n")
    return folder
