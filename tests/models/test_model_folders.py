"""Model folders that are odd or hostile: honoured where it is known how, else refused in one sentence."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_checkpoints
import torch
import transformers
from safetensors.torch import load_file, save_file

from codekin.errors import CheckpointError, CodekinError, ModelError
from codekin.models.catalogue import MAX_JSON_BYTES, find_model
from codekin.models.embedding.adapters import pool_hidden_states
from codekin.models.loading import LoadOptions, load_embedder, load_generator
from codekin.models.weights import weight_files

EXACT = LoadOptions(dtype="float32")


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def encoder(folder: Path, family: str = "xlm-roberta", **changes: Any) -> Path:
    """A tiny encoder with a byte tokenizer."""
    size = tiny_checkpoints.byte_tokenizer(folder, tiny_checkpoints.LLAMA_SPECIAL)
    kind = {"xlm-roberta": "XLMRoberta", "bert": "Bert"}[family]
    options = {**tiny_checkpoints.TINY, "vocab_size": size, "pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 2}
    config = getattr(transformers, f"{kind}Config")(**{**options, "max_position_embeddings": 66, **changes})
    torch.manual_seed(0)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
    return folder


def sentence_transformers_pooling(folder: Path, **modes: bool | str) -> None:
    """What sentence-transformers writes beside a model."""
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    rows = [{"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    (folder / "modules.json").write_text(json.dumps(rows))


@pytest.mark.parametrize(("mode", "pooling"), [("cls_token", "first"), ("mean_tokens", "mean"), ("lasttoken", "last")])
def test_the_pooling_of_sentence_transformers_is_honoured(tmp_path: Path, mode: str, pooling: str) -> None:
    """Vectors are pooled as modules.json says."""
    folder = encoder(tmp_path / "model")
    sentence_transformers_pooling(folder, **{f"pooling_mode_{mode}": True, "pooling_mode_max_tokens": False})
    embedder = load_embedder(str(folder), EXACT)
    ids = torch.tensor(embedder.tokenize(["def add"], "passage").ids)
    module = transformers.XLMRobertaModel.from_pretrained(folder)
    hidden = module(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    expected = torch.nn.functional.normalize(pool_hidden_states(hidden, torch.ones_like(ids), pooling), dim=1)
    np.testing.assert_allclose(embedder.embed(["def add"]), expected.detach().numpy(), atol=1e-5)


def test_a_pooling_that_is_not_known_is_refused(tmp_path: Path) -> None:
    """Only the known ways of pooling are accepted."""
    folder = encoder(tmp_path / "model")
    sentence_transformers_pooling(folder, pooling_mode_cls_token=True, pooling_mode_max_tokens=True)
    with pytest.raises(ModelError, match="pools by cls_token, max_tokens"):
        load_embedder(str(folder), EXACT)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
@pytest.mark.parametrize(
    ("modes", "modules"),
    [({"pooling_mode_cls_token": True}, False), ({"pooling_mode": "cls"}, True), ({"pooling_mode": "cls"}, False)],
)
def test_pooling_is_read_in_every_form(tmp_path: Path, family: str, modes: dict[str, Any], modules: bool) -> None:
    """By a flag or by a name, and from its usual folder where no modules.json names one."""
    folder = encoder(tmp_path / "model", family)
    sentence_transformers_pooling(folder, **modes)
    if not modules:
        (folder / "modules.json").unlink()
    assert find_model(str(folder)).pooling == "first"


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"path": "2_Dense", "type": "sentence_transformers.models.Dense"}, "pass through Dense"),
        ({"path": "../other/1_Pooling", "type": "sentence_transformers.models.Pooling"}, "outside its own"),
    ],
)
def test_modules_that_change_the_vectors_or_lead_out_are_refused(
    tmp_path: Path, row: dict[str, str], sentence: str
) -> None:
    """A dense layer would be left out in silence, and another model's pooling is not this one's."""
    folder = encoder(tmp_path / "model")
    (folder / "modules.json").write_text(json.dumps([row]))
    with pytest.raises(ModelError, match=sentence):
        load_embedder(str(folder), EXACT)


ODD_CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("xlm-roberta", {"num_hidden_layers": -1}),
    ("xlm-roberta", {"layer_norm_eps": None}),
    ("xlm-roberta", {"layer_norm_eps": "small"}),
    ("xlm-roberta", {"bos_token_id": 10_000_000}),
    ("xlm-roberta", {"pad_token_id": None}),
    ("xlm-roberta", {"pad_token_id": 10_000_000}),
    ("xlm-roberta", {"position_embedding_type": "relative_key"}),
    ("bert", {"position_embedding_type": "relative_key_query"}),
    ("bert", {"num_attention_heads": 5}),
    ("bert", {"layer_norm_eps": "small"}),
    ("bert", {"hidden_act": "relu"}),
    ("llama", {"num_hidden_layers": -1}),
    ("llama", {"num_attention_heads": 0}),
    ("llama", {"eos_token_id": [[1]]}),
    ("llama", {"bos_token_id": "a"}),
    ("llama", {"rope_scaling": "x"}),
    ("llama", {"rope_scaling": {"type": "yarn", "factor": 4}}),
    ("llama", {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}),
    ("gpt_bigcode", {"scale_attn_weights": False}),
]


@pytest.mark.parametrize(("family", "changes"), ODD_CONFIGS)
def test_an_odd_config_is_one_sentence(tmp_path: Path, family: str, changes: dict[str, Any]) -> None:
    """What the code here does not compute, or no model can have, is refused before it serves."""
    is_encoder = family in ("bert", "xlm-roberta")
    folder = tmp_path / "model"
    (encoder if is_encoder else tiny_checkpoints.generator)(folder, family)
    edit_json(folder / "config.json", **changes)
    with pytest.raises(CodekinError):
        (load_embedder if is_encoder else load_generator)(str(folder), EXACT)


def test_positions_without_end_are_read_in_part(tmp_path: Path) -> None:
    """A config that claims 10^15 positions costs no memory for them."""
    folder = tiny_checkpoints.generator(tmp_path / "model", "llama")
    edit_json(folder / "config.json", max_position_embeddings=10**15)
    model = load_generator(str(folder), EXACT)
    assert len(model.generate(model.prompt("def f"), tiny_sampling()).tokens) > 0


def test_a_bert_that_pools_by_its_first_token_does(tmp_path: Path) -> None:
    """It runs through transformers, since the bundled encoder's forward pass knows the mean alone."""
    folder = encoder(tmp_path / "model", "bert")
    sentence_transformers_pooling(folder, pooling_mode_cls_token=True)
    assert load_embedder(str(folder), EXACT).embed(["x"]).shape == (1, 32)
    assert find_model(str(folder)).pooling == "first"


