"""The BM25 text index, kept by tantivy in a folder that can be rebuilt at any time.

A JSON file beside the segments, the stamp, records the last write that they cover and the checksum of each file, since
tantivy reads damaged segments without a word. Its files are opaque here: only tantivy's public API opens them.
"""

import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tantivy
from numpy.typing import NDArray

from codekin.errors import StoreError, describe_store_error
from codekin.protocols import TextQuery
from codekin.storage.database import row_checksum
from codekin.storage.terms import tokenize_for_search
from codekin.util.files import write_atomically

STAMP_NAME = "codekin.json"
FORMAT_VERSION = 4
_WRITER_HEAP_BYTES = 30_000_000
_MAX_TERMS = 64
_MAX_TERMS_LARGE_INDEX = 24
_LARGE_INDEX = 10_000
_FIELD_BOOSTS = {"body": 1.0, "name": 0.5}


@dataclass(frozen=True, slots=True)
class TextIndexEntry:
    """One chunk as the text index takes it."""

    id: int
    file: int
    language: str
    kind: str
    name: str
    text: str


def build_schema() -> tantivy.Schema:
    """The fields: two of text, the rest to find, filter and delete by."""
    builder = tantivy.SchemaBuilder()
    for name in ("body", "name"):
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="freq")
    for name in ("language", "kind"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    for name in ("id", "file"):
        builder.add_unsigned_field(name, indexed=True, fast=name == "id")
    return builder.build()


class TextIndexWriter:
    """The one writer of a folder; commits are batched by the caller.

    Between two commits the folder is at rest: tantivy's writer is opened by the first replacement (in a millisecond)
    and ends, with its merges, in the commit.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        try:
            self._schema = build_schema()
            self._index = tantivy.Index(self._schema, path=str(folder), reuse=True)
            self._writer: tantivy.IndexWriter | None = self._open_writer()
            self._writer.garbage_collect_files()  # the leftovers of a killed writer would block the next commit
        except (ValueError, OSError) as error:
            raise StoreError(describe_store_error(f"the text index in {folder} cannot be opened", error)) from error
        self.stamp = read_stamp(folder)
        self._added = self.stamp.added

    def replace(self, file: int, entries: Iterable[TextIndexEntry]) -> None:
        """Replaces all entries of a file; seen by readers after the next commit."""
        self._writer = self._writer or self._open_writer()
        self._writer.delete_documents_by_query(tantivy.Query.term_query(self._schema, "file", file))
        for entry in entries:
            self._added += 1
            self._writer.add_document(_build_document(entry))

    def commit(self, seq: int, instance: str) -> None:
        """Makes all replacements visible and notes up to which write of which database they go."""
        try:
            if self._writer is not None:
                self._writer.commit()
            self.close()
            files = checksum_files(self.folder, self.stamp.files)
            self.stamp = TextIndexStamp(seq, instance, self._added, files)
            write_stamp(self.folder, self.stamp)
        except (ValueError, OSError) as error:
            raise StoreError(
                describe_store_error(f"the text index in {self.folder} cannot be written", error)
            ) from error

    def close(self) -> None:
        """Waits for merges and closes the folder."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.wait_merging_threads()

    def _open_writer(self) -> tantivy.IndexWriter:
        return self._index.writer(heap_size=_WRITER_HEAP_BYTES, num_threads=1)


def _build_document(entry: TextIndexEntry) -> Any:
    document = tantivy.Document()
    document.add_text("body", " ".join(tokenize_for_search(entry.text)))
    document.add_text("name", " ".join(tokenize_for_search(entry.name)))
    document.add_text("language", entry.language)
    document.add_text("kind", entry.kind)
    document.add_unsigned("id", entry.id)
    document.add_unsigned("file", entry.file)
    return document


@dataclass(frozen=True, slots=True)
class TextIndexStamp:
    """How far a folder goes: the last write of which database it covers, the entries ever added, and its files.

    `files` maps names to size and CRC32: tantivy writes a segment file once and never changes it.
    """

    seq: int = -1
    instance: str = ""
    added: int = 0
    files: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def read_stamp(folder: Path) -> TextIndexStamp:
    """The stamp beside the segments; the empty one when there is nothing usable."""
    try:
        values, check = json.loads((folder / STAMP_NAME).read_text())
        if check != row_checksum(values):
            return TextIndexStamp()
        seq, instance, added, files = values
        return TextIndexStamp(seq, instance, added, {name: (size, crc) for name, size, crc in files})
    except (OSError, ValueError, TypeError):
        return TextIndexStamp()


def write_stamp(folder: Path, stamp: TextIndexStamp) -> None:
    """Replaces the stamp in one step."""
    values = [stamp.seq, stamp.instance, stamp.added, [[name, *of] for name, of in sorted(stamp.files.items())]]
    write_atomically(folder / STAMP_NAME, json.dumps([values, row_checksum(values)]))


def segment_sizes(folder: Path) -> dict[str, int]:
    """Names and sizes of the files that never change."""
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if _is_immutable(entry.name)}


def _is_immutable(name: str) -> bool:
    """All that tantivy writes but its two lists of files and its locks."""
    return not name.startswith((".", STAMP_NAME)) and name != "meta.json"


