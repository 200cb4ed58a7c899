"""What the tests of this room share: one thread for torch, and real public vocabularies."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "benchmarks"))

import public_models

# The models of these tests are too small for more.
torch.set_num_threads(1)


def fetched(name: str) -> Path:
    """A folder of `public_models`; the test is skipped, with the reason, where it cannot be fetched."""
    try:
        folder: Path = getattr(public_models, name)()
    except public_models.Unreachable as error:
        pytest.skip(str(error))
    return folder


@pytest.fixture(scope="session")
def llama_tokenizer() -> Path:
    return fetched("llama_tokenizer")


@pytest.fixture(scope="session")
def qwen_tokenizer() -> Path:
    return fetched("qwen_tokenizer")


@pytest.fixture(scope="session")
def smollm2() -> Path:
    return fetched("smollm2")
