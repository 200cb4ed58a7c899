"""The encoder is trained: its loss falls, the checkpoint has its weights, and a bad one is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from finetune_samples import NoisyEmbedder, application, built_index, no_progress

from codekin.errors import CheckpointError, FinetuneError
from codekin.finetune import history
from codekin.finetune.dataset.functions import select_samples
from codekin.finetune.dataset.triplets import TripletMix
from codekin.finetune.pipeline import FinetuneConfig, FinetuneDependencies, finetune_workspace
from codekin.finetune.trainers.encoder import BaseModel, interpolate_weights, load_trainable_model
from codekin.finetune.trainers.loop import TrainingOptions, train_epochs
from codekin.finetune.trainers.methods import find_base_model, make_validator
from codekin.models import checkpoints, planner
from codekin.models.catalogue import load_catalogue
from codekin.models.embedding.finetuned import checkpoint_of_space, load_active_embedder, load_checkpoint
from codekin.models.embedding.local import load_bundled
from codekin.models.loading import load_embedder
from codekin.parsing import cut_chunks
from codekin.settings import Settings
from models.tiny_checkpoints import embedder as tiny_checkpoint

TRAINING = TrainingOptions(epochs=2, learning_rate=1e-3, batch_size=8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    torch.set_num_threads(1)
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "bert", "bert")


def some_texts():
    words = ["def run do", "int go();", "Map.put(a, b)", "return 1;", "case x do", "while (y)", "raise e", "throw e;"]
    return words, [f"{word} # again" for word in words], words[::-1]


def full_pupil(folder, dtype="float32"):
    """The pupil of a small BERT in a folder."""
    return load_trainable_model(
        BaseModel("full", replace(load_catalogue()["codekin_embed"], hub_id=str(folder)), folder, dtype=dtype)
    )


def trained(folder, dtype="float32", **changes):
    """The epochs of a short training."""
    return list(full_pupil(folder, dtype).train(some_texts(), replace(TRAINING, **changes), no_progress))


def test_the_loss_falls_and_only_upper_layers_move(tiny):
    """Embeddings and the lowest layers keep what they know."""
    epochs = trained(tiny, epochs=8)
    losses = [passed.loss for passed, _, _ in epochs]
    assert losses[-1] < losses[0]
    _, begun, after = epochs[-1]
    moved = {name for name in begun if not torch.equal(begun[name], after[name])}
    assert moved
    assert all("layer.1." in name for name in moved)


def test_between_the_base_and_what_was_trained(tiny):
    """The ends are the ends, and the middle is the mean."""
    ((_, begun, after),) = trained(tiny, epochs=1)
    name = next(name for name in begun if "layer.1." in name)
    assert torch.equal(interpolate_weights(begun, after, 0.0)[name], begun[name])
    assert torch.equal(interpolate_weights(begun, after, 1.0)[name], after[name])
    middle = interpolate_weights(begun, after, 0.5)[name]
    assert torch.allclose(middle, (begun[name] + after[name]) / 2)


@pytest.mark.parametrize(("method", "file"), [("full", "model.safetensors"), ("lora", "adapter_model.safetensors")])
# peft asks transformers by a name of its past.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_a_run_keeps_an_encoder_that_reloads_equal(tiny, tmp_path, folder, monkeypatch, method, file):
    """What was judged is what serves: the checkpoint, read anew, gives the same space and vectors."""
    row = replace(load_catalogue()["codekin_embed"], hub_id=str(tiny), vocabulary=269)
    trainable_model = load_trainable_model(BaseModel(method, row, tiny))
    monkeypatch.setattr("codekin.finetune.pipeline.decide_activation", lambda *_: teaching_decision())
    base = load_bundled(tiny)
    order = FinetuneConfig(TripletMix(60), replace(TRAINING, learning_rate=3e-3), method=method)
    with built_index(tmp_path / "index", base, application(60)) as index:
        run = finetune_workspace(
            index, folder, base, order, no_progress, FinetuneDependencies(lambda _: trainable_model, lambda: base)
        )
    assert run.decision == history.ACTIVATED
    assert {"map", "accuracy", "loss", "checkpoint"} <= run.report["epochs"][1].keys()
    encoder = load_checkpoint(folder, run.checkpoint, base)
    assert encoder.space == checkpoints.read_meta(folder, run.checkpoint)["space"] != base.space
    assert checkpoint_of_space(folder, encoder.space) == run.checkpoint
    again = load_active_embedder(folder, base)
    assert np.array_equal(again.embed(["def run do"]), encoder.embed(["def run do"]))
    assert not np.allclose(again.embed(["def run do"]), base.embed(["def run do"]), atol=1e-3)
    with pytest.raises(CheckpointError, match="another base model"):
        load_checkpoint(folder, run.checkpoint, NoisyEmbedder())
    weights = folder / run.checkpoint / file
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="is damaged"):
        load_active_embedder(folder, base)


def test_a_kind_of_question_that_falls_is_not_made_up_for_by_others():
    """A head that loses on one kind of query is refused, however much it gains on the others."""
    embedder = NoisyEmbedder()
    samples = select_samples(chunk for path, text in application(30).items() for chunk in cut_chunks(path, text)[0])
    halves = {half for sample in samples for half in sample.halves}
    places = {text: at for at, sample in enumerate(samples) for text in (sample.code, sample.renamed, sample.sentence)}

    def better_but_for_halves(texts):
        vectors = embedder.embed(texts)
        for row, text in enumerate(texts):
            vectors[row] = 1.0 if text in halves else np.sin((1 + np.arange(vectors.shape[1])) * (1 + places[text]))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    unwatched, watched = make_validator(samples, []), make_validator(samples, [], embedder.embed)
    assert unwatched(better_but_for_halves) > unwatched(embedder.embed) == watched(embedder.embed)
    assert watched(better_but_for_halves) == 0.0


def test_an_encoder_is_trained_under_its_later_head(tiny):
    """The loss looks at the vectors under it, so other weights come of it."""
    blind = np.zeros((32, 32), np.float32)
    blind[0, 0] = 1.0
    (_, _, plain), (_, _, under) = (
        next(full_pupil(tiny, "float32").train(some_texts(), TRAINING, no_progress, head=head))
        for head in (None, blind)
    )
    assert any(not torch.equal(plain[name], under[name]) for name in plain)


def teaching_decision():
    from codekin.finetune.gate import GateDecision

    return GateDecision(activate=True, reason="for the test")


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_method_whose_weights_are_not_here_is_refused(tmp_path, folder, method):
    """The error names the method that fits; no other method is trained."""
    embedder = NoisyEmbedder()
    refused = pytest.raises(FinetuneError, match="not on this machine: take the method head")
    with built_index(tmp_path / "index", embedder) as index, refused:
        finetune_workspace(
            index, folder, embedder, FinetuneConfig(TripletMix(50), TRAINING, method=method), no_progress
        )
    assert history.list_runs(folder)[0].decision == history.SKIPPED


class Greedy:
    """A student whose batch fits into memory only when it is small."""

    def __init__(self, most: int) -> None:
        self.weight = torch.eye(4).requires_grad_(True)
        self.most, self.sizes = most, []

    @property
    def parameters(self):
        return [self.weight]

    def encode(self, rows):
        if len(rows) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.sizes.append(len(rows))
        sides = torch.randn(3, len(rows), 4) @ self.weight
        return tuple(torch.nn.functional.normalize(sides, dim=2))

    def penalty(self):
        return self.weight.sum() * 0


def test_a_batch_that_does_not_fit_is_halved():
    """Out of memory makes batches smaller; only a single triplet that does not fit ends the run."""
    triplet_encoder = Greedy(most=4)
    assert len(list(train_epochs(triplet_encoder, 32, replace(TRAINING, epochs=1, batch_size=16), 1e-3))) == 1
    assert triplet_encoder.sizes == [4] * 8
    with pytest.raises(MemoryError):
        list(train_epochs(Greedy(most=0), 8, TRAINING, 1e-3))


def test_what_needs_more_memory_than_there_is_is_refused_before_it_begins(monkeypatch):
    """A training that needs more memory than is free is refused before it loads anything."""
    monkeypatch.setattr(planner, "free_memory", lambda _device: 2 << 30)
    bundled = load_embedder("codekin_embed")
    with pytest.raises(FinetuneError, match="take the method head"):
        find_base_model("full", bundled, Settings())
    assert find_base_model("lora", bundled, Settings()).method == "lora"
