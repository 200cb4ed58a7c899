"""The catalogue's rows, the user's own, and the arithmetic of what fits."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_checkpoints

from codekin.errors import ModelError, SettingsError
from codekin.models.catalogue import catalogue, find_model, recommended
from codekin.models.planner import hardware_supported, need, parse_memory, plan

GB = 1 << 30


def test_the_rows_of_the_documentation() -> None:
    """A model of the documentation that is not there."""
    assert set(catalogue()) == {
        *("codekin_embed", "qodo", "jina_v3", "codellama_7b", "codellama_7b_base", "starcoder_1b"),
    }
    assert recommended("production") == "codellama_7b"
    assert recommended("dev") == "starcoder_1b"
    with pytest.raises(ModelError, match="production or dev"):
        recommended("")


def test_a_user_adds_and_changes_rows() -> None:
    """A row of the settings that is ignored."""
    mine = {"role": "generator", "architecture": "qwen2", "hub_id": "Qwen/Qwen2.5-Coder-0.5B", "infill": "qwen2"}
    rows = catalogue({"mine": mine, "qodo": {"causal": False}})
    assert rows["mine"].hub_id == "Qwen/Qwen2.5-Coder-0.5B"
    assert rows["qodo"] == replace(catalogue()["qodo"], causal=False)


WRONG = {
    "dimension": ({"role": "embedder", "architecture": "bert", "dimension": 3}, "no entry 'dimension'"),
    "type": ({"role": "embedder", "architecture": "bert", "context": "long"}, "context"),
    "architecture": ({"role": "embedder", "architecture": "t5"}, "architecture"),
    "role": ({"role": "poet", "architecture": "bert"}, "architecture|role"),
    "missing": ({"hub_id": "a/b"}, "role and architecture"),
    "url": ({"role": "embedder", "architecture": "bert", "hub_id": "http://evil/x"}, "hub_id"),
    "relative": ({"role": "embedder", "architecture": "bert", "hub_id": "../../x"}, "hub_id"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_row_names_its_key(name: str) -> None:
    """A typing mistake in the settings would go unnoticed, or name nothing."""
    row, sentence = WRONG[name]
    with pytest.raises(SettingsError, match=sentence):
        catalogue({"mine": row})


@pytest.mark.parametrize("name", ["../../qodo", "http://x/qodo", "", "quodo", "qodo\0", "./qodo"])
def test_names_that_are_no_key_are_refused(name: str) -> None:
    """A path or URL in place of a key would be followed."""
    with pytest.raises(ModelError, match="There is no model"):
        find_model(name)


def test_a_folder_is_read_by_its_config(tmp_path: Path) -> None:
    """A checkpoint of the user's own would need a row by hand."""
    model = find_model(str(tiny_checkpoints.generator(tmp_path / "mine", "qwen2")))
    assert (model.role, model.architecture, model.context, model.stop_ids) == ("generator", "qwen2", 512, (0,))
    assert model.cache_bytes_per_token == 2 * 2 * 2 * 8 * 2
    tiny_checkpoints.change_config(tmp_path / "mine", model_type="mamba")
    with pytest.raises(ModelError, match="mamba"):
        find_model(str(tmp_path / "mine"))


def test_the_arithmetic_of_codellama() -> None:
    """Bytes that are off by a factor would let a model in that does not fit."""
    row = need(catalogue()["codellama_7b"], "bfloat16", 4096)
    assert row.weights == 2 * 6_738_546_688
    assert row.cache == 4096 * 2 * 32 * 4096 * 2
    assert need(catalogue()["codellama_7b"], "float32", 4096).weights == 2 * row.weights
    assert need(catalogue()["starcoder_1b"], "bfloat16", 10**9).cache == 8192 * 12288


def test_what_does_not_fit_is_told_with_what_would() -> None:
    """A plan that says no and leaves the user alone."""
    both = [catalogue()["codellama_7b"], catalogue()["qodo"]]
    tight = plan(both, 16 * GB)
    assert not tight.fits
    assert "int8" in tight.advice
    assert plan(both, 16 * GB, "int8").fits
    assert plan(both, 24 * GB).fits
    assert "int4" in plan(both, 10 * GB).advice
    assert plan(both, 10 * GB, "int4").fits
    assert "evicted" in plan(both, 6 * GB).advice
    assert "512 tokens" in plan(both, 9 * GB // 2).advice
    assert "at least" in plan(both, 1 * GB).advice


def test_hardware_is_judged_with_a_reason() -> None:
    """A yes or no that cannot be understood."""
    assert hardware_supported("starcoder_1b", 16 * GB)
    poor = hardware_supported("codellama_7b", 2 * GB)
    assert not poor
    assert "2.00 GB are free" in poor.reason
    assert "too slow" in hardware_supported("codellama_7b", 32 * GB).reason


@pytest.mark.parametrize(
    ("text", "size"), [("16GB", 16 * GB), ("512 mb", 512 << 20), ("1.5GiB", 3 * GB // 2), ("9", 9)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    """A size that is read wrongly."""
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "1e9GB", "16XB"])
def test_sizes_that_are_none(text: str) -> None:
    """A wrong size would be read as some number."""
    with pytest.raises(ModelError, match="16GB"):
        parse_memory(text)


@pytest.mark.parametrize(
    ("changes", "begin"),
    [
        ({}, None),
        ({"single": [{"SpecialToken": {"id": "<s>"}}], "special_tokens": {"<s>": {"ids": [7]}}}, 7),
        ({"processors": [{"single": [{"Sequence": {}}]}, {"single": [{"SpecialToken": {"id": "<s>"}}]}]}, 7),
        ({"single": [{"Sequence": {"id": "A"}}], "special_tokens": {}}, None),
    ],
)
def test_a_folder_begins_texts_as_its_tokenizer_does(
    tmp_path: Path, changes: dict[str, Any], begin: int | None
) -> None:
    """A token in front of every text that the model never saw there, or none where it always saw one."""
    folder = tiny_checkpoints.generator(tmp_path / "mine", "llama")
    tiny_checkpoints.change_config(folder, bos_token_id=7)
    for part in changes.get("processors", []):
        part["special_tokens"] = {"<s>": {"ids": [7]}}
    source = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**source, "post_processor": changes or None}))
    assert find_model(str(folder)).begin_id == begin
