"""Reads the headers of GGUF files, and finds the files that Ollama and LM Studio keep on this machine.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A header is read within bounds and its values are
checked by whoever uses them; the weights are left to the engine.
"""

import json
import mmap
import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

from codekin.errors import CheckpointError, ModelError
from codekin.util.files import open_regular, read_bounded

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_HEADER_BYTES = 128 << 20
"""Vocabularies of 256,000 tokens take 15 MB."""

MAX_KEYS, MAX_TENSORS, MAX_ITEMS = 4096, 20_000, 4_000_000
MAX_DIMENSIONS = 8
MAX_FOUND = 500
"""Files of another program that are listed at most."""

MAX_MANIFEST_BYTES = 1 << 20
OLLAMA_PREFIX, LM_STUDIO_PREFIX = "ollama/", "lmstudio/"

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_QUANTISATIONS = (
    *("F32", "F16", "Q4_0", "Q4_1", "", "", "", "Q8_0", "Q5_0", "Q5_1", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L"),
    *("Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"),
)
"""Names of `general.file_type`, from llama.cpp's `llama_ftype`."""


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """What a file says of itself: `values` by key, and its size and number of weights.

    Arrays are None unless requested; the vocabulary is in arrays.
    """

    path: Path
    values: Mapping[str, Any]
    size: int
    parameters: int

    @property
    def architecture(self) -> str:
        """The family as llama.cpp names it, for instance llama, qwen2 or starcoder."""
        return str(self.values.get("general.architecture", ""))

    @property
    def quantisation(self) -> str:
        """For instance Q4_K_M; GGUF where the file does not say."""
        number = self.values.get("general.file_type")
        if not isinstance(number, int) or not 0 <= number < len(_QUANTISATIONS):
            return "GGUF"
        return _QUANTISATIONS[number] or "GGUF"

    def number(self, key: str, default: int = 0) -> int:
        """A whole number of the architecture's keys; a list's largest, as where layers differ."""
        value = self.values.get(f"{self.architecture}.{key}", default)
        if isinstance(value, list):
            value = max((item for item in value if isinstance(item, int)), default=default)
        return value if isinstance(value, int) and 0 <= value < 1 << 40 else default


def read_gguf_header(path: Path, *, with_arrays: bool = False) -> GGUFHeader:
    """The header of a regular file. Raises CheckpointError where it is none or is damaged."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = min(size, MAX_HEADER_BYTES)
            with mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ) as data:
                return _read_header(path, _HeaderReader(data, length, with_arrays), size)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or 'no regular file'}).") from error
    except (ValueError, struct.error, OverflowError) as error:
        raise CheckpointError(f"{path} is no GGUF file or is damaged ({error}); fetch it again.") from error


def _read_header(path: Path, reader: "_HeaderReader", size: int) -> GGUFHeader:
    if reader.take(4) != MAGIC:
        raise ValueError("it does not begin with GGUF")
    if (version := reader.scalar("I")) not in VERSIONS:
        raise ValueError(f"version {version} is not supported")
    tensors, keys = reader.count(MAX_TENSORS), reader.count(MAX_KEYS)
    values = {reader.text(): reader.value() for _ in range(keys)}
    return GGUFHeader(path, values, size, sum(reader.tensor_elements() for _ in range(tensors)))


class _HeaderReader:
    """Reads values one after the other; raises ValueError behind the end."""

    def __init__(self, data: mmap.mmap, length: int, with_arrays: bool) -> None:
        self._data, self._length, self._with_arrays = data, length, with_arrays
        self._at = 0

    def take(self, size: int) -> bytes:
        start = self._advance(size)
        return self._data[start : start + size]

    def scalar(self, kind: str) -> Any:
        start = self._advance(struct.calcsize(f"<{kind}"))
        return struct.unpack_from(f"<{kind}", self._data, start)[0]

    def count(self, limit: int) -> int:
        number = int(self.scalar("Q"))
        if number > limit:
            raise ValueError(f"a count of {number:,} is above {limit:,}")
        return number

    def text(self) -> str:
        return self.take(self.scalar("Q")).decode("utf-8", "replace")

    def value(self) -> Any:
        return self._value_of(self.scalar("I"))

    def tensor_elements(self) -> int:
        """The number of weights of the next tensor."""
        self.text()
        dimensions = self.scalar("I")
        if dimensions > MAX_DIMENSIONS:
            raise ValueError(f"a tensor has {dimensions:,} dimensions")
        shape = [self.scalar("Q") for _ in range(dimensions)]
        self._advance(4 + 8)  # its type and place
        return prod(shape)

    def _value_of(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            return self._array()
        raise ValueError(f"a value has the unknown type {kind}")

    def _array(self) -> list[Any] | None:
        kind, items = self.scalar("I"), self.count(MAX_ITEMS)
        if kind == _STRING:
            return self._strings(items)
        if kind not in _SCALARS:
            raise ValueError(f"an array has the unknown type {kind}")
        form = f"<{items}{_SCALARS[kind]}"
        start = self._advance(struct.calcsize(form))
        return list(struct.unpack_from(form, self._data, start)) if self._with_arrays else None

    def _strings(self, items: int) -> list[str] | None:
        if self._with_arrays:
            return [self.text() for _ in range(items)]
        for _ in range(items):
            self._advance(self.scalar("Q"))
        return None

    def _advance(self, size: int) -> int:
        start = self._at
        if size > self._length - start:
            raise ValueError("the header ends too early")
        self._at = start + size
        return start


def has_engine() -> bool:
    """Whether the engine that runs GGUF files is installed (codekin[gguf])."""
    return find_spec("xllamacpp") is not None


def require_engine() -> None:
    """Raises ModelError with one sentence that names the extra, where the engine is not installed."""
    if not has_engine():
        raise ModelError("GGUF files run by xllamacpp; `pip install 'codekin[gguf]'` brings it.")


def find_local_files() -> dict[str, Path]:
    """GGUF files of Ollama and LM Studio by name: `ollama/qwen2.5-coder:1.5b`, `lmstudio/owner/name/file`."""
    return {**_find_ollama_files(ollama_folder()), **_find_lm_studio_files()}


def find_local_file(name: str) -> Path | None:
    """The file of one such name; None where the program does not have it."""
    if name.startswith(OLLAMA_PREFIX):
        return _find_ollama_files(ollama_folder()).get(name if ":" in name else f"{name}:latest")
    return _find_lm_studio_files().get(name) if name.startswith(LM_STUDIO_PREFIX) else None


def ollama_folder() -> Path:
    """Where Ollama keeps its models; OLLAMA_MODELS as for Ollama itself."""
    return Path(os.environ.get("OLLAMA_MODELS") or Path.home() / ".ollama" / "models")


def _find_ollama_files(folder: Path) -> dict[str, Path]:
    """Blobs that hold weights, by the names of their manifests."""
    found: dict[str, Path] = {}
    for manifest in _files_below(folder / "manifests", "*/*/*/*"):
        owner, name, tag = manifest.parts[-3:]
        blob = _weights_blob(manifest, folder / "blobs")
        if blob is not None:
            model = name if owner == "library" else f"{owner}/{name}"
            found[f"{OLLAMA_PREFIX}{model}:{tag}"] = blob
    return found


def _weights_blob(manifest: Path, blobs: Path) -> Path | None:
    try:
        layers = json.loads(read_bounded(manifest, MAX_MANIFEST_BYTES))["layers"]
        kinds = {str(layer["mediaType"]): str(layer["digest"]) for layer in layers}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    digest = kinds.get("application/vnd.ollama.image.model", "")
    blob = blobs / digest.replace(":", "-")
    return blob if _DIGEST.fullmatch(digest) and blob.is_file() and not blob.is_symlink() else None


def _find_lm_studio_files() -> dict[str, Path]:
    folders = (Path.home() / ".lmstudio" / "models", Path.home() / ".cache" / "lm-studio" / "models")
    return {
        LM_STUDIO_PREFIX + path.relative_to(folder).with_suffix("").as_posix(): path
        for folder in folders
        for path in _files_below(folder, "*/*/*.gguf")
        if not path.name.startswith("mmproj")
    }


def _files_below(folder: Path, pattern: str) -> Iterator[Path]:
    """Regular files by a pattern, sorted, a bounded number of them."""
    try:
        paths = sorted(path for _, path in zip(range(MAX_FOUND), folder.glob(pattern), strict=False))
    except OSError:
        return
    yield from (path for path in paths if path.is_file() and not path.is_symlink())