def test_positions_of_xlm_roberta_begin_behind_the_padding(tmp_path: Path) -> None:
    """Of 66 positions with padding at 1, texts get 64; a longer text is cut and counted."""
    embedder = load_embedder(str(encoder(tmp_path / "model")), EXACT)
    assert embedder.longest == 64
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    del config["pad_token_id"]
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    assert find_model(str(tmp_path / "model")).context == 64
    assert embedder.embed(["x " * 500]).shape == (1, 32)
    assert embedder.truncated == 1


def test_a_stray_safetensors_file_never_wins(tmp_path: Path) -> None:
    """model.safetensors is read alone; two files that nothing orders are named and refused."""
    folder = tiny_checkpoints.generator(tmp_path / "model", "llama")
    prompt = "def f"
    model = load_generator(str(folder), EXACT)
    expected = model.generate(model.prompt(prompt), tiny_sampling()).text
    tensors = {name: -tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "old_model.safetensors")
    assert [file.name for file in weight_files(folder)] == ["model.safetensors"]
    beside = load_generator(str(folder), EXACT)
    assert beside.generate(beside.prompt(prompt), tiny_sampling()).text == expected
    (folder / "model.safetensors").rename(folder / "new_model.safetensors")
    with pytest.raises(CheckpointError, match=r"new_model\.safetensors, old_model\.safetensors"):
        load_generator(str(folder), EXACT)


