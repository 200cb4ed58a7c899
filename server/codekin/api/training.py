"""`Trainer`: fine-tunes an embedding model on triplets, outside of any workspace.

A fifth of the triplets is held out and measures each epoch; what orders them best is kept, the model as it came
included. `codekin finetune` does more: it evaluates on held-out files and activates only what is better.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from codekin.api.models import CHECKPOINT_NAME, loading_options
from codekin.api.triplets import TripletLike, texts_of
from codekin.errors import FinetuneError, UsageError
from codekin.finetune.dataset.training_set import TripletVectors, centre_by_language
from codekin.finetune.dataset.triplet_file import TripletText, embed_triplets
from codekin.finetune.trainers.encoder import FULL, LORA
from codekin.finetune.trainers.head import head_accuracy, initial_head, train_head
from codekin.finetune.trainers.loop import TrainingOptions
from codekin.finetune.trainers.methods import HEAD_PENALTY, open_trainable_model
from codekin.models import checkpoints
from codekin.models.embedding.finetuned import EmbeddingHead, HeadedEmbedder, head_space
from codekin.models.loading import load_embedder
from codekin.protocols import Embedder, Vectors
from codekin.settings import Settings

METHODS = ("head", LORA, FULL)
HELD_OUT_EVERY = 5
"""Each so many-th triplet measures and does not train."""

MIN_TRIPLETS = 10

EpochCallback = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a training gave: figures of each epoch (0: before), triplet accuracy before and after, and the model."""

    epochs: list[dict[str, Any]]
    accuracy_before: float
    accuracy_after: float
    embedder: Embedder
    files: Mapping[str, bytes] = field(repr=False)
    meta: Mapping[str, Any] = field(repr=False)

    def save(self, folder: Path | str) -> Path:
        """Writes the checkpoint with its hashes, for `Embeddings.reload_model(checkpoint=…)`. Raises FinetuneError."""
        if not self.files:
            raise FinetuneError("Training made the model no better: there is nothing to save.")
        checkpoints.write_checkpoint(Path(folder), CHECKPOINT_NAME, self.files, self.meta)
        return Path(folder)


class Trainer:
    """Trains `model` (a key or an absolute folder, loaded on `device`), or an embedder that is loaded already."""

    def __init__(self, model: str = "codekin_embed", device: str = "auto", *, embedder: Embedder | None = None) -> None:
        """Raises ModelError where the model cannot be loaded, or the device is not there."""
        self._device = device
        self.base = embedder or load_embedder(model, loading_options(device, None))

    def train(  # noqa: PLR0913 - what the user can choose
        self,
        triplets: Sequence[TripletLike],
        *,
        epochs: int = 3,
        learning_rate: float = 1e-5,
        batch_size: int = 16,
        method: str = "head",
        on_epoch: EpochCallback = lambda _: None,
    ) -> TrainingReport:
        """Trains by a method (head, lora, full); `on_epoch` takes the figures of each epoch.

        Raises UsageError for a wrong value or too few triplets, FinetuneError where the method does not suit the model.
        """
        options = _read_options(method, epochs, learning_rate, batch_size)
        texts = texts_of(triplets)
        if len(texts) < MIN_TRIPLETS:
            raise UsageError(f"{len(texts)} triplets are too few to train and measure: give at least {MIN_TRIPLETS}.")
        held_out = texts[::HELD_OUT_EVERY]
        train = [triplet for at, triplet in enumerate(texts) if at % HELD_OUT_EVERY]
        steps = self._head_steps(train, options) if method == "head" else self._encoder_steps(method, train, options)
        return self._best_of(method, held_out, steps, on_epoch)

    def _best_of(
        self, method: str, held_out: list[TripletText], steps: "Iterator[_Step]", on_epoch: EpochCallback
    ) -> TrainingReport:
        """Measures each epoch on the held-out triplets, and keeps what orders most of them right."""
        before = best = _accuracy(self.base, held_out)
        epochs: list[dict[str, Any]] = [{"epoch": 0, "accuracy": before}]
        on_epoch(epochs[0])
        embedder, files = self.base, dict[str, bytes]()
        for figures, trained, content in steps:
            found = _accuracy(trained, held_out)
            epochs.append({**figures, "accuracy": found})
            on_epoch(epochs[-1])
            if found > best:
                best, embedder, files = found, trained, dict(content)
        meta = {"method": method, "model": self.base.name, "base_space": self.base.space, "space": embedder.space}
        return TrainingReport(epochs, before, best, embedder, files, meta)

    def _head_steps(self, train: list[TripletText], options: TrainingOptions) -> "Iterator[_Step]":
        given = embed_triplets(train, self.base.embed)
        near = centre_by_language(given.vectors, given.samples)
        rows = np.asarray([row[1:] for row in given.rows], np.int64)
        sides: TripletVectors = (near[rows[:, 0]], near[rows[:, 1]], near[rows[:, 2]])
        nothing = np.empty((0, self.base.dimensions), np.float32)
        start = initial_head((near, [one.code for one in given.samples]), (nothing, []), nothing.sum(axis=0))
        for epoch, matrix in train_head(sides, start, replace(options, pull=HEAD_PENALTY)):
            space = head_space(self.base.space, matrix)
            headed = HeadedEmbedder(self.base, EmbeddingHead(CHECKPOINT_NAME, matrix, space, self.base.space))
            yield _figures(epoch), headed, checkpoints.head_files(matrix)

    def _encoder_steps(self, method: str, train: list[TripletText], options: TrainingOptions) -> "Iterator[_Step]":
        settings = Settings().on_device("" if self._device == "auto" else self._device)
        trainable = open_trainable_model(method, self.base, settings)
        columns = tuple([triplet.texts[side] for triplet in train] for side in range(3))
        for epoch, _, weights in trainable.train((columns[0], columns[1], columns[2]), options, lambda *_: None):
            yield _figures(epoch), trainable.local(weights), trainable.files(weights)


_Step = tuple[dict[str, Any], Embedder, Mapping[str, bytes]]


def _figures(epoch: Any) -> dict[str, Any]:
    return {"epoch": epoch.number, "loss": epoch.loss, "seconds": epoch.seconds}


def _accuracy(embedder: Embedder, triplets: list[TripletText]) -> float:
    """The share of triplets whose positive is nearer to the anchor than the negative."""
    given = embed_triplets(triplets, partial(embedder.embed, kind="passage"))
    rows = np.asarray([row[1:] for row in given.rows], np.int64)
    vectors: Vectors = centre_by_language(given.vectors, given.samples)
    return head_accuracy(None, (vectors[rows[:, 0]], vectors[rows[:, 1]], vectors[rows[:, 2]]))


def _read_options(method: str, epochs: int, learning_rate: float, batch_size: int) -> TrainingOptions:
    if method not in METHODS:
        raise UsageError(f"`method` must be one of {', '.join(METHODS)}.")
    if not 1 <= epochs <= 100:
        raise UsageError("`epochs` must be a whole number between 1 and 100.")
    if not 0 < learning_rate <= 1:
        raise UsageError("`learning_rate` must lie above 0 and at most at 1.")
    if not 1 <= batch_size <= 4096:
        raise UsageError("`batch_size` must be a whole number between 1 and 4096.")
    return TrainingOptions(epochs=epochs, learning_rate=learning_rate, batch_size=batch_size)
