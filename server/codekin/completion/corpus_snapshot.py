"""A snapshot of the corpus: a large base segment and the files changed since; saved to disk and memory-mapped back.

Changing a snapshot makes another. On disk it is one numpy file per array and a manifest with checksums, which is
written last; a damaged folder counts as absent and is rebuilt.
"""

import json
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin.completion.ngrams import (
    MAX_NGRAM,
    SHAPE_NGRAMS,
    CorpusSegment,
    Hashes,
    NgramTable,
    TokenIds,
    TokenVocabulary,
    build_segment,
)

MAX_TEXT_CHARACTERS = 400_000
MAX_COUNTED_NGRAM = 5
_SIGN_WEIGHT = 0.2
LICENCE = re.compile(
    r"copyright|licen[cs]e|warrant(?:y|ies)\b|merchantab|noninfring|hereby granted|free of charge|sublicen|redistribut"
    r"|\"as is\"|\bliab(?:le|ility)\b|permission notice|apache\.org|opensource\.org|gnu\.org|spdx|tort or otherwise"
    r"|substantial portions|persons to whom|to do so, subject|free software foundation|express or implied"
    r"|governing permissions|all rights reserved|associated documentation files",
    re.IGNORECASE,
)
"""What licences say and code does not."""

_HEADER = re.compile(
    r"\A(?:[ \t]*+(?:(?://|--|%|;|#(?!\s*(?:include|define|ifn?def|if|pragma|import|undef)\b))[^\n]*+|/\*(?>(?s:.*?)\*/)[^\n]*+)?\n)++"
)
"""The comments and blank lines that a file begins with."""

_NO_TOKENS = np.zeros(0, np.uint32)


@dataclass(frozen=True)
class CorpusBase:
    """The large segment and what follows from it alone; every corpus that is made from another shares it."""

    vocabulary: TokenVocabulary
    segment: CorpusSegment

    @cached_property
    def file_numbers(self) -> Mapping[str, int]:
        """Numbers of its files."""
        return {path: number for number, path in enumerate(self.segment.paths)}

    @cached_property
    def word_weights(self) -> NDArray[np.float32]:
        """The weight of each token's word, by its rarity; punctuation has little."""
        traits = self.vocabulary.traits
        counts = np.bincount(traits["word"][self.segment.tokens], minlength=len(traits))[traits["word"]]
        rarity = np.log((len(self.segment.tokens) + 2) / (counts + 1.0))
        return np.where(traits["is_name"], rarity, _SIGN_WEIGHT).astype(np.float32)