def tiny_sampling() -> Any:
    from codekin.protocols import Sampling

    return Sampling(max_tokens=8)


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("llama", "hidden_act", "gelu"),
        ("qwen2", "hidden_act", "relu"),
        ("starcoder2", "hidden_act", "relu"),
        ("gpt_bigcode", "activation_function", "gelu"),
    ],
)
def test_an_activation_that_is_not_computed_is_refused(tmp_path: Path, family: str, key: str, value: str) -> None:
    """The decoder computes silu and tanh-approximated gelu, and refuses any other activation."""
    folder = tiny_checkpoints.generator(tmp_path / "model", family)
    edit_json(folder / "config.json", **{key: value})
    with pytest.raises(CheckpointError, match=f"Activations of type '{value}' are not supported"):
        load_generator(str(folder), EXACT)


def test_vectors_that_are_not_finite_are_one_sentence(tmp_path: Path) -> None:
    """Weights may be finite and results not: they are refused before anything is stored."""
    folder = encoder(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.LayerNorm.weight"][0] = 3e38
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"not finite: set models\.dtype"):
        load_embedder(str(folder), EXACT).embed(["def add(a, b)"])


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _deep(path: Path) -> None:
    if path.suffix == ".safetensors":
        path.write_bytes(struct.pack("<Q", 200_000) + b"[" * 200_000)
    else:
        path.write_text('{"model_type":' + "[" * 200_000)


def _large(path: Path) -> None:
    if path.suffix == ".safetensors":
        rows = (b'"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % number for number in range(250_000))
        header = b"{" + b",".join(rows) + b"}"
        path.write_bytes(struct.pack("<Q", len(header)) + header)
    else:
        path.write_bytes(b" " * MAX_JSON_BYTES + b"{}")


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "llama"])
@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("harm", [_pipe, _device, _deep, _large])
def test_pipes_devices_and_bottomless_files_are_refused(
    tmp_path: Path, family: str, file: str, harm: Callable[[Path], None]
) -> None:
    """The same checks hold for every architecture, and each ends in one sentence."""
    folder = tmp_path / "model"
    tiny_checkpoints.generator(folder, family) if family == "llama" else encoder(folder, family)
    harm(folder / file)
    with pytest.raises(CodekinError):
        load_generator(str(folder), EXACT) if family == "llama" else load_embedder(str(folder), EXACT)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
def test_weights_outside_the_folder_and_remote_code_are_refused(tmp_path: Path, family: str) -> None:
    """A link out of the folder and auto_map are refused whatever the architecture is."""
    folder = encoder(tmp_path / "model", family)
    (folder / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(CheckpointError, match="link out of its folder"):
        load_embedder(str(folder), EXACT)
    (folder / "model.safetensors").unlink()
    (tmp_path / "elsewhere.safetensors").rename(folder / "model.safetensors")
    edit_json(folder / "config.json", auto_map={"AutoModel": "evil.Evil"})
    with pytest.raises(CheckpointError, match="auto_map"):
        load_embedder(str(folder), EXACT)


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10_000}
        ] * 2}},
        {"normalizer": {"type": "Prepend", "prepend": "x" * 1_000}},
        {"added_tokens": [{"id": number % 100, "content": f"t{number}"} for number in range(50_000)]},
        {"added_tokens": [{"id": "x", "content": "t"}]},
        {"added_tokens": [{"id": 10**12, "content": "t"}]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
def test_a_tokenizer_that_grows_without_bound_is_refused(tmp_path: Path, family: str, change: dict[str, Any]) -> None:
    """It is refused before the tokenizers library, which ends the process where memory ends, has read it."""
    folder = encoder(tmp_path / "model", family)
    edit_json(folder / "tokenizer.json", **change)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        load_embedder(str(folder), EXACT)
