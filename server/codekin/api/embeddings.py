"""`Embeddings`: vectors of code and text by a local model, their similarity, and a fine-tuned model in its place.

Works in the calling process, without a daemon. Every failure is a CodekinError of one sentence.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codekin.api.models import CHECKPOINT_NAME, loading_options, model_rows
from codekin.api.triplets import TripletLike
from codekin.errors import UsageError
from codekin.models.embedding.finetuned import load_checkpoint
from codekin.models.loading import load_embedder
from codekin.models.planner import require_torch
from codekin.protocols import Embedder, TextKind, Vectors

if TYPE_CHECKING:
    from codekin.api.training import TrainingReport

DEFAULT_MODEL = "codekin_embed"


class Embeddings:
    """An embedding model: a key of `list_models()` or an absolute folder, on a device (auto, cuda, mps, cpu)."""

    def __init__(self, model: str = DEFAULT_MODEL, device: str = "auto", *, data_dir: Path | str | None = None) -> None:
        """Loads the model. Raises ModelError where it is unknown, not pulled, too large, or the device is not there."""
        self._options = loading_options(device, data_dir)
        self.embedder: Embedder = load_embedder(model, self._options)
        self._base: Embedder = self.embedder

    @property
    def model(self) -> str:
        """The name of the model that embeds now."""
        return self.embedder.name

    @property
    def space(self) -> str:
        """The fingerprint of its space: vectors of two spaces are never compared."""
        return self.embedder.space

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""
        return self.embedder.dimensions

    def embed(self, text: str, kind: TextKind = "passage") -> Vectors:
        """The unit vector (dimensions,) of a text; `kind` is "query" for a question in words. Raises UsageError."""
        vector: Vectors = self.embed_batch([text], kind)[0]
        return vector

    def embed_batch(self, texts: Iterable[str], kind: TextKind = "passage") -> Vectors:
        """Unit vectors (n, dimensions), float32, in the order of the texts. Raises UsageError."""
        if isinstance(texts, str):
            raise UsageError("Give a list of texts; `embed` takes a single one.")
        given = list(texts)
        if not all(isinstance(text, str) for text in given):
            raise UsageError("Every item to embed must be a text.")
        if not given:
            return np.empty((0, self.dimensions), np.float32)
        return self.embedder.embed(given, kind)

    def similarity(self, first: str, second: str) -> float:
        """The cosine of two texts: 1 means the same, 0 nothing in common."""
        one, other = self.embed_batch([first, second])
        return float(one @ other)

    def list_models(self) -> list[dict[str, Any]]:
        """Every embedder of the catalogue: key, role, here (whether it is on this machine), licence, summary."""
        return model_rows("embedder", self._options)

    def finetune(self, triplets: Sequence[TripletLike], **options: Any) -> "TrainingReport":
        """Trains on triplets with the options of `Trainer.train`, and embeds with the result from now on."""
        require_torch("Training")
        from codekin.api.training import Trainer  # noqa: PLC0415 - torch, which embedding does without

        report: TrainingReport = Trainer(embedder=self._base, device=self._options.device).train(triplets, **options)
        self.embedder = report.embedder
        return report

    def reload_model(self, model: str = "", checkpoint: Path | str | None = None) -> str:
        """Loads another model, or the same as it came; `checkpoint` is a folder of `TrainingReport.save`.

        Returns the name. Raises ModelError, and CheckpointError where the checkpoint is of another base or damaged; the
        model that embeds stays then.
        """
        base: Embedder = load_embedder(model, self._options) if model else self._base
        if checkpoint is None:
            self._base = self.embedder = base
        else:
            self.embedder = load_checkpoint(Path(checkpoint), CHECKPOINT_NAME, base)
            self._base = base
        return self.embedder.name
