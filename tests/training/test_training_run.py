"""The training loop, on an encoder of the true shape with few words."""

import pytest
import torch
from safetensors.torch import save_file

from average import average, export
from encoder import encode, load_weights, trainable
from memory import Memory, Side, contrast
from train import ContrastiveTraining


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
    """Padding does not change a text's vector."""
    weights = load_weights(base)

    alone = encode(weights, [[1, 2, 3]])
    together = encode(weights, [[1, 2, 3], [4, 5, 6, 7, 8]])

    assert torch.allclose(alone[0], together[0], atol=1e-5)


def loss_of(left, right, memory=None, guessed=False, keys="abcd"):
    """The loss of pairs of an Elixir and a C++ text, and how many counted."""
    sides = Side(left, "elixir", tuple(keys)), Side(right, "cpp", tuple(keys))
    return contrast(*sides, memory or Memory(0), 0.05, guessed=guessed)


def test_the_loss_is_small_for_pairs_and_large_for_negatives():
    """The loss is small for pairs and large for negatives."""
    rows = torch.eye(4)

    assert loss_of(rows, rows)[0] < 0.01 < loss_of(rows, rows.roll(1, 0))[0]


def test_texts_of_earlier_steps_are_negatives_of_their_side():
    """A text is compared with negatives of earlier batches as well."""
    rows, near = torch.eye(4), torch.nn.functional.normalize(torch.eye(4) + 0.6 * torch.eye(4).roll(1, 0), dim=1)
    memory = Memory(8)
    memory.keep(Side(near, "cpp", tuple("efgh")))

    assert loss_of(rows, near, memory, keys="ijkl")[0] > loss_of(rows, near)[0] or memory.vectors["cpp"].shape == (4, 4)
    assert torch.equal(memory.vectors["cpp"], near)
    memory.keep(Side(rows, "cpp", tuple("mnop")))
    memory.keep(Side(rows, "cpp", tuple("qrst")))
    assert memory.keys["cpp"] == list("mnopqrst")


def test_neither_copies_of_the_partner_nor_its_key_are_negatives():
    """Negatives include neither a copy of the positive nor its key."""
    rows = torch.eye(4)
    copies, named = Memory(8), Memory(8)
    copies.keep(Side(rows, "cpp", tuple("efgh")))
    named.keep(Side(torch.nn.functional.normalize(rows + 0.7 * rows.roll(1, 0), dim=1), "cpp", tuple("abcd")))

    assert loss_of(rows, rows, copies)[0] < 1e-3
    assert loss_of(rows, rows, named)[0] < 1e-3 < loss_of(rows, rows, named, keys="ijkl")[0]


def test_guessed_pairs_that_the_encoder_does_not_see_at_all_are_left_out(monkeypatch):
    """Names that agree by chance are no positives."""
    monkeypatch.setattr("memory.NEAREST", 0.1)
    rows = torch.eye(8)
    strangers = torch.cat([rows[:6], rows[7:], rows[6:7]])

    assert loss_of(rows, strangers, keys="abcdefgh")[1] == 8
    assert loss_of(rows, strangers, keys="abcdefgh", guessed=True)[1] == 6


def test_steps_lower_the_loss_and_leave_the_frozen_layers(base, tmp_path):
    """Training lowers the loss and leaves the frozen layers as they are."""
    run = ContrastiveTraining(base, rate=3e-3, seed=0)
    pairs = [[1, 2, 3], [31, 32], [4, 5], [33, 34, 35], [6, 7, 8], [36, 37]]
    losses = []
    for _ in range(40):
        vectors = encode(run.weights, pairs)
        vectors = torch.nn.functional.normalize(vectors, dim=1)
        loss, _ = loss_of(vectors[0::2], vectors[1::2], keys="abc")
        losses.append(loss.item())
        run.step_with_loss(loss, left=1.0)
    run.save(tmp_path)
    learned, first = load_weights(tmp_path / "model.safetensors"), load_weights(base)

    assert losses[-1] < losses[0] / 2
    changed = {name for name in first if not torch.equal(first[name], learned[name])}
    assert changed == set(trainable(first))


def test_a_stopped_run_goes_on_where_it_stood(base, tmp_path):
    """An interrupted run resumes with its step and optimiser state."""
    run = ContrastiveTraining(base, rate=1e-3, seed=0)
    run.step_with_loss(encode(run.weights, [[1, 2], [3, 4]]).square().sum(), left=1.0)
    run.spent = 12.5
    run.save(tmp_path)

    again = ContrastiveTraining(base, rate=1e-3, seed=0)
    again.resume(tmp_path)

    assert (again.step, again.spent) == (1, 12.5)
    for name in run.names:
        assert torch.equal(run.masters[name], again.masters[name])
        assert torch.equal(run.weights[name], again.weights[name])


def test_averages_by_share_and_exports_in_half_precision(base, tmp_path):
    """Weights are averaged by share and exported in half precision."""
    ones, fives = {"a": torch.ones(2, 2)}, {"a": torch.full((2, 2), 5.0)}

    export(average([(ones, 3), (fives, 1)]), tmp_path / "mean.safetensors")

    assert torch.equal(torch.full((2, 2), 2.0), load_weights(tmp_path / "mean.safetensors")["a"])
    assert (tmp_path / "mean.safetensors").stat().st_size < 200
    assert not any("pooler" in name for name in load_weights(base))
