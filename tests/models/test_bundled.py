"""The bundled encoder's own forward pass, its kernels and batches."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_checkpoints
import torch
import transformers

from codekin.errors import CheckpointError, ModelError
from codekin.models import load_embedder
from codekin.models.batching import plan_batches
from codekin.models.embedders import BUNDLED, load_bundled, with_head
from codekin.models.kernels import PLAIN, candidates, fastest_kernel

TEXTS = ["def add(a, b), do: a + b", "x", "int main() { return fork(); }" * 60, "", "a \ud800 b\0c", "[CLS] [SEP]"]


@pytest.mark.parametrize("kernel", candidates(), ids=lambda kernel: kernel.name)
def test_forward_equals_transformers(kernel: object) -> None:
    """A wrong mask, norm or pooling of the bundled encoder, in any kernel."""
    embedder = load_bundled(kernel=kernel)  # type: ignore[arg-type]
    reference = transformers.BertModel.from_pretrained(BUNDLED, dtype=torch.float32, add_pooling_layer=False).eval()
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
    """Padding or neighbours that leak into a vector: the index would differ from the query."""
    embedder = load_bundled(kernel=PLAIN)
    together = embedder.embed(TEXTS)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(embedder.embed(TEXTS[::-1])[::-1], together, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert embedder.embed([]).shape == (0, 384)


def test_batches_keep_the_budget_and_lose_nothing() -> None:
    """A text that is embedded twice or never, or a batch that does not fit the cache."""
    lengths = [1, 500, 3, 3000, 64, 64, 0, 2048]
    batches = plan_batches(lengths, 2048)
    assert sorted(at for batch in batches for at in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[at] for at in batch) <= 2048


def test_the_kernel_is_measured_once(tmp_path: Path) -> None:
    """A probe at every start, or a damaged cache that stops the model from loading."""
    cache = tmp_path / "kernels.json"
    chosen = fastest_kernel(cache)
    assert chosen.name in cache.read_text()
    cache.write_text(json.dumps(dict.fromkeys(json.loads(cache.read_text()), PLAIN.name)))
    assert fastest_kernel(cache) == PLAIN
    cache.write_text("{broken")
    assert fastest_kernel(cache) == chosen


def test_a_head_opens_a_space_of_its_own() -> None:
    """Vectors of a learned head that are compared with those of the encoder alone."""
    plain = load_bundled(kernel=PLAIN)
    head = np.linalg.qr(np.random.default_rng(0).normal(size=(384, 384)))[0].astype(np.float32)
    learned = with_head(plain, head, "digest")
    np.testing.assert_allclose(learned.embed(TEXTS), plain.embed(TEXTS) @ head.T, atol=1e-5)
    assert learned.space != plain.space
    with pytest.raises(CheckpointError, match="384"):
        with_head(plain, head[:, :5], "digest")


def test_a_folder_is_an_embedder(tmp_path: Path) -> None:
    """A local folder in place of a name is not accepted, or a wrong one with a stack trace."""
    tiny_checkpoints.embedder(tmp_path / "mine", "bert")
    mine = load_embedder(str(tmp_path / "mine"))
    assert mine.embed(TEXTS).shape == (len(TEXTS), 32)
    for name in ("../../mine", "http://x/y", "nothing", "mine", str(tmp_path)):
        with pytest.raises(ModelError):
            load_embedder(name)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_bundle_is_a_sentence(tmp_path: Path, name: str) -> None:
    """A truncated file of the bundled encoder would raise an error of some library."""
    for each in ("config.json", "tokenizer.json", "model.safetensors"):
        content = (BUNDLED / each).read_bytes()
        (tmp_path / each).write_bytes(content[: len(content) // 2] if each == name else content)
    with pytest.raises(CheckpointError, match="again"):
        load_bundled(tmp_path, kernel=PLAIN)
