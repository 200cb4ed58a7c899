"""Reads safetensors files and model folders after checking that they are complete, finite and safe.

Refuses pickles, remote code, links out of the folder and files that do not belong together, with a CheckpointError.
"""

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from codekin.errors import CheckpointError
from codekin.models.catalogue import read_json
from codekin.models.checkpoints import expected_digest, file_digest
from codekin.util.files import NotRegularFileError, read_bounded

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = 10_000_000
"""The largest models have headers of a megabyte."""

MAX_ADDED_TOKENS = 20_000
MAX_TOKEN_ID = 10_000_000
MAX_TEXT_GROWTH = 64
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
_PICKLE_STARTS = (b"\x80", b"PK\x03\x04")


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """The tensors of a safetensors file, after `check_safetensors`, all of them finite."""
    from safetensors.torch import load_file  # noqa: PLC0415 - torch, which the bundled encoder does without

    check_safetensors(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); fetch it again.") from error
    check_finite(tensors, path)
    return tensors


def check_finite(tensors: "Mapping[str, Tensor]", path: Path) -> None:
    """Raise CheckpointError when a tensor holds NaN or infinity."""
    import torch  # noqa: PLC0415 - which the bundled encoder does without

    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.sum(dtype=torch.float32))):
            raise CheckpointError(f"{path}: {name} holds values that are not finite; use another checkpoint.")


def check_safetensors(path: Path) -> None:
    """Raise CheckpointError unless the file looks like safetensors of its own size."""
    if path.suffix in PICKLE_SUFFIXES:
        raise CheckpointError(f"{path} is a pickle, which can run code; use a safetensors file.")
    try:
        start = read_bounded(path, 7)
        size = path.stat().st_size
    except NotRegularFileError as error:
        raise CheckpointError(f"{path} is no regular file; fetch the model again.") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); fetch it again.") from error
    header = int.from_bytes(start, "little")
    if start.startswith(_PICKLE_STARTS) and header > size:
        raise CheckpointError(f"{path} is a pickle, which can run code; use a safetensors file.")
    if len(start) < 8 or header > min(MAX_HEADER_BYTES, size - 8):
        raise CheckpointError(f"{path} has a header of {header:,} bytes in a file of {size:,}; fetch it again.")


def verified_digest(path: Path) -> str:
    """SHA-256 of a file; CheckpointError where it is not the one it was fetched with."""
    digest = file_digest(path)
    if expected_digest(path) not in ("", digest):
        raise CheckpointError(f"{path} is damaged: its checksum is not the one it was fetched with; fetch it again.")
    return digest


EMBEDDING_TENSOR_NAMES = (
    "model.embed_tokens.weight",
    "embed_tokens.weight",
    "transformer.wte.weight",
    "embeddings.word_embeddings.weight",
)


def check_model_folder(folder: Path, architecture: str) -> list[Path]:
    """The safetensors files of a checkpoint of this architecture; raises CheckpointError otherwise."""
    _refuse_links_and_devices(folder)
    config = read_json(folder / "config.json")
    if "auto_map" in config:
        raise CheckpointError(
            f"{folder} wants to run code of its own (auto_map), which is refused; use a native checkpoint."
        )
    if config.get("model_type") != architecture:
        raise CheckpointError(
            f"{folder} is a {config.get('model_type')}, not a {architecture}; choose the right folder."
        )
    files = weight_files(folder)
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        check_safetensors(file)
        shapes |= read_header_shapes(file)
    _check_embedding(folder, config, shapes)
    _check_vocabulary(folder, config)
    return files


def weight_files(folder: Path) -> list[Path]:
    """The weights: one file alone, or those of the index. Raises CheckpointError where one is missing or leads out."""
    index = folder / "model.safetensors.index.json"
    shards = _indexed_files(index) if index.exists() else []
    if (folder / "model.safetensors").exists():  # other files beside it are not read, as in transformers
        files = [folder / "model.safetensors"]
    elif shards:
        files = shards
    else:
        files = sorted(folder.glob("*.safetensors"))
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise CheckpointError(f"{folder} holds {names} and no index says which belong together; keep one of them.")
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise CheckpointError(f"{folder} lacks {', '.join(missing)}; fetch the model again.")
    if not files:
        pickles = [path.name for path in sorted(folder.iterdir()) if path.suffix in PICKLE_SUFFIXES]
        what = f"only holds pickles ({', '.join(pickles)}), which can run code" if pickles else "holds no weights"
        raise CheckpointError(f"{folder} {what}; use a checkpoint in safetensors.")
    return files