def checksum_files(folder: Path, known: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Size and CRC32 of each file that never changes; only those that are not `known` are read."""
    return {name: known.get(name) or _checksum(folder / name) for name in segment_sizes(folder)}


def _checksum(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    return len(data), zlib.crc32(data)


def find_damaged_file(folder: Path, stamp: TextIndexStamp, sound: set[str]) -> str | None:
    """The first file that differs from the stamp; one that is gone was merged since, or tantivy misses it itself.

    `sound` collects the names of those that are.
    """
    for name, expected in stamp.files.items():
        if name in sound:
            continue
        try:
            if _checksum(folder / name) != expected:
                return name
        except FileNotFoundError:
            continue
        sound.add(name)
    return None


@dataclass(frozen=True, slots=True)
class _WeightedTerm:
    """A term of a query with its weight and its inverse document frequency."""

    text: str
    weight: float
    inverse_document_frequency: float


class TextIndexReader:
    """A TextIndex over the folder's last commit; reload it when the stamp moves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sound_files: set[str] = set()
        self._last_wanted: tuple[Mapping[str, float], list[tuple[tantivy.Occur, tantivy.Query]]] | None = None
        self._schema = build_schema()
        self._index = self._run(lambda: tantivy.Index.open(str(folder)))
        self.stamp = TextIndexStamp()
        self.reload()

    def reload(self) -> None:
        """Takes the newest commit, after checking the files it brought."""
        stamp = read_stamp(self.folder)
        if broken := find_damaged_file(self.folder, stamp, self._sound_files):
            raise StoreError(f"the text index is damaged ({broken})")
        self._run(self._index.reload)
        self._searcher = self._run(self._index.searcher)
        self._last_wanted = None
        self.stamp = stamp
        self._sizes = segment_sizes(self.folder)

    @property
    def documents(self) -> int:
        """How many chunks it holds."""
        return int(self._searcher.num_docs)

    def search(self, query: TextQuery, limit: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids and BM25 scores of the best matches, best first. Raises StoreError where the folder is damaged."""
        found: tuple[NDArray[np.int64], NDArray[np.float32]] = self._run(lambda: self._collect(query, limit))
        return found

    def select_known(self, words: Iterable[str]) -> list[str]:
        """Those of some words that a chunk has. Raises StoreError where the folder is damaged."""
        found: list[str] = self._run(lambda: [word for word in words if self._searcher.doc_freq("body", word)])
        return found

    def is_complete(self) -> bool:
        """Whether no segment file has been cut short since the last reload."""
        for name, size in self._sizes.items():
            try:
                if os.stat(self.folder / name).st_size != size:  # noqa: PTH116 - twice as fast, on every query
                    return False
            except FileNotFoundError:
                continue
        return True

    def _collect(self, query: TextQuery, limit: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        hits = self._searcher.search(self._build_query(query), limit=max(1, limit), count=False).hits
        ids = self._searcher.fast_field_values("id", [address for _, address in hits]) if hits else []
        return np.array(ids, np.int64), np.array([score for score, _ in hits], np.float32)

    def _build_query(self, query: TextQuery) -> tantivy.Query:
        parts = [(tantivy.Occur.Must, tantivy.Query.const_score_query(one, 0.0)) for one in self._conditions(query)]
        return tantivy.Query.boolean_query([*parts, *self._wanted(query.counts)])

    def _wanted(self, counts: Mapping[str, float]) -> list[tuple[tantivy.Occur, tantivy.Query]]:
        """What should be in a match; kept for the next query of the same counts, in another language."""
        kept = self._last_wanted
        if kept is None or kept[0] is not counts:
            kept = self._last_wanted = counts, list(self._weighted_queries(counts))
        return kept[1]

    def _weighted_queries(self, counts: Mapping[str, float]) -> Iterator[tuple[tantivy.Occur, tantivy.Query]]:
        for term in self._select_terms(counts):
            for name, boost in _FIELD_BOOSTS.items():
                one = tantivy.Query.term_query(self._schema, name, term.text, index_option="freq")
                yield tantivy.Occur.Should, tantivy.Query.boost_query(one, term.weight * boost)

    def _conditions(self, query: TextQuery) -> Iterator[tantivy.Query]:
        if query.language is not None:
            yield tantivy.Query.term_query(self._schema, "language", query.language, index_option="basic")
        if query.files is not None:
            yield tantivy.Query.term_set_query(self._schema, "file", list(query.files))

    def _select_terms(self, counts: Mapping[str, float]) -> list[_WeightedTerm]:
        """The terms with the highest weight times inverse document frequency."""
        found = [
            _WeightedTerm(word, 1.0 + float(np.log2(count)) / 2, self._inverse_document_frequency(word))
            for word, count in counts.items()
        ]
        most = _MAX_TERMS if self.documents < _LARGE_INDEX else _MAX_TERMS_LARGE_INDEX
        return sorted(found, key=lambda term: (-term.weight * term.inverse_document_frequency, term.text))[:most]

    def _inverse_document_frequency(self, term: str) -> float:
        """BM25's inverse document frequency, as tantivy counts it."""
        frequency = self._searcher.doc_freq("body", term)
        return float(np.log1p((self.documents - frequency + 0.5) / (frequency + 0.5)))

    def _run(self, action: Callable[[], Any]) -> Any:
        """Runs an action of tantivy; its errors and panics become a StoreError."""
        try:
            return action()
        except StoreError:
            raise
        except BaseException as error:
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                raise StoreError(f"the text index in {self.folder} is damaged ({error})") from error
            raise
