"""Keeps a corpus on the disk: one numpy file for each array, mapped when read, and a manifest with checksums.

A folder is complete once its manifest is there; whatever is damaged counts as absent and is built anew.
"""

import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codekin.completion.corpus import Base, Corpus
from codekin.completion.lexicon import Vocabulary
from codekin.completion.ngrams import Table
from codekin.completion.segment import LONGEST_RUN, SHAPE_RUNS, Segment

VERSION = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Stored:
    """A corpus and the content hashes of its files as they were read."""

    corpus: Corpus
    hashes: Mapping[str, str]


def save(corpus: Corpus, hashes: Mapping[str, str], folder: Path) -> None:
    """Writes the base of a corpus; takes the place of what was there in one step."""
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True, mode=0o700)
    sums = {}
    for name, array in _arrays(corpus):
        np.save(fresh / f"{name}.npy", array)
        sums[name] = _checksum(array)
    manifest = {
        "version": VERSION,
        "sums": sums,
        "paths": corpus.base.paths,
        "hashes": dict(hashes),
        "texts": corpus.vocabulary.texts,
    }
    (fresh / MANIFEST).write_text(json.dumps(manifest), encoding="ascii")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def load(folder: Path) -> Stored | None:
    """What `save` wrote; None where there is nothing, or nothing sound."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="ascii"))
        if manifest["version"] != VERSION:
            return None
        arrays = {name: _mapped(folder / f"{name}.npy", total) for name, total in manifest["sums"].items()}
        corpus = Corpus(Base(Vocabulary(manifest["texts"][7:]), _segment(tuple(manifest["paths"]), arrays)))
        return Stored(corpus, manifest["hashes"])
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _arrays(corpus: Corpus) -> Iterator[tuple[str, Any]]:
    base = corpus.base
    yield "starts", base.starts
    yield "tokens", base.tokens
    yield "breaks", base.breaks
    for name, table in zip(_table_names(), (*base.tables, *base.shape_tables), strict=True):
        yield f"{name}.keys", table.keys
        yield f"{name}.starts", table.starts
        yield f"{name}.places", table.places


def _table_names() -> list[str]:
    return [f"run{length}" for length in range(1, LONGEST_RUN + 1)] + [f"shape{length}" for length in SHAPE_RUNS]


def _mapped(path: Path, total: int) -> Any:
    """The array of a file, not in memory; raises ValueError where its checksum is another."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if _checksum(array) != total:
        raise ValueError(path.name)
    return np.asarray(array)


def _checksum(array: Any) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


def _segment(paths: tuple[str, ...], arrays: Mapping[str, Any]) -> Segment:
    tables = [
        Table(arrays[f"{name}.keys"], arrays[f"{name}.starts"], arrays[f"{name}.places"]) for name in _table_names()
    ]
    return Segment(
        paths=paths,
        starts=arrays["starts"],
        tokens=arrays["tokens"],
        breaks=arrays["breaks"],
        tables=tuple(tables[:LONGEST_RUN]),
        shape_tables=tuple(tables[LONGEST_RUN:]),
    )
