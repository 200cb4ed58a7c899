"""The gate: what it activates, what it refuses and why, and how many questions it would need."""

import numpy as np
import pytest

from codekin.finetune.evaluation import EvaluationGain
from codekin.finetune.gate import MIN_QUERIES, decide_activation, needed_queries
from codekin.finetune.publication import earlier_heads
from codekin.finetune.trainers.methods import average_with_earlier
from codekin.models import checkpoints
from fakes import write_head


def gain(mean: float, width: float) -> EvaluationGain:
    """A gain with an interval of this width in all."""
    return EvaluationGain(0.5, 0.5 + mean, mean - width / 2, mean + width / 2, {})


NONE = gain(0.0, 0.01)


@pytest.mark.parametrize(
    ("here", "general", "count", "from_base", "activated", "words"),
    [
        (gain(0.03, 0.02), NONE, 300, gain(0.05, 0.02), True, "+3.0 points of MAP (+2.0 to +4.0) on held-out code"),
        (gain(0.03, 0.02), NONE, MIN_QUERIES - 1, None, False, "too few to compare"),
        (gain(0.013, 0.05), NONE, 310, None, False, "takes about 989 questions, and 310 decide here"),
        (gain(0.001, 0.01), NONE, 900, None, False, "not better beyond noise, the old model stays."),
        (gain(0.03, 0.02), gain(-0.02, 0.01), 300, None, False, "-2.0 in general"),
        (gain(0.03, 0.02), NONE, 300, gain(-0.004, 0.02), False, "-0.4 points against the model as it came"),
    ],
)
def test_the_gate_says_what_it_decides_and_why(here, general, count, from_base, activated, words):
    """Better than what serves beyond noise, not worse in general, and not worse than the base after many steps."""
    decision = decide_activation(here, general, count, from_base)
    assert (decision.activate, words in decision.reason) == (activated, True), decision.reason


def test_twice_the_noise_needs_four_times_the_questions():
    """The number grows with the square of the noise and falls with that of the gain to be shown."""
    narrow, wide = needed_queries(gain(0.0, 0.02), 100), needed_queries(gain(0.0, 0.04), 100)
    assert wide == pytest.approx(4 * narrow, abs=4)
    assert needed_queries(gain(0.0, 0.04), 100, shown=0.04) == pytest.approx(narrow, abs=1)


def test_heads_of_a_users_other_workspaces_are_averaged(tmp_path, embedder):
    """Only active heads over the same base count; one that is damaged is left out."""
    data = tmp_path / "checkpoints"
    eye = np.eye(embedder.dimensions, dtype=np.float32)
    for name, factor in (("own", 1.0), ("one", 2.0), ("other", 4.0), ("foreign", 9.0), ("rotten", 7.0)):
        space = "another" if name == "foreign" else embedder.space
        write_head(data / name, "night", factor * eye, {"method": "head", "base_space": space})
        checkpoints.set_pointer(data / name, "active", "night")
    (data / "rotten" / "night" / "head.safetensors").write_bytes(b"rotten")
    (data / "empty").mkdir()
    found = earlier_heads(data / "own", embedder.space)
    assert {name: float(head[0, 0]) for name, head in found.items()} == {"serving": 1.0, "other workspaces": 3.0}
    assert earlier_heads(data / "empty", embedder.space).keys() == {"other workspaces"}


def test_an_average_is_taken_only_where_it_validates_better():
    """The best of all shares of all earlier heads, and a note on it."""
    best, earlier = np.zeros((2, 2), np.float32), {"serving": np.ones((2, 2), np.float32)}
    head, note = average_with_earlier((0.5, best), earlier, lambda each: 0.5 + float(each[0, 0]))
    assert (float(head[0, 0]), note) == (0.5, "Averaged with the head of serving (50%).")
    head, note = average_with_earlier((0.5, best), earlier, lambda _: 0.4)
    assert (float(head[0, 0]), note) == (0.0, "")
    assert average_with_earlier((0.5, best), {"serving": np.ones((3, 3), np.float32)}, lambda _: 1.0)[1] == ""
