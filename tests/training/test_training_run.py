"""The training loop, on an encoder of the true shape with few words."""

import pytest
import torch
from safetensors.torch import save_file

from average import average, export
from encoder import encode, load_weights, trainable
from train import Run, contrast


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Random weights of six layers of width 24, with a vocabulary of 50."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=generator) * 0.05

    width, inner = 24, 48
    tensors = {
        f"embeddings.{name}.weight": random(rows, width)
        for name, rows in (("word_embeddings", 50), ("position_embeddings", 16), ("token_type_embeddings", 2))
    }
    shapes = {
        "attention.self.query": (width, width),
        "attention.self.key": (width, width),
        "attention.self.value": (width, width),
        "attention.output.dense": (width, width),
        "intermediate.dense": (inner, width),
        "output.dense": (width, inner),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(6):
        at = f"encoder.layer.{layer}"
        tensors |= {f"{at}.{name}.weight": random(*shape) for name, shape in shapes.items()}
        tensors |= {f"{at}.{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}
        norms += [f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm"]
    for name in norms:
        tensors |= {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}
    tensors["pooler.dense.weight"] = random(width, width)
    path = tmp_path_factory.mktemp("base") / "model.safetensors"
    save_file(tensors, str(path))
    return path


def test_padding_changes_nothing(base):
    """A text's vector would depend on its neighbours in the batch."""
    weights = load_weights(base)

    alone = encode(weights, [[1, 2, 3]])
    together = encode(weights, [[1, 2, 3], [4, 5, 6, 7, 8]])

    assert torch.allclose(alone[0], together[0], atol=1e-5)


def test_the_loss_is_small_for_pairs_and_large_for_strangers():
    """Training would pull strangers together."""
    rows = torch.eye(4)

    assert contrast(rows, rows, 0.05) < 0.01 < contrast(rows, rows.roll(1, 0), 0.05)


def test_steps_lower_the_loss_and_leave_the_frozen_layers(base, tmp_path):
    """The encoder would learn nothing, or forget its words."""
    run = Run(base, rate=3e-3, seed=0)
    pairs = [[1, 2, 3], [31, 32], [4, 5], [33, 34, 35], [6, 7, 8], [36, 37]]
    losses = []
    for _ in range(40):
        vectors = encode(run.weights, pairs)
        loss = contrast(vectors[0::2], vectors[1::2], 0.05)
        losses.append(loss.item())
        run.learn(loss, left=1.0)
    run.save(tmp_path)
    learned, first = load_weights(tmp_path / "model.safetensors"), load_weights(base)

    assert losses[-1] < losses[0] / 2
    changed = {name for name in first if not torch.equal(first[name], learned[name])}
    assert changed == set(trainable(first))


def test_a_stopped_run_goes_on_where_it_stood(base, tmp_path):
    """An interrupted training would start again, or its optimiser would jump."""
    run = Run(base, rate=1e-3, seed=0)
    run.learn(encode(run.weights, [[1, 2], [3, 4]]).square().sum(), left=1.0)
    run.spent = 12.5
    run.save(tmp_path)

    again = Run(base, rate=1e-3, seed=0)
    again.resume(tmp_path)

    assert (again.step, again.spent) == (1, 12.5)
    for name in run.names:
        assert torch.equal(run.masters[name], again.masters[name])
        assert torch.equal(run.weights[name], again.weights[name])


def test_averages_by_share_and_exports_in_half_precision(base, tmp_path):
    """The shipped weights would be one run's, or twice the size."""
    ones, fives = {"a": torch.ones(2, 2)}, {"a": torch.full((2, 2), 5.0)}

    export(average([(ones, 3), (fives, 1)]), tmp_path / "mean.safetensors")

    assert torch.equal(torch.full((2, 2), 2.0), load_weights(tmp_path / "mean.safetensors")["a"])
    assert (tmp_path / "mean.safetensors").stat().st_size < 200
    assert not any("pooler" in name for name in load_weights(base))
