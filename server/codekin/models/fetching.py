"""Downloads model files through huggingface_hub, and locates those already on this machine.

Only `pull_model` uses the network. Files are checked against their SHA-256 after a download.
"""

import errno
import io
import os
import re
import shutil
import socket
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import enable_progress_bars, tqdm

from codekin.errors import CheckpointError, ModelError
from codekin.models.catalogue import ModelSpec, model_from_header
from codekin.models.checkpoints import expected_digest, file_digest
from codekin.models.gguf_files import read_gguf_header

WANTED_PATTERNS = (
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
UNWANTED_PATTERNS = ("*.bin", "*.pt", "*.pth", "*.py", "onnx/*", "openvino/*", "consolidated*")

_SPLIT_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")

DownloadProgress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""

CONNECT_SECONDS = 10.0
"""Seconds for the hub to take a connection before anything is downloaded."""


def locate_model(model: ModelSpec, models_dir: Path | None = None) -> Path | None:
    """The folder of a model that is here, or its GGUF file; None where it has to be pulled. Never uses the network."""
    if model.folder and model.file:
        return model.folder / model.file if (model.folder / model.file).is_file() else None
    if model.folder:
        return model.folder if model.folder.is_dir() else None
    if model.file:
        folder = hub_cache_folder(model, models_dir) / "snapshots" / _pinned_revision(model, models_dir)
        chosen = choose_gguf([path.name for path in folder.glob("*.gguf") if path.is_file()], model.file)
        return folder / chosen[0] if chosen else None
    try:
        found = snapshot_download(
            model.hub_id,
            revision=model.revision,
            cache_dir=models_dir,
            allow_patterns=list(WANTED_PATTERNS),
            ignore_patterns=list(UNWANTED_PATTERNS),
            local_files_only=True,
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError):
        return None
    folder = Path(found)
    return folder if (folder / "config.json").exists() and any(folder.glob("*.safetensors")) else None


def describe_model(model: ModelSpec, models_dir: Path | None = None) -> ModelSpec:
    """The row with what the header of its GGUF file says, where that is on this machine."""
    path = locate_model(model, models_dir) if model.file else None
    return model_from_header(read_gguf_header(path), model) if path else model


def choose_gguf(names: Sequence[str], pattern: str) -> list[str]:
    """The files of a repository that a pattern means: one, or all parts of the one that was split."""
    fitting = sorted(name for name in names if fnmatchcase(name.lower(), pattern.lower()))
    whole = [name for name in fitting if not _SPLIT_PART.search(name)]
    if whole or not fitting:
        return whole[:1]
    stem = _SPLIT_PART.sub("", fitting[0])
    return [name for name in fitting if _SPLIT_PART.sub("", name) == stem]


def pull_model(model: ModelSpec, models_dir: Path | None = None, progress: DownloadProgress | None = None) -> Path:
    """Download what is missing of a model, resuming, and verify it; gives its folder.

    Raises ModelError: gated, missing, no network, offline by choice, no room on the disk.
    """
    if model.bundled or model.folder:
        raise ModelError(f"{model.key} is on this machine already; there is nothing to pull.")
    if is_offline():
        raise ModelError("HF_HUB_OFFLINE is set, so nothing is downloaded; unset it to pull a model.")
    _require_disk_space(model, models_dir)
    endpoint = os.environ.get("HF_ENDPOINT", constants.ENDPOINT)
    _require_connection(endpoint)
    try:
        folder = Path(
            snapshot_download(
                model.hub_id,
                revision=_pinned_revision(model, models_dir),
                cache_dir=models_dir,
                allow_patterns=_wanted_files(model, models_dir, endpoint) if model.file else list(WANTED_PATTERNS),
                ignore_patterns=list(UNWANTED_PATTERNS),
                endpoint=endpoint,
                token=os.environ.get("HF_TOKEN") or None,
                tqdm_class=_progress_bars(progress) if progress else None,
            )
        )
    except KeyboardInterrupt as error:
        raise ModelError(
            f"The download of {model.key} was interrupted; pull again to go on where it stopped."
        ) from error
    except ModelError:
        raise
    except Exception as error:
        raise _explain_failure(error, model, endpoint) from error
    verify_download(folder)
    if not model.file and not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{model.hub_id} offers no safetensors weights, and pickles are refused; choose another model."
        )
    return folder


def _require_connection(endpoint: str) -> None:
    """Raise ModelError where nothing listens at the hub: its library would try again for half a minute, line by line.

    Behind a proxy only the library can tell.
    """
    address = urlsplit(endpoint)
    if address.hostname is None or getproxies().get(address.scheme):
        return
    try:
        socket.create_connection((address.hostname, address.port or 443), CONNECT_SECONDS).close()
    except OSError as error:
        reason = error.strerror or "no answer"
        raise ModelError(f"{endpoint} cannot be reached ({reason}); check the network and pull again.") from error


