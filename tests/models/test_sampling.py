"""What is generated begins as it was typed, and many continuations are scored as one by one."""

import pytest
import tiny_checkpoints
import torch

from codekin.errors import UsageError
from codekin.models.generation.generator import LocalGenerator
from codekin.models.generation.sampling import choose_token, random_source
from codekin.models.loading import LoadOptions, load_generator
from codekin.protocols import Sampling


@pytest.fixture(scope="module", params=["llama", "gpt_bigcode"])
def generator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalGenerator:
    folder = tiny_checkpoints.generator(tmp_path_factory.mktemp(request.param), request.param)
    return load_generator(str(folder), LoadOptions(dtype="float32"))


@pytest.mark.parametrize("begins", ["r", " return", "é", "\u6c49z"])
def test_the_text_begins_as_requested(generator: LocalGenerator, begins: str) -> None:
    """The generated text begins with the half-typed word."""
    ids = generator.prompt("def add(first, second):\n    ")
    found = generator.generate(ids, Sampling(max_tokens=12, begins=begins))
    assert found.text.startswith(begins)
    assert len(found.tokens) == 12


def test_a_beginning_and_a_grammar_exclude_each_other() -> None:
    """A prefix and a grammar in one request are refused."""
    with pytest.raises(UsageError, match="not both"):
        Sampling(begins="a", regex="b")


def test_a_tree_is_scored_as_its_branches_one_by_one(generator: LocalGenerator) -> None:
    """Continuations are scored as if each were alone."""
    ids = generator.prompt("x = 1")
    continuations = [generator.vocabulary.encode_continuation(text) for text in ("abc", "abd", "b", "abcde", "")]
    *_, scores = generator.log_probabilities(ids, continuations)
    for continuation, found in zip(continuations, scores, strict=True):
        cache = generator.decoder.new_cache()
        logits = generator.decoder.forward([*ids, *continuation], cache, every=True)
        rows = torch.log_softmax(logits[len(ids) - 1 :], -1)
        expected = [float(rows[at, token]) for at, token in enumerate(continuation)]
        assert found == pytest.approx(expected, abs=1e-4)


def test_scoring_leaves_the_prompt_in_the_cache(generator: LocalGenerator) -> None:
    """Generating after scoring reuses the cached prompt."""
    ids = generator.prompt("a prompt that is read once")
    list(generator.log_probabilities(ids, [[1, 2], [3]]))
    assert generator.generate(ids, Sampling(max_tokens=1)).reused == len(ids) - 1


@pytest.mark.parametrize(
    ("written", "sampling", "expected"),
    [
        ([], Sampling(), 0),
        ([0], Sampling(presence_penalty=2.0), 1),
        ([0, 0, 0], Sampling(presence_penalty=0.5), 0),
        ([0], Sampling(frequency_penalty=0.5), 0),
        ([0, 0, 0], Sampling(frequency_penalty=0.5), 1),
        ([0, 0, 1, 1], Sampling(frequency_penalty=2.0), 2),
        ([], Sampling(logit_bias=((0, -100.0),)), 1),
        ([], Sampling(logit_bias=((2, 5.0),)), 2),
        ([2], Sampling(logit_bias=((2, 5.0),), presence_penalty=2.0, frequency_penalty=2.0), 0),
    ],
)
def test_penalties_and_biases_are_openais(written: list[int], sampling: Sampling, expected: int) -> None:
    """Presence counts once, frequency each time, both for what was written and not for the prompt."""
    logits = torch.tensor([3.0, 2.0, 1.5, -1.0])
    chosen = choose_token(logits, sampling, [0, 0, 0, *written], random_source(sampling), prompt_length=3)
    assert chosen == expected
    assert logits.tolist() == [3.0, 2.0, 1.5, -1.0]
