"""The catalogue's rows, the user's own, and the arithmetic of what fits."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_checkpoints

from codekin.errors import ModelError, SettingsError
from codekin.models.catalogue import find_model, load_catalogue, recommend_generator
from codekin.models.planner import check_hardware, memory_need, parse_memory, plan_memory

GB = 1 << 30


def test_the_rows_of_the_documentation() -> None:
    """The catalogue has the documented models and recommends one for each purpose."""
    assert set(load_catalogue()) == {
        *("codekin_embed", "qodo", "jina_v3", "codellama_7b", "codellama_7b_base", "starcoder_1b"),
        *("codellama_7b_gguf", "starcoder2_3b", "deepseek_coder_1b", "granite_code_3b"),
        *(f"qwen_coder_{size}{kind}" for size in ("0_5b", "1_5b", "3b", "7b") for kind in ("", "_gguf")),
    }
    assert recommend_generator("production") == "codellama_7b"
    assert recommend_generator("dev") == "starcoder_1b"
    with pytest.raises(ModelError, match="production or dev"):
        recommend_generator("")


def test_sizes_follow_from_the_published_shapes() -> None:
    """Parameters and attention cache of Qwen2.5-Coder are those of its configurations; its 3B forbids commerce."""
    rows = load_catalogue()
    for size, groups, tied in (("0_5b", 2, True), ("1_5b", 2, True), ("3b", 2, True), ("7b", 4, False)):
        row = rows[f"qwen_coder_{size}"]
        width = 64 if size == "0_5b" else 128
        keys = groups * width
        layer = 2 * row.hidden**2 + row.hidden + 2 * (row.hidden * keys + keys) + 3 * row.hidden * row.inner
        embedding = row.vocabulary * row.hidden * (1 if tied else 2)
        assert row.parameters == embedding + row.layers * (layer + 2 * row.hidden) + row.hidden
        assert row.cache_bytes_per_token == 2 * row.layers * keys * 2
        assert bool(row.forbids) == (size == "3b")
        assert memory_need(rows[f"qwen_coder_{size}_gguf"], "float32", 4096).weights < row.parameters


def test_a_user_adds_and_changes_rows() -> None:
    """The user's rows are added to the catalogue and override its values."""
    mine = {"role": "generator", "architecture": "qwen2", "hub_id": "Qwen/Qwen2.5-Coder-0.5B", "infill": "qwen2"}
    rows = load_catalogue({"mine": mine, "qodo": {"causal": False}})
    assert rows["mine"].hub_id == "Qwen/Qwen2.5-Coder-0.5B"
    assert rows["qodo"] == replace(load_catalogue()["qodo"], causal=False)


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
    """A mistake in a catalogue row is reported with its key."""
    row, sentence = WRONG[name]
    with pytest.raises(SettingsError, match=sentence):
        load_catalogue({"mine": row})


@pytest.mark.parametrize("name", ["../../qodo", "http://x/qodo", "", "quodo", "qodo\0", "./qodo"])
def test_names_that_are_no_key_are_refused(name: str) -> None:
    """A path or URL in place of a key is refused."""
    with pytest.raises(ModelError, match="There is no model"):
        find_model(name)


def test_a_folder_is_read_by_its_config(tmp_path: Path) -> None:
    """The row of a user's checkpoint is read from its config.json."""
    model = find_model(str(tiny_checkpoints.generator(tmp_path / "mine", "qwen2")))
    assert (model.role, model.architecture, model.context, model.stop_ids) == ("generator", "qwen2", 512, (0,))
    assert model.cache_bytes_per_token == 2 * 2 * 2 * 8 * 2
    tiny_checkpoints.change_config(tmp_path / "mine", model_type="mamba")
    with pytest.raises(ModelError, match="mamba"):
        find_model(str(tmp_path / "mine"))


def test_the_arithmetic_of_codellama() -> None:
    """The planned bytes of CodeLlama equal those computed by hand."""
    row = memory_need(load_catalogue()["codellama_7b"], "bfloat16", 4096)
    assert row.weights == 2 * 6_738_546_688
    assert row.cache == 4096 * 2 * 32 * 4096 * 2
    assert memory_need(load_catalogue()["codellama_7b"], "float32", 4096).weights == 2 * row.weights
    assert memory_need(load_catalogue()["starcoder_1b"], "bfloat16", 10**9).cache == 8192 * 12288


def test_what_does_not_fit_is_reported_with_what_would() -> None:
    """A plan that does not fit names the dtype or change that makes it fit."""
    both = [load_catalogue()["codellama_7b"], load_catalogue()["qodo"]]
    tight = plan_memory(both, 16 * GB)
    assert not tight.fits
    assert "int8" in tight.advice
    assert plan_memory(both, 16 * GB, "int8").fits
    assert plan_memory(both, 24 * GB).fits
    assert "int4" in plan_memory(both, 10 * GB).advice
    assert plan_memory(both, 10 * GB, "int4").fits
    assert "evicted" in plan_memory(both, 6 * GB).advice
    assert "512 tokens" in plan_memory(both, 9 * GB // 2).advice
    assert "at least" in plan_memory(both, 1 * GB).advice


def test_hardware_is_judged_with_a_reason() -> None:
    """The verdict on the hardware comes with its reason."""
    assert check_hardware("starcoder_1b", 16 * GB)
    poor = check_hardware("codellama_7b", 2 * GB)
    assert not poor
    assert "2.00 GB are free" in poor.reason
    assert "too slow" in check_hardware("codellama_7b", 32 * GB).reason


@pytest.mark.parametrize(
    ("text", "size"), [("16GB", 16 * GB), ("512 mb", 512 << 20), ("1.5GiB", 3 * GB // 2), ("9", 9)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    """Sizes are parsed with any binary unit, or as GB without one."""
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "1e9GB", "16XB"])
def test_sizes_that_are_none(text: str) -> None:
    """An invalid size is refused."""
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
    """A folder's begin token is the one that its tokenizer prepends, or none."""
    folder = tiny_checkpoints.generator(tmp_path / "mine", "llama")
    tiny_checkpoints.change_config(folder, bos_token_id=7)
    for part in changes.get("processors", []):
        part["special_tokens"] = {"<s>": {"ids": [7]}}
    source = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**source, "post_processor": changes or None}))
    assert find_model(str(folder)).begin_id == begin