@dataclass(frozen=True)
class Corpus:
    """All files of a workspace but those that are hidden.

    `built` is built rarely; `changed` maps paths to what took their place since (empty: removed).
    """

    built: CorpusBase
    changed: Mapping[str, TokenIds] = field(default_factory=dict)

    def with_file(self, path: str, text: str | None) -> "Corpus":
        """The corpus after a file was written or, with None, removed."""
        tokens = encode_file(self.vocabulary, text) if text is not None else _NO_TOKENS
        return replace(self, changed={**self.changed, path: tokens})

    @property
    def vocabulary(self) -> TokenVocabulary:
        """The numbers of all tokens."""
        return self.built.vocabulary

    @property
    def base(self) -> CorpusSegment:
        """The large segment."""
        return self.built.segment

    @property
    def file_numbers(self) -> Mapping[str, int]:
        """Numbers of the base's files."""
        return self.built.file_numbers

    def preload(self) -> "Corpus":
        """The corpus with all that the first question would have to make."""
        for name in ("changed_segment", "is_outdated", "_outdated"):
            getattr(self, name)
        self.weights()
        return self

    @cached_property
    def is_outdated(self) -> NDArray[np.bool_]:
        """Which files of the base are out of date."""
        return np.array([path in self.changed for path in self.base.paths], bool)

    @cached_property
    def changed_segment(self) -> CorpusSegment:
        """The changed files as a segment."""
        return build_segment([(path, tokens) for path, tokens in self.changed.items() if len(tokens)], self.vocabulary)

    @cached_property
    def _outdated(self) -> CorpusSegment:
        outdated = [(path, self.base_tokens(path)) for path in self.changed if path in self.file_numbers]
        return build_segment(outdated, self.vocabulary, longest=MAX_COUNTED_NGRAM, shapes=False)

    def weights(self) -> NDArray[np.float32]:
        """The weights for all tokens known by now; new ones are as rare as can be."""
        known = self.built.word_weights
        missing = len(self.vocabulary.traits) - len(known)
        return known if missing <= 0 else np.concatenate([known, np.full(missing, known.max(), np.float32)])

    @property
    def needs_rebuild(self) -> bool:
        """Whether so much has changed that the base should be built anew."""
        return sum(map(len, self.changed.values())) > max(50_000, len(self.base.tokens) // 20)

    def base_tokens(self, path: str) -> TokenIds:
        """A file's tokens in the base; empty if it is not there."""
        number = self.file_numbers.get(path)
        if number is None:
            return _NO_TOKENS
        return self.base.tokens[self.base.starts[number] + 1 : self.base.starts[number + 1]]

    def tokens_of(self, path: str) -> TokenIds:
        """A file's tokens as they are now."""
        changed = self.changed.get(path)
        return self.base_tokens(path) if changed is None else changed

    def counts(self, length: int, keys: Hashes) -> NDArray[np.float64]:
        """How often runs of a length occur in the files as they are now."""
        counts = self.base.tables[length - 1].counts(keys)
        if self.changed:
            counts = (
                counts
                + self.changed_segment.tables[length - 1].counts(keys)
                - self._outdated.tables[length - 1].counts(keys)
            )
        return counts

    def position_of(self, path: str) -> int:
        """Where a file is, or would be, in the base: neighbours in path order are neighbours in place."""
        return int(self.base.starts[np.searchsorted(np.array(self.base.paths), path)]) if self.base.paths else 0


def encode_file(vocabulary: TokenVocabulary, text: str) -> TokenIds:
    """The tokens of a whole file, a licence at its head left out; a very long one is cut."""
    text = text[:MAX_TEXT_CHARACTERS].replace("\r\n", "\n")
    header = _HEADER.match(text)
    if header and LICENCE.search(header[0]):
        text = text[header.end() :]
    return vocabulary.encode("\n" + text)[0]


def build_corpus(files: Iterable[tuple[str, str]]) -> Corpus:
    """Builds a corpus from paths and texts."""
    vocabulary = TokenVocabulary()
    encoded = [(path, encode_file(vocabulary, text)) for path, text in sorted(files)]
    fresh_vocabulary = TokenVocabulary(vocabulary.texts[7:])
    return Corpus(CorpusBase(fresh_vocabulary, build_segment(encoded, fresh_vocabulary, longest=MAX_NGRAM)))


CORPUS_VERSION = 2
MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class StoredCorpus:
    """A corpus and the content hashes of its files as they were read."""

    corpus: Corpus
    hashes: Mapping[str, str]


def save_corpus(corpus: Corpus, hashes: Mapping[str, str], folder: Path) -> None:
    """Writes the base of a corpus; takes the place of what was there in one step."""
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True, mode=0o700)
    sums = {}
    for name, array in _corpus_arrays(corpus):
        np.save(fresh / f"{name}.npy", array)
        sums[name] = _checksum(array)
    manifest = {
        "version": CORPUS_VERSION,
        "sums": sums,
        "paths": corpus.base.paths,
        "hashes": dict(hashes),
        "texts": corpus.vocabulary.texts,
    }
    (fresh / MANIFEST_NAME).write_text(json.dumps(manifest), encoding="ascii")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def load_corpus(folder: Path) -> StoredCorpus | None:
    """What `save` wrote; None where there is nothing, or nothing sound."""
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="ascii"))
        if manifest["version"] != CORPUS_VERSION:
            return None
        arrays = {name: _map_array(folder / f"{name}.npy", total) for name, total in manifest["sums"].items()}
        corpus = Corpus(
            CorpusBase(TokenVocabulary(manifest["texts"][7:]), _load_segment(tuple(manifest["paths"]), arrays))
        )
        return StoredCorpus(corpus, manifest["hashes"])
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _corpus_arrays(corpus: Corpus) -> Iterator[tuple[str, Any]]:
    base = corpus.base
    yield "starts", base.starts
    yield "tokens", base.tokens
    yield "breaks", base.breaks
    for name, table in zip(_table_names(), (*base.tables, *base.shape_tables), strict=True):
        yield f"{name}.keys", table.keys
        yield f"{name}.starts", table.starts
        yield f"{name}.positions", table.positions


def _table_names() -> list[str]:
    return [f"run{length}" for length in range(1, MAX_NGRAM + 1)] + [f"shape{length}" for length in SHAPE_NGRAMS]


def _map_array(path: Path, total: int) -> Any:
    """The array of a file, not in memory; raises ValueError where its checksum is another."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if _checksum(array) != total:
        raise ValueError(path.name)
    return np.asarray(array)


def _checksum(array: Any) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


def _load_segment(paths: tuple[str, ...], arrays: Mapping[str, Any]) -> CorpusSegment:
    tables = [
        NgramTable(arrays[f"{name}.keys"], arrays[f"{name}.starts"], arrays[f"{name}.positions"])
        for name in _table_names()
    ]
    return CorpusSegment(
        paths=paths,
        starts=arrays["starts"],
        tokens=arrays["tokens"],
        breaks=arrays["breaks"],
        tables=tuple(tables[:MAX_NGRAM]),
        shape_tables=tuple(tables[MAX_NGRAM:]),
    )
