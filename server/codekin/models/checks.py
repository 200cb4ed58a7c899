"""Checks a checkpoint folder before anything in it is loaded.

Refuses remote code, pickles, links that lead out, foreign architectures, weights or tokenizers
that do not belong to the config. Raises CheckpointError with one sentence. Loads no weights.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codekin.errors import CheckpointError
from codekin.models.weights import PICKLE_SUFFIXES, check_file, read_json

EMBEDDING_NAMES = (
    "model.embed_tokens.weight",
    "embed_tokens.weight",
    "transformer.wte.weight",
    "embeddings.word_embeddings.weight",
)


def check_folder(folder: Path, architecture: str) -> list[Path]:
    """The safetensors files of a checkpoint of this architecture; raises CheckpointError otherwise."""
    _refuse_links_out(folder)
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
        check_file(file)
        shapes |= header_shapes(file)
    _check_embedding(folder, config, shapes)
    _check_vocabulary(folder, config)
    return files


def weight_files(folder: Path) -> list[Path]:
    """The weights: those of the index where there is one. Raises CheckpointError where a file is missing."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        mapping = read_json(index).get("weight_map")
        names = sorted(set(mapping.values())) if isinstance(mapping, dict) else []
        if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
            raise CheckpointError(f"{index} names no files of its folder; fetch the model again.")
        files = [folder / name for name in names]
    else:
        files = sorted(folder.glob("*.safetensors"))
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise CheckpointError(f"{folder} lacks {', '.join(missing)}; fetch the model again.")
    if not files:
        pickles = [path.name for path in sorted(folder.iterdir()) if path.suffix in PICKLE_SUFFIXES]
        what = f"only holds pickles ({', '.join(pickles)}), which can run code" if pickles else "holds no weights"
        raise CheckpointError(f"{folder} {what}; use a checkpoint in safetensors.")
    return files


def header_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes from a safetensors header, which `check_file` has passed."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return {name: tuple(row["shape"]) for name, row in header.items() if name != "__metadata__"}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} has a damaged header; fetch it again.") from error


def _check_embedding(folder: Path, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    expected = (int(config["vocab_size"]), int(config.get("hidden_size") or config.get("n_embd") or 0))
    for name in EMBEDDING_NAMES:
        for found in (shapes.get(name), shapes.get(f"roberta.{name}")):
            if found is not None and found != expected:
                raise CheckpointError(
                    f"{folder}: {name} has shape {found}, the config says {expected}; fetch it again."
                )


def _check_vocabulary(folder: Path, config: Mapping[str, Any]) -> None:
    tokenizer = read_json(folder / "tokenizer.json")
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


def _refuse_links_out(folder: Path) -> None:
    """A link may lead within the folder, or within the hub cache's folder of the same repository."""
    home = folder.resolve()
    repository = next((parent for parent in home.parents if parent.name.startswith("models--")), home)
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(repository):
            raise CheckpointError(f"{path} is a link out of its folder, which is refused; copy the file instead.")
