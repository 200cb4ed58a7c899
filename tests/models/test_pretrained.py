"""Qodo's and Jina's embedders on small checkpoints of their architectures, against plain references."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import peft
import pytest
import tiny_checkpoints
import torch
import transformers

from codekin.errors import CheckpointError, ModelError
from codekin.models.catalogue import ModelSpec, load_catalogue
from codekin.models.embedding.adapters import pad_sequences, pool_hidden_states
from codekin.models.embedding.local import LocalEmbedder
from codekin.models.embedding.pretrained import load_pretrained

# peft asks transformers by a name of its past.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Already found a .peft_config.:UserWarning"),
]

TEXTS = ["def add(a, b), do: a + b", "x", "int main() { return 0; }" * 3, "", "return return return"]


def tiny_qodo(folder: Path, **changes: object) -> ModelSpec:
    tiny_checkpoints.embedder(folder, "qwen2")
    return replace(load_catalogue()["qodo"], dimensions=32, end_id=0, context=256, **changes)  # type: ignore[arg-type]


def tiny_jina(folder: Path) -> ModelSpec:
    tiny_checkpoints.embedder(folder, "jina_embeddings_v3", pad_token_id=1)
    row = load_catalogue()["jina_v3"]
    for number, name in enumerate(sorted(set(row.adapters.values()))):
        torch.manual_seed(number)
        base = transformers.JinaEmbeddingsV3Model.from_pretrained(folder)
        config = peft.LoraConfig(r=4, lora_alpha=1, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        adapted = peft.get_peft_model(base, config)
        adapted.save_pretrained(folder / name)
    return replace(row, dimensions=32, truncations=(8, 16, 32), begin_id=3, end_id=4, context=256)


def by_hand(folder: Path, model: ModelSpec, ids: Sequence[Sequence[int]], adapter: str = "") -> np.ndarray:
    """One sequence at a time, without padding: forward, pool, cut, normalise."""
    module = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    if adapter:
        module.load_adapter(str(folder), adapter_name=adapter, adapter_kwargs={"subfolder": adapter})
    rows = []
    for sequence in ids:
        with torch.no_grad():
            hidden = module.eval()(torch.tensor([sequence])).last_hidden_state[0]
        row = hidden[-1] if model.pooling == "last" else hidden.mean(0)
        rows.append((row / row.norm()).numpy())
    return np.array(rows)


def ids_of(embedder: LocalEmbedder, texts: Sequence[str], kind: str = "passage") -> list[list[int]]:
    return embedder.tokenize(texts, kind).ids  # type: ignore[arg-type]


def test_qodo_equals_a_plain_reference(tmp_path: Path) -> None:
    """Vectors equal a plain reference, in any order and batch."""
    model = tiny_qodo(tmp_path)
    embedder = load_pretrained(model, tmp_path, dtype="float32")
    ids = ids_of(embedder, TEXTS)
    assert [each[-1] for each in ids] == [0] * len(TEXTS)
    expected = by_hand(tmp_path, model, ids)
    np.testing.assert_allclose(embedder.embed(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(embedder.embed(TEXTS[::-1])[::-1], expected, atol=1e-5)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "mean", "first"])
def test_pooling_does_not_see_the_side_of_the_padding(pooling: str) -> None:
    """Padding on either side does not change the pooled vector."""
    hidden = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    right = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    left = hidden.clone()
    left[0] = hidden[0].roll(2, 0)
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    torch.testing.assert_close(pool_hidden_states(hidden, right, pooling), pool_hidden_states(left, mask, pooling))


def test_qodos_attention_is_what_the_row_says(tmp_path: Path) -> None:
    """Attention is causal or bidirectional as the catalogue says."""
    causal = load_pretrained(tiny_qodo(tmp_path), tmp_path, dtype="float32")
    both = load_pretrained(tiny_qodo(tmp_path, causal=False), tmp_path, dtype="float32")
    first, second = causal.embed(TEXTS[:1])[0], both.embed(TEXTS[:1])[0]
    assert first @ second < 0.999
    assert causal.space != both.space


def test_a_long_text_keeps_its_end_id_and_is_counted(tmp_path: Path) -> None:
    """A truncated text keeps the token that is pooled, and is counted as truncated."""
    embedder = load_pretrained(replace(tiny_qodo(tmp_path), context=16), tmp_path, dtype="float32")
    ids = ids_of(embedder, ["x" * 100, "y"])
    assert [len(each) for each in ids] == [16, 2]
    assert [each[-1] for each in ids] == [0, 0]
    embedder.embed(["x" * 100, "y"])
    assert embedder.truncated == 1


def test_jinas_adapters_change_the_vector_and_restore_it(tmp_path: Path) -> None:
    """Each request uses the adapter of its kind alone."""
    model = tiny_jina(tmp_path)
    embedder = load_pretrained(replace(model, prompts={}), tmp_path, dtype="float32")
    for kind, adapter in model.adapters.items():
        expected = by_hand(tmp_path, model, ids_of(embedder, TEXTS, kind), adapter)
        np.testing.assert_allclose(embedder.embed(TEXTS, kind), expected, atol=1e-5)  # type: ignore[arg-type]
    passage, query = embedder.embed(TEXTS, "passage"), embedder.embed(TEXTS, "query")
    assert np.abs(passage - query).max() > 1e-3
    np.testing.assert_array_equal(embedder.embed(TEXTS, "passage"), passage)


def test_jinas_prompts_and_truncation(tmp_path: Path) -> None:
    """The prompt precedes the text, and shortened vectors have unit length."""
    model = tiny_jina(tmp_path)
    embedder = load_pretrained(model, tmp_path, dtype="float32")
    prompt = model.prompts["query"]
    assert ids_of(embedder, ["x"], "query")[0] == [3, *ids_of(embedder, [f"{prompt}x"], "matching")[0][1:-1], 4]
    short = load_pretrained(model, tmp_path, dtype="float32", dimensions=16)
    whole, cut = embedder.embed(TEXTS), short.embed(TEXTS)
    expected = whole[:, :16] / np.linalg.norm(whole[:, :16], axis=1, keepdims=True)
    np.testing.assert_allclose(cut, expected, atol=1e-5)
    assert short.space != embedder.space
    with pytest.raises(ModelError, match="8, 16, 32"):
        load_pretrained(model, tmp_path, dimensions=17)


def test_bidirectional_bert_is_padded_right(tmp_path: Path) -> None:
    """A bidirectional model ignores padding."""
    tiny_checkpoints.embedder(tmp_path, "bert")
    model = replace(
        load_catalogue()["codekin_embed"], key="bert", hub_id=str(tmp_path), dimensions=32, begin_id=3, end_id=4
    )
    embedder = load_pretrained(model, tmp_path, dtype="float32")
    np.testing.assert_allclose(embedder.embed(TEXTS), by_hand(tmp_path, model, ids_of(embedder, TEXTS)), atol=1e-5)


def test_padding_is_on_the_right() -> None:
    """Shorter sequences are padded on the right, with 0 in the mask."""
    ids, mask = pad_sequences([[1, 2], [3]], 9)
    assert ids.tolist() == [[1, 2], [3, 9]]
    assert mask.tolist() == [[1, 1], [1, 0]]


BREAKAGES = {
    "auto_map": "run code",
    "pickle": "pickle",
    "huge header": "header of 10,000,000,000",
    "truncated": "damaged|header",
    "nan": "not finite",
    "wrong shape": "shape",
    "missing tensor": "lacks",
    "other tokenizer": "two models",
    "link out": "link out",
    "no config": "config.json",
    "other architecture": "not a qwen2",
    "index leads out": "names no files",
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_broken_or_foreign_checkpoint_is_refused(tmp_path: Path, breakage: str) -> None:
    """A damaged, hostile or mismatched folder is refused with one sentence."""
    folder = tmp_path / "model"
    model = tiny_qodo(folder)
    break_it(folder, breakage)
    with pytest.raises(CheckpointError, match=BREAKAGES[breakage]):
        load_pretrained(model, folder, dtype="float32")


def break_it(folder: Path, breakage: str) -> None:
    weights, tokenizer = folder / "model.safetensors", folder / "tokenizer.json"
    tensors = dict(transformers.AutoModel.from_pretrained(folder).state_dict())
    source = json.loads(tokenizer.read_text())
    foreign = {**source, "added_tokens": [*source["added_tokens"], {**source["added_tokens"][0], "id": 5000}]}
    outside = {"weight_map": {"a": "../../x.safetensors"}}
    huge = (10_000_000_000).to_bytes(8, "little")
    breakages: dict[str, Callable[[], object]] = {
        "auto_map": lambda: tiny_checkpoints.change_config(folder, auto_map={"AutoModel": "evil.Model"}),
        "pickle": lambda: (weights.unlink(), torch.save(tensors, folder / "pytorch_model.bin")),
        "huge header": lambda: weights.write_bytes(huge + weights.read_bytes()[8:]),
        "truncated": lambda: weights.write_bytes(weights.read_bytes()[:-100]),
        "other tokenizer": lambda: tokenizer.write_text(json.dumps(foreign)),
        "link out": lambda: (folder / "extra.json").symlink_to("/etc/passwd"),
        "no config": (folder / "config.json").unlink,
        "other architecture": lambda: tiny_checkpoints.change_config(folder, model_type="llama"),
        "index leads out": lambda: (folder / "model.safetensors.index.json").write_text(json.dumps(outside)),
    }
    breakages.get(breakage, lambda: damage_tensors(weights, tensors, breakage))()


def damage_tensors(path: Path, tensors: dict[str, torch.Tensor], breakage: str) -> None:
    from safetensors.torch import save_file

    if breakage == "nan":
        tensors["norm.weight"][3] = float("nan")
    elif breakage == "wrong shape":
        tensors["embed_tokens.weight"] = tensors["embed_tokens.weight"][:, :-1].contiguous()
    else:
        del tensors["layers.1.mlp.down_proj.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
