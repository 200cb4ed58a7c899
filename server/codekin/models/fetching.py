"""Brings a model's files here through huggingface_hub, and finds those that are here.

Only an explicit pull touches the network. Whatever goes wrong is one sentence that says what
to do. Files of a cache are named by their SHA-256, which is checked after a pull. Knows
nothing of what the files mean.
"""

import errno
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from codekin.errors import CheckpointError, ModelError
from codekin.models.catalogue import Model
from codekin.models.digests import file_digest, told_digest

WANTED = (
    "*.safetensors",
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "*/adapter_config.json",
    "*/adapter_model.safetensors",
)
UNWANTED = ("*.bin", "*.pt", "*.pth", "*.py", "onnx/*", "openvino/*", "consolidated*")

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


def locate(model: Model, models_dir: Path | None = None) -> Path | None:
    """The folder of a model that is here, None where it has to be pulled; never asks the network."""
    if model.folder:
        return model.folder if model.folder.is_dir() else None
    try:
        found = snapshot_download(
            model.hub_id,
            revision=model.revision,
            cache_dir=models_dir,
            allow_patterns=list(WANTED),
            ignore_patterns=list(UNWANTED),
            local_files_only=True,
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError):
        return None
    folder = Path(found)
    return folder if (folder / "config.json").exists() and any(folder.glob("*.safetensors")) else None


def pull(model: Model, models_dir: Path | None = None, progress: Progress | None = None) -> Path:
    """Download what is missing of a model, resuming, and verify it; gives its folder.

    Raises ModelError: gated, missing, no network, offline by choice, no room on the disk.
    """
    if model.bundled or model.folder:
        raise ModelError(f"{model.key} is on this machine already; there is nothing to pull.")
    if offline_by_choice():
        raise ModelError("HF_HUB_OFFLINE is set, so nothing is downloaded; unset it to pull a model.")
    _require_room(model, models_dir)
    endpoint = os.environ.get("HF_ENDPOINT", constants.ENDPOINT)
    try:
        folder = Path(
            snapshot_download(
                model.hub_id,
                revision=_pinned(model, models_dir),
                cache_dir=models_dir,
                allow_patterns=list(WANTED),
                ignore_patterns=list(UNWANTED),
                endpoint=endpoint,
                token=os.environ.get("HF_TOKEN") or None,
                tqdm_class=_bars(progress) if progress else None,
            )
        )
    except KeyboardInterrupt as error:
        raise ModelError(
            f"The download of {model.key} was interrupted; pull again to go on where it stopped."
        ) from error
    except Exception as error:
        raise _explained(error, model, endpoint) from error
    verify(folder)
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{model.hub_id} offers no safetensors weights, and pickles are refused; choose another model."
        )
    return folder


def verify(folder: Path) -> None:
    """Raise CheckpointError where a file of a hub cache is not what its name, a SHA-256, says."""
    for path in sorted(folder.rglob("*.safetensors")):
        blob = path.resolve()
        if told_digest(blob) and file_digest(blob) != blob.name:
            blob.unlink()
            path.unlink()
            raise CheckpointError(f"{path.name} arrived damaged and was removed; pull the model again.")


def remove(model: Model, models_dir: Path | None = None) -> int:
    """Delete a pulled model from the cache; gives the bytes freed. Raises ModelError where there is none."""
    repository = cache_folder(model, models_dir)
    if model.bundled or model.folder or not repository.is_dir():
        raise ModelError(f"{model.key} was not pulled, so there is nothing to remove.")
    freed = sum(path.stat().st_size for path in repository.rglob("*") if path.is_file() and not path.is_symlink())
    shutil.rmtree(repository)
    return freed


def cache_folder(model: Model, models_dir: Path | None) -> Path:
    """Where the hub's cache keeps a repository."""
    return Path(models_dir or constants.HF_HUB_CACHE) / f"models--{model.hub_id.replace('/', '--')}"


def offline_by_choice() -> bool:
    """Whether the user has forbidden downloads by HF_HUB_OFFLINE."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _pinned(model: Model, models_dir: Path | None) -> str:
    """The row's commit, or the one that an earlier pull of a named revision found."""
    reference = cache_folder(model, models_dir) / "refs" / model.revision
    return reference.read_text().strip() if reference.is_file() else model.revision


def _require_room(model: Model, models_dir: Path | None) -> None:
    place = Path(models_dir or constants.HF_HUB_CACHE)
    existing = next(path for path in (place, *place.parents) if path.exists())
    here = cache_folder(model, models_dir) / "blobs"
    needed = model.download_bytes - sum(path.stat().st_size for path in here.glob("*"))
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise ModelError(_no_room(model, place, f"{needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free"))


def _explained(error: Exception, model: Model, endpoint: str) -> ModelError:
    """The one sentence for a failed download."""
    status = _status(error)
    if isinstance(error, GatedRepoError) or status in (401, 403):
        return ModelError(
            f"{model.hub_id} is gated: accept its licence at {endpoint}/{model.hub_id}, "
            "then pull again with your token in HF_TOKEN."
        )
    if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError) or status == 404:
        return ModelError(f"{endpoint} has no {model.hub_id} at revision {model.revision}; check the row's hub_id.")
    if isinstance(error, OfflineModeIsEnabled):
        return ModelError("HF_HUB_OFFLINE is set, so nothing is downloaded; unset it to pull a model.")
    if getattr(error, "errno", None) == errno.ENOSPC:
        return ModelError(_no_room(model, Path(getattr(error, "filename", None) or "the disk"), "the disk is full"))
    if status:
        return ModelError(f"{endpoint} answered with status {status} for {model.hub_id}; try again later.")
    return ModelError(f"{endpoint} cannot be reached ({type(error).__name__}); check the network and pull again.")


def _status(error: BaseException | None) -> int:
    """The HTTP status behind an error, which may be wrapped; 0 where no server answered."""
    while error is not None:
        if status := getattr(getattr(error, "response", None), "status_code", 0):
            return int(status)
        error = error.__cause__
    return 0


def _no_room(model: Model, place: Path, why: str) -> str:
    return f"There is no room for {model.key} in {place}: {why}; free some, or set models.dir to another disk."


def _bars(progress: Progress) -> Any:
    """A stand-in for tqdm that sums the bytes of all files for one callback."""
    from huggingface_hub.utils.tqdm import enable_progress_bars, tqdm  # noqa: PLC0415 - needed here alone

    enable_progress_bars()  # transformers may have switched them off for its own loading
    totals: dict[int, tuple[int, int]] = {}

    class Quiet(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": False, "file": io.StringIO()})  # type: ignore[no-untyped-call]
            self._tell()

        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            self._tell()
            return shown

        def _tell(self) -> None:
            if getattr(self, "unit", "") == "B":  # a bar that the user's environment switches off has none
                totals[id(self)] = (int(self.n), int(self.total or 0))
                done, whole = (sum(pair[at] for pair in totals.values()) for at in (0, 1))
                progress(done, whole)

    return Quiet
