"""The encoder itself learns: its loss falls, what is kept is what was trained, and a bad one is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from learning_samples import NoisyEmbedder, application, built_index, no_progress

from codekin.errors import CheckpointError, LearningError
from codekin.learning import history
from codekin.learning.loop import Training, fit
from codekin.learning.pieces import pieces_of
from codekin.learning.run import AtHand, Order, learn
from codekin.learning.subject import subject_of
from codekin.learning.teaching import judge_of
from codekin.learning.train_encoder import Subject, between, pupil_of
from codekin.learning.triplets import Mix
from codekin.models import checkpoints, load_embedder, planner
from codekin.models.catalogue import catalogue
from codekin.models.embedders import load_bundled
from codekin.models.learned import active_embedder, name_of_space, read_learned
from codekin.settings import Settings
from codekin.syntax import fragments
from models.tiny_checkpoints import embedder as tiny_checkpoint

TRAINING = Training(epochs=2, learning_rate=1e-3, batch_size=8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    torch.set_num_threads(1)
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "bert", "bert")


def some_texts():
    words = ["def run do", "int go();", "Map.put(a, b)", "return 1;", "case x do", "while (y)", "raise e", "throw e;"]
    return words, [f"{word} # again" for word in words], words[::-1]


def full_pupil(folder, dtype="float32"):
    """The pupil of a small BERT in a folder."""
    return pupil_of(Subject("full", replace(catalogue()["codekin_embed"], hub_id=str(folder)), folder, dtype=dtype))


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
    assert torch.equal(between(begun, after, 0.0)[name], begun[name])
    assert torch.equal(between(begun, after, 1.0)[name], after[name])
    middle = between(begun, after, 0.5)[name]
    assert torch.allclose(middle, (begun[name] + after[name]) / 2)


@pytest.mark.parametrize(("method", "file"), [("full", "model.safetensors"), ("lora", "adapter_model.safetensors")])
# peft asks transformers by a name of its past.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_a_run_keeps_an_encoder_that_reloads_equal(tiny, tmp_path, folder, monkeypatch, method, file):
    """What was judged is what serves: the checkpoint, read anew, gives the same space and vectors."""
    row = replace(catalogue()["codekin_embed"], hub_id=str(tiny), vocabulary=269)
    pupil = pupil_of(Subject(method, row, tiny))
    monkeypatch.setattr("codekin.learning.run.decide", lambda *_: teaching_decision())
    base = load_bundled(tiny)
    order = Order(Mix(60), replace(TRAINING, learning_rate=3e-3), method=method)
    with built_index(tmp_path / "index", base, application(60)) as index:
        run = learn(index, folder, base, order, no_progress, AtHand(lambda _: pupil, lambda: base))
    assert run.decision == history.ACTIVATED
    assert {"map", "accuracy", "loss", "checkpoint"} <= run.report["epochs"][1].keys()
    encoder = read_learned(folder, run.checkpoint, base)
    assert encoder.space == checkpoints.read_meta(folder, run.checkpoint)["space"] != base.space
    assert name_of_space(folder, encoder.space) == run.checkpoint
    again = active_embedder(folder, base)
    assert np.array_equal(again.embed(["def run do"]), encoder.embed(["def run do"]))
    assert not np.allclose(again.embed(["def run do"]), base.embed(["def run do"]), atol=1e-3)
    with pytest.raises(CheckpointError, match="another base model"):
        read_learned(folder, run.checkpoint, NoisyEmbedder())
    weights = folder / run.checkpoint / file
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="is damaged"):
        active_embedder(folder, base)


def test_a_kind_of_question_that_falls_is_not_made_up_for_by_others():
    """A place between the weights at which halves are found no more is refused, whatever renamed functions gain."""
    embedder = NoisyEmbedder()
    pieces = pieces_of(fragment for path, text in application(30).items() for fragment in fragments(path, text)[0])
    halves = {half for piece in pieces for half in piece.halves}
    places = {text: at for at, piece in enumerate(pieces) for text in (piece.code, piece.renamed, piece.sentence)}

    def better_but_for_halves(texts):
        vectors = embedder.embed(texts)
        for row, text in enumerate(texts):
            vectors[row] = 1.0 if text in halves else np.sin((1 + np.arange(vectors.shape[1])) * (1 + places[text]))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    unwatched, watched = judge_of(pieces, []), judge_of(pieces, [], embedder.embed)
    assert unwatched(better_but_for_halves) > unwatched(embedder.embed) == watched(embedder.embed)
    assert watched(better_but_for_halves) == 0.0


def test_an_encoder_learns_under_the_head_that_will_lie_on_it(tiny):
    """The loss looks at the vectors under it, so other weights come of it."""
    blind = np.zeros((32, 32), np.float32)
    blind[0, 0] = 1.0
    (_, _, plain), (_, _, under) = (
        next(full_pupil(tiny, "float32").train(some_texts(), TRAINING, no_progress, head=head))
        for head in (None, blind)
    )
    assert any(not torch.equal(plain[name], under[name]) for name in plain)


def teaching_decision():
    from codekin.learning.gate import Decision

    return Decision(activate=True, reason="for the test")


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_method_whose_weights_are_not_here_is_refused(tmp_path, folder, method):
    """The sentence says which method fits; nothing is trained in its place."""
    embedder = NoisyEmbedder()
    refused = pytest.raises(LearningError, match="not on this machine: take the method head")
    with built_index(tmp_path / "index", embedder) as index, refused:
        learn(index, folder, embedder, Order(Mix(50), TRAINING, method=method), no_progress)
    assert history.runs(folder)[0].decision == history.SKIPPED


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
    """Out of memory costs speed, not the night; only a single triplet that does not fit ends it."""
    student = Greedy(most=4)
    assert len(list(fit(student, 32, replace(TRAINING, epochs=1, batch_size=16), 1e-3))) == 1
    assert student.sizes == [4] * 8
    with pytest.raises(MemoryError):
        list(fit(Greedy(most=0), 8, TRAINING, 1e-3))


def test_what_needs_more_memory_than_there_is_is_refused_before_it_begins(monkeypatch):
    """The machine would swap for an hour, and then the training would be killed."""
    monkeypatch.setattr(planner, "free_memory", lambda _device: 2 << 30)
    bundled = load_embedder("codekin_embed")
    with pytest.raises(LearningError, match="take the method head"):
        subject_of("full", bundled, Settings())
    assert subject_of("lora", bundled, Settings()).method == "lora"
