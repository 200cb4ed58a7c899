"""The bundled encoder's own forward pass, its kernels and batches."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_checkpoints
import torch
import transformers

from codekin.errors import CheckpointError, ModelError
from codekin.models.embedding.local import BUNDLED_FOLDER, load_bundled, plan_batches, with_head
from codekin.models.linear import PLAIN_KERNEL, candidate_kernels, fastest_kernel
from codekin.models.loading import load_embedder

TEXTS = ["def add(a, b), do: a + b", "x", "int main() { return fork(); }" * 60, "", "a \ud800 b\0c", "[CLS] [SEP]"]


@pytest.mark.parametrize("kernel", candidate_kernels(), ids=lambda kernel: kernel.name)
def test_forward_equals_transformers(kernel: object) -> None:
    """The bundled encoder gives the reference vectors in every kernel."""
    embedder = load_bundled(kernel=kernel)  # type: ignore[arg-type]
    reference = transformers.BertModel.from_pretrained(
        BUNDLED_FOLDER, dtype=torch.float32, add_pooling_layer=False
    ).eval()
    expected = []
    for ids in embedder.tokenize(TEXTS, "passage").ids:
        with torch.no_grad():
            hidden = reference(torch.tensor([ids])).last_hidden_state[0].mean(0)
        expected.append((hidden / hidden.norm()).numpy())
    found = embedder.embed(TEXTS)
    if kernel.dtype is torch.float32:  # type: ignore[attr-defined]
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (found * np.array(expected)).sum(1).min() > 0.999


def test_a_vector_does_not_depend_on_its_batch() -> None:
    """A text's vector does not depend on the other texts in its batch."""
    embedder = load_bundled(kernel=PLAIN_KERNEL)
    together = embedder.embed(TEXTS)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(embedder.embed(TEXTS[::-1])[::-1], together, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert embedder.embed([]).shape == (0, 384)


def test_batches_keep_the_budget_and_lose_nothing() -> None:
    """Each text is in one batch, and no batch of several exceeds the token budget."""
    lengths = [1, 500, 3, 3000, 64, 64, 0, 2048]
    batches = plan_batches(lengths, 2048)
    assert sorted(at for batch in batches for at in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[at] for at in batch) <= 2048


def test_the_kernel_is_measured_once(tmp_path: Path) -> None:
    """The kernel is measured once and cached; a damaged cache is measured anew."""
    cache = tmp_path / "kernels.json"
    chosen = fastest_kernel(cache)
    assert chosen.name in cache.read_text()
    cache.write_text(json.dumps(dict.fromkeys(json.loads(cache.read_text()), PLAIN_KERNEL.name)))
    assert fastest_kernel(cache) == PLAIN_KERNEL
    cache.write_text("{broken")
    assert fastest_kernel(cache) == chosen


def test_a_head_opens_a_space_of_its_own() -> None:
    """A head multiplies the vectors and has its own space; one of another shape is refused."""
    plain = load_bundled(kernel=PLAIN_KERNEL)
    head = np.linalg.qr(np.random.default_rng(0).normal(size=(384, 384)))[0].astype(np.float32)
    learned = with_head(plain, head, "digest")
    np.testing.assert_allclose(learned.embed(TEXTS), plain.embed(TEXTS) @ head.T, atol=1e-5)
    assert learned.space != plain.space
    with pytest.raises(CheckpointError, match="384"):
        with_head(plain, head[:, :5], "digest")


def test_a_folder_is_an_embedder(tmp_path: Path) -> None:
    """An absolute path to a checkpoint loads as an embedder; any other name raises a ModelError."""
    tiny_checkpoints.embedder(tmp_path / "mine", "bert")
    mine = load_embedder(str(tmp_path / "mine"))
    assert mine.embed(TEXTS).shape == (len(TEXTS), 32)
    for name in ("../../mine", "http://x/y", "nothing", "mine", str(tmp_path)):
        with pytest.raises(ModelError):
            load_embedder(name)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_bundle_is_a_sentence(tmp_path: Path, name: str) -> None:
    """A truncated file of the bundled encoder raises one sentence of ours."""
    for each in ("config.json", "tokenizer.json", "model.safetensors"):
        content = (BUNDLED_FOLDER / each).read_bytes()
        (tmp_path / each).write_bytes(content[: len(content) // 2] if each == name else content)
    with pytest.raises(CheckpointError, match="again"):
        load_bundled(tmp_path, kernel=PLAIN_KERNEL)
