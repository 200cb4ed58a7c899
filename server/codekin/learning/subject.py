"""Finds the weights of the model that serves, for a method that trains them, and what serves in a workspace now.

Knows the catalogue and the settings; nothing of training.
"""

from pathlib import Path

from codekin.errors import CodekinError, LearningError
from codekin.learning.train_encoder import FULL, LONGEST, Pupil, Subject, pupil_of
from codekin.models import checkpoints, planner
from codekin.models.catalogue import Model, find_model
from codekin.models.embedders import BUNDLED
from codekin.models.fetching import locate
from codekin.models.learned import is_encoder, read_learned
from codekin.models.remote import RemoteEmbedder
from codekin.seams import Embedder
from codekin.settings import ModelSettings, Settings

TRAINED_TEXTS = 144
"""Different texts of one batch at most: three of each of sixteen triplets, two of each of three pairs beside it."""


def require_model(wanted: str, serving: str) -> None:
    """`learning.model` names the one model that may be tuned; "auto" is whichever serves. Raises LearningError."""
    if wanted not in ("auto", serving):
        raise LearningError(
            f"learning.model is {wanted}, but {serving} serves: nothing was learned. Set models.embedder to {wanted},"
            " or learning.model to auto."
        )


def open_pupil(method: str, embedder: Embedder, settings: Settings) -> Pupil:
    """Opens what a method trains. Raises LearningError where that cannot be, with the method that can."""
    subject = subject_of(method, embedder, settings)
    pupil = pupil_of(subject)
    if pupil.space != embedder.space:
        raise LearningError(
            f"The weights in {subject.base} give other vectors than {embedder.name} does: take the method head."
        )
    return pupil


def subject_of(method: str, embedder: Embedder, settings: Settings) -> Subject:
    """What to train. Raises LearningError where the model's weights are not here, too large, or not for this method."""
    model, folder = _model_of(embedder, settings.models)
    small = model.architecture == "bert" and (model.bundled or model.folder is not None)
    if method == FULL and not small:
        raise LearningError(f"{model.key} is too large to learn with all its weights: take the method lora or head.")
    device = planner.device_for(settings.models.device)
    dtype = settings.models.dtype if settings.models.dtype in ("float32", "bfloat16", "float16") else "auto"
    _require_memory(method, model, device)
    return Subject(method, model, folder, device, dtype)


def served_here(folder: Path, embedder: Embedder, socket: str, root: Path) -> Embedder:
    """What serves in the workspace now: a trained encoder through the daemon, which holds it. Raises ModelError."""
    name = checkpoints.pointed(folder)
    if name == checkpoints.BASE:
        return embedder
    return RemoteEmbedder(socket, root=str(root)) if is_encoder(folder, name) else read_learned(folder, name, embedder)


def _model_of(embedder: Embedder, settings: ModelSettings) -> tuple[Model, Path]:
    """The catalogue's row of the model that serves, and the folder of its weights."""
    for name in dict.fromkeys((embedder.name, settings.embedder)):
        try:
            model = find_model(name, settings.catalogue)
            folder = BUNDLED if model.bundled else locate(model, settings.dir)
        except CodekinError:
            continue
        if folder is not None:
            return model, folder
    raise LearningError(f"The weights of {embedder.name} are not on this machine: take the method head.")


def _kept_for_gradients(model: Model) -> int:
    """The bytes that a batch leaves behind in all layers until its gradients are there, in 16 bits."""
    return TRAINED_TEXTS * LONGEST * model.layers * (12 * model.hidden + 4 * model.inner) * 2


def _require_memory(method: str, model: Model, device: str) -> None:
    """Refuses at once what would end without memory in an hour."""
    needed = planner.need(model, "bfloat16", LONGEST * TRAINED_TEXTS).total
    needed += _kept_for_gradients(model) if method == FULL else 0
    free = planner.free_memory(device)
    if needed > free:
        raise LearningError(
            f"Training {model.key} takes {planner.gigabytes(needed)} and {planner.gigabytes(free)} are free:"
            " close other programs or take the method head."
        )
