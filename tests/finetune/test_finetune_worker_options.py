"""What the command line says goes before the settings; what it leaves out is as they say."""

import pytest

from codekin.errors import FinetuneError
from codekin.finetune.dataset.sources import require_sources
from codekin.finetune.dataset.triplets import TripletMix
from codekin.finetune.trainers.loop import TrainingOptions
from codekin.finetune.worker import _parse_arguments, _read_config

SETTINGS = (
    '{"finetune": {"manual_epochs": 2, "batch_size": 8, "learning_rate": 0.001, "beam_ratio": 0.5,'
    ' "sources": ["docs", "tests"]}}'
)


def read_config(tmp_path, *arguments: str):
    places = ["--root", str(tmp_path), "--data-dir", str(tmp_path / "data"), "--socket", "none"]
    return _read_config(_parse_arguments([*places, "--settings", SETTINGS, *arguments]), tmp_path / "data", tmp_path)


def test_settings_hold_without_options(tmp_path):
    """Each choice comes from the settings of the window."""
    config = read_config(tmp_path)
    assert TrainingOptions(2, learning_rate=0.001, batch_size=8) == config.training
    assert TripletMix(1000, 0.5, 0.3, sources=("docs", "tests")) == config.mix


def test_the_command_line_goes_before_the_settings(tmp_path):
    """Zero is a ratio like any other."""
    wanted = ["--epochs", "1", "--learning-rate", "0.1", "--batch-size", "4", "--count", "50"]
    config = read_config(tmp_path, *wanted, "--beam-ratio", "0", "--cross-language-ratio", "0")
    assert TrainingOptions(1, learning_rate=0.1, batch_size=4) == config.training
    assert TripletMix(50, 0.0, 0.0, sources=("docs", "tests")) == config.mix


def test_a_source_that_there_is_not_is_refused():
    """The sentence lists those that there are."""
    with pytest.raises(FinetuneError, match=r"finetune\.sources has 'dreams'; there are docs, tests, calls"):
        require_sources(["docs", "dreams"])
    assert require_sources(["tests", "docs", "tests"]) == ("tests", "docs")