def _wanted_files(model: ModelSpec, models_dir: Path | None, endpoint: str) -> list[str]:
    """The GGUF files to download, as the repository lists them now. Raises ModelError where none fits."""
    api = HfApi(endpoint=endpoint, token=os.environ.get("HF_TOKEN") or None)
    revision = _pinned_revision(model, models_dir)
    names = [name for name in api.list_repo_files(model.hub_id, revision=revision) if name.endswith(".gguf")]
    if chosen := choose_gguf([name for name in names if "/" not in name], model.file):
        return chosen
    offered = ", ".join(names[:20]) or "no GGUF file"
    raise ModelError(f"{model.hub_id} has no {model.file}: it offers {offered}; name one as owner/name/file.gguf.")


def verify_download(folder: Path) -> None:
    """Raise CheckpointError where a file of a hub cache is not what its name, a SHA-256, says."""
    for path in sorted([*folder.rglob("*.safetensors"), *folder.rglob("*.gguf")]):
        blob = path.resolve()
        if expected_digest(blob) and file_digest(blob) != blob.name:
            blob.unlink()
            path.unlink()
            raise CheckpointError(f"{path.name} arrived damaged and was removed; pull the model again.")


def remove_model(model: ModelSpec, models_dir: Path | None = None) -> int:
    """Delete a pulled model from the cache; gives the bytes freed. Raises ModelError where there is none."""
    repository = hub_cache_folder(model, models_dir)
    if model.bundled or model.folder or not repository.is_dir():
        raise ModelError(f"{model.key} was not pulled, so there is nothing to remove.")
    freed = sum(path.stat().st_size for path in repository.rglob("*") if path.is_file() and not path.is_symlink())
    shutil.rmtree(repository)
    return freed


def hub_cache_folder(model: ModelSpec, models_dir: Path | None) -> Path:
    """Where the hub's cache keeps a repository."""
    return Path(models_dir or constants.HF_HUB_CACHE) / f"models--{model.hub_id.replace('/', '--')}"


def is_offline() -> bool:
    """Whether the user has forbidden downloads by HF_HUB_OFFLINE."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _pinned_revision(model: ModelSpec, models_dir: Path | None) -> str:
    """The row's commit, or the one that an earlier pull of a named revision found."""
    reference = hub_cache_folder(model, models_dir) / "refs" / model.revision
    return reference.read_text().strip() if reference.is_file() else model.revision


def _require_disk_space(model: ModelSpec, models_dir: Path | None) -> None:
    folder_on_disk = Path(models_dir or constants.HF_HUB_CACHE)
    existing = next(path for path in (folder_on_disk, *folder_on_disk.parents) if path.exists())
    here = hub_cache_folder(model, models_dir) / "blobs"
    needed = model.download_bytes - sum(path.stat().st_size for path in here.glob("*"))
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise ModelError(
            _disk_full_message(
                model, folder_on_disk, f"{needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free"
            )
        )


def _explain_failure(error: Exception, model: ModelSpec, endpoint: str) -> ModelError:
    """The one sentence for a failed download."""
    status = _http_status(error)
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
        return ModelError(
            _disk_full_message(model, Path(getattr(error, "filename", None) or "the disk"), "the disk is full")
        )
    if status:
        return ModelError(f"{endpoint} answered with status {status} for {model.hub_id}; try again later.")
    return ModelError(f"{endpoint} cannot be reached ({type(error).__name__}); check the network and pull again.")


def _http_status(error: BaseException | None) -> int:
    """The HTTP status behind an error, which may be wrapped; 0 where no server answered."""
    while error is not None:
        if status := getattr(getattr(error, "response", None), "status_code", 0):
            return int(status)
        error = error.__cause__
    return 0


def _disk_full_message(model: ModelSpec, folder_on_disk: Path, why: str) -> str:
    return f"There is no room for {model.key} in {folder_on_disk}: {why}; free some, or set models.dir to another disk."


def _progress_bars(progress: DownloadProgress) -> Any:
    """A stand-in for tqdm that sums the bytes of all files for one callback."""
    enable_progress_bars()  # transformers may have switched them off for its own loading
    totals: dict[int, tuple[int, int]] = {}

    class Quiet(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": False, "file": io.StringIO()})  # type: ignore[no-untyped-call]
            self._report()

        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            self._report()
            return shown

        def _report(self) -> None:
            if getattr(self, "unit", "") == "B":  # a bar that the user's environment switches off has none
                totals[id(self)] = (int(self.n), int(self.total or 0))
                done, whole = (sum(pair[at] for pair in totals.values()) for at in (0, 1))
                progress(done, whole)

    return Quiet