def _indexed_files(index: Path) -> list[Path]:
    mapping = read_json(index).get("weight_map")
    values = mapping.values() if isinstance(mapping, dict) else ()
    if not values or not all(isinstance(name, str) and Path(name).name == name for name in values):
        raise CheckpointError(f"{index} names no files of its folder; fetch the model again.")
    return [index.parent / name for name in sorted(set(values))]


def read_header_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes from a safetensors header, which `check_safetensors` has passed."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return {name: tuple(row["shape"]) for name, row in header.items() if name != "__metadata__"}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} has a damaged header; fetch it again.") from error


def _check_embedding(folder: Path, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    expected = (int(config["vocab_size"]), int(config.get("hidden_size") or config.get("n_embd") or 0))
    for name in EMBEDDING_TENSOR_NAMES:
        for found in (shapes.get(name), shapes.get(f"roberta.{name}")):
            if found is not None and found != expected:
                raise CheckpointError(
                    f"{folder}: {name} has shape {found}, the config says {expected}; fetch it again."
                )


def _check_vocabulary(folder: Path, config: Mapping[str, Any]) -> None:
    tokenizer = read_tokenizer_json(folder / "tokenizer.json")
    model = tokenizer.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if not vocabulary:
        raise CheckpointError(f"{folder / 'tokenizer.json'} holds no vocabulary; fetch the model again.")
    added = [int(row["id"]) for row in tokenizer.get("added_tokens") or ()]
    largest = max([len(vocabulary) - 1, *added])
    if largest >= int(config["vocab_size"]):
        raise CheckpointError(
            f"{folder}: the tokenizer has ids up to {largest}, the weights {config['vocab_size']}; "
            "they belong to two models."
        )


def read_tokenizer_json(path: Path) -> dict[str, Any]:
    """A tokenizer.json whose use costs no more than its text; raises CheckpointError otherwise.

    The tokenizers library ends the process where memory ends, so what makes text grow is refused before it is loaded.
    """
    source = read_json(path)
    added = source.get("added_tokens") or []
    if not isinstance(added, list) or len(added) > MAX_ADDED_TOKENS or not all(map(_is_added_token, added)):
        raise CheckpointError(f"{path} has added tokens that cannot be used; fetch the model again.")
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        if _growth(source.get(part)) > MAX_TEXT_GROWTH:
            raise CheckpointError(f"{path}: its {part} makes texts too much longer; use another checkpoint.")
    return source


def _is_added_token(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("content"), str)
        and isinstance(row.get("id"), int)
        and 0 <= row["id"] <= MAX_TOKEN_ID
    )


def _growth(part: Any) -> int:
    """By how much a normalizer or its like can multiply the length of a text."""
    if isinstance(part, list):
        return prod(map(_growth, part))
    if not isinstance(part, dict):
        return 1
    written = max(len(str(part.get(key) or "")) for key in ("content", "prepend", "replacement"))
    return max(1, written) * prod(_growth(value) for value in part.values() if isinstance(value, dict | list))


def _refuse_links_and_devices(folder: Path) -> None:
    """A link may lead within the folder, or within the hub cache's folder of the same repository."""
    root = folder.resolve()
    repository = next((parent for parent in root.parents if parent.name.startswith("models--")), root)
    for path in folder.rglob("*"):
        if not path.is_dir() and path.exists() and not path.is_file():
            raise CheckpointError(f"{path} is no regular file, which is refused; take it out of the folder.")
        if path.is_symlink() and not path.resolve().is_relative_to(repository):
            raise CheckpointError(f"{path} is a link out of its folder, which is refused; copy the file instead.")
