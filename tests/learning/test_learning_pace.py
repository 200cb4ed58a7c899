"""What is left of a run, and why it is slow, in a sentence."""

import pytest

from codekin.learning.pace import Hardware, Pace, why_slow

IDLE = Hardware("cpu", "bfloat16", processors=4, load=0.5)


def test_what_is_left_follows_the_mean_rate():
    """Each phase counts from its own beginning; too few steps tell nothing."""
    pace = Pace()
    told = [pace.seconds_left("embedding", done, 10, now=done * 2.0) for done in range(6)]
    assert told == [None, None, None, 14.0, 12.0, 10.0]
    assert pace.seconds_left("training", 1, 100, now=12.0) is None
    assert pace.seconds_left("training", 6, 100, now=62.0) == 940.0


@pytest.mark.parametrize(
    ("hardware", "words"),
    [
        (IDLE, ["60 minutes on cpu in bfloat16", "since there is no GPU;", "the method head takes seconds"]),
        (Hardware("cpu", "float32", 2, 9.0), ["no GPU and this processor is not faster", "keep its 2 processors busy"]),
        (Hardware("cuda", "bfloat16", 8, 1.0), ["60 minutes on cuda in bfloat16; the method"]),
    ],
)
def test_a_slow_run_says_on_what_and_why(hardware, words):
    """The device, the dtype and what else keeps it busy; a quick run says nothing."""
    said = why_slow(3600.0, "full", hardware)
    assert all(word in said for word in words), said
    assert not why_slow(300.0, "full", hardware)
    assert "head takes" not in why_slow(3600.0, "head", hardware)
