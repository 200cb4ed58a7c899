"""What is left of a run, and why it is slow, in a sentence."""

import pytest

from codekin.finetune.progress import (
    MIN_STEPS_FOR_ESTIMATE,
    EpochReporter,
    TrainingHardware,
    explain_slow_embedding,
    explain_slow_training,
)
from codekin.util.process import ProgressEstimator

IDLE = TrainingHardware("cpu", "bfloat16", processors=4, load=0.5)


def test_what_is_left_follows_the_mean_rate():
    """Each phase is timed from its own start; too few steps give no estimate."""
    estimator = ProgressEstimator(MIN_STEPS_FOR_ESTIMATE)
    left = [estimator.update("embedding", done, 10, now=done * 2.0).seconds_left for done in range(6)]
    assert left == [None, None, None, 14.0, 12.0, 10.0]
    assert estimator.update("training", 1, 100, now=12.0).seconds_left is None
    assert estimator.update("training", 6, 100, now=62.0).seconds_left == 940.0


@pytest.mark.parametrize(
    ("hardware", "words"),
    [
        (IDLE, ["60 minutes on cpu in bfloat16", "since there is no GPU;", "the method head takes seconds"]),
        (
            TrainingHardware("cpu", "float32", 2, 9.0),
            ["no GPU and this processor is not faster", "keep its 2 processors busy"],
        ),
        (TrainingHardware("cuda", "bfloat16", 8, 1.0), ["60 minutes on cuda in bfloat16; the method"]),
        (
            TrainingHardware("cpu", "float32", 8, 1.0, "unsupported"),
            ["this build of PyTorch has no CUDA", "install a CUDA build of PyTorch"],
        ),
        (TrainingHardware("cpu", "bfloat16", 8, 1.0, "unused"), ["leaves the GPU out", "set models.device to auto"]),
    ],
)
def test_a_slow_run_reports_its_hardware_and_the_reason(hardware, words):
    """A slow run's note names the device, the dtype and other load; a quick run has none."""
    note = explain_slow_training(3600.0, "full", hardware)
    assert all(word in note for word in words), note
    assert note.startswith("Slower than expected: training takes")
    assert not explain_slow_training(200.0, "full", hardware)
    assert "head takes" not in explain_slow_training(3600.0, "head", hardware)


def test_slow_embedding_names_the_cold_cache():
    """Texts that no run has embedded before are the reason, and the next run is quicker."""
    note = explain_slow_embedding(660.0, 4100, IDLE)
    assert note == (
        "Slower than expected: embedding takes about 11 minutes on cpu in bfloat16, since 4100 texts are embedded for"
        " the first time and there is no GPU; the next run embeds only what changed."
    )
    assert not explain_slow_embedding(10.0, 4100, IDLE)


def test_each_epoch_is_an_event_with_the_time_left():
    """The figures from before have no time left; the last epoch has none left."""
    events = []
    report = EpochReporter(2, events.append)
    for epoch in ({"epoch": 0, "map": 0.4}, {"epoch": 1, "map": 0.5, "loss": 1.0}, {"epoch": 2, "map": 0.6}):
        report(epoch)
    assert [(one["event"], one["epoch"], one["epochs"], one["map"]) for one in events] == [
        ("epoch", 0, 2, 0.4),
        ("epoch", 1, 2, 0.5),
        ("epoch", 2, 2, 0.6),
    ]
    assert (events[0]["seconds_left"], events[2]["seconds_left"]) == (None, 0.0)
    assert events[1]["seconds_left"] >= 0
