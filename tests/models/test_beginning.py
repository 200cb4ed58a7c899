"""What is generated begins as it was typed, and many continuations are scored as one by one."""

import pytest
import tiny_checkpoints
import torch

from codekin.errors import UsageError
from codekin.models import load_generator
from codekin.models.generation import Generator
from codekin.models.loading import Options
from codekin.models.sampling import Sampling
from codekin.models.scoring import log_probabilities


@pytest.fixture(scope="module", params=["llama", "gpt_bigcode"])
def generator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator:
    folder = tiny_checkpoints.generator(tmp_path_factory.mktemp(request.param), request.param)
    return load_generator(str(folder), Options(dtype="float32"))


@pytest.mark.parametrize("begins", ["r", " return", "é", "\u6c49z"])
def test_the_text_begins_as_asked(generator: Generator, begins: str) -> None:
    """A half-typed word would be gone on with as if it were a word of its own, or be replaced by another."""
    ids = generator.prompt("def add(first, second):\n    ")
    found = generator.generate(ids, Sampling(max_tokens=12, begins=begins))
    assert found.text.startswith(begins)
    assert len(found.tokens) == 12


def test_a_beginning_and_a_grammar_exclude_each_other() -> None:
    """One of the two would be dropped without a word."""
    with pytest.raises(UsageError, match="not both"):
        Sampling(begins="a", regex="b")


def test_a_tree_is_scored_as_its_branches_one_by_one(generator: Generator) -> None:
    """Continuations would see each other, and the wrong one would win."""
    ids = generator.prompt("x = 1")
    continuations = [generator.vocabulary.encode_inside(text) for text in ("abc", "abd", "b", "abcde", "")]
    *_, scores = log_probabilities(generator, ids, continuations)
    for continuation, found in zip(continuations, scores, strict=True):
        cache = generator.decoder.new_cache()
        logits = generator.decoder.forward([*ids, *continuation], cache, every=True)
        rows = torch.log_softmax(logits[len(ids) - 1 :], -1)
        expected = [float(rows[at, token]) for at, token in enumerate(continuation)]
        assert found == pytest.approx(expected, abs=1e-4)


def test_scoring_leaves_the_prompt_in_the_cache(generator: Generator) -> None:
    """Generating after scoring would read the prompt again."""
    ids = generator.prompt("a prompt that is read once")
    list(log_probabilities(generator, ids, [[1, 2], [3]]))
    assert generator.generate(ids, Sampling(max_tokens=1)).reused == len(ids) - 1
