"""BM25 over split identifiers, kept by tantivy in a folder that can be thrown away.

A small JSON file beside the segments says up to which write of the truth they go; an index
that lags is caught up by its owner. Segment files carry a CRC32 in their footer, which
tantivy writes but does not check on opening: `damage` does.
"""

import json
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tantivy
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.index.schema import row_check
from codekin.index.tokens import tokens

STAMP = "codekin.json"
LAYOUT = 3
_HEAP = 30_000_000
_MOST_TERMS = 64
_MOST_TERMS_WHEN_LARGE = 24
_LARGE = 10_000
_KINDS = (".term", ".idx", ".pos", ".fieldnorm", ".fast", ".store")
_FIELDS = {"body": 1.0, "name": 0.5}
_FOOTER_MAGIC = 1337


@dataclass(frozen=True, slots=True)
class Entry:
    """One fragment as the lexical index takes it."""

    id: int
    file: int
    language: str
    kind: str
    name: str
    text: str


def schema() -> Any:
    """The fields: two of text, the rest to find, filter and delete by."""
    builder = tantivy.SchemaBuilder()
    for field in ("body", "name"):
        builder.add_text_field(field, tokenizer_name="whitespace", index_option="freq")
    for field in ("language", "kind"):
        builder.add_text_field(field, tokenizer_name="raw", index_option="basic")
    for field in ("id", "file"):
        builder.add_unsigned_field(field, indexed=True, fast=field == "id")
    return builder.build()


class LexicalWriter:
    """The one writer of a lexical folder; commits are batched by the caller."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        try:
            self._schema = schema()
            self._index = tantivy.Index(self._schema, path=str(folder), reuse=True)
            self._writer = self._index.writer(heap_size=_HEAP, num_threads=1)
            self._writer.garbage_collect_files()  # what a killed writer left would stand in the next commit's way
        except (ValueError, OSError) as error:
            raise StoreError(f"the lexical index in {folder} cannot be opened ({error})") from error
        self.stamp = read_stamp(folder)
        self._added = int(self.stamp.get("added", 0))

    def replace(self, file: int, entries: Iterable[Entry]) -> None:
        """Replaces all entries of a file; seen by readers after the next commit."""
        self._writer.delete_documents_by_query(tantivy.Query.term_query(self._schema, "file", file))
        for entry in entries:
            self._added += 1
            self._writer.add_document(_document(entry))

    def commit(self, seq: int, instance: str) -> None:
        """Makes all replacements visible and notes up to which write of which truth they go."""
        stamp = {"seq": seq, "instance": instance, "added": self._added}
        try:
            self._writer.commit()
            write_stamp(self.folder, stamp)
        except (ValueError, OSError) as error:
            raise StoreError(f"the lexical index in {self.folder} cannot be written ({error})") from error
        self.stamp = stamp

    def close(self) -> None:
        """Waits for merges and lets go of the folder."""
        self._writer.wait_merging_threads()


def _document(entry: Entry) -> Any:
    document = tantivy.Document()
    document.add_text("body", " ".join(tokens(entry.text)))
    document.add_text("name", " ".join(tokens(entry.name)))
    document.add_text("language", entry.language)
    document.add_text("kind", entry.kind)
    document.add_unsigned("id", entry.id)
    document.add_unsigned("file", entry.file)
    return document


def read_stamp(folder: Path) -> dict[str, Any]:
    """How far the folder goes; empty when there is nothing usable."""
    try:
        stamp, check = json.loads((folder / STAMP).read_text())
    except (OSError, ValueError, TypeError):
        return {}
    return stamp if isinstance(stamp, dict) and check == row_check(stamp) else {}


def write_stamp(folder: Path, stamp: Mapping[str, object]) -> None:
    """Replaces the stamp in one step."""
    fresh = folder / (STAMP + ".new")
    fresh.write_text(json.dumps([stamp, row_check(stamp)]))
    fresh.replace(folder / STAMP)


def damage(folder: Path, known: set[str]) -> str | None:
    """The first file of the newest commit that is missing or whose CRC32 is wrong; `known` collects sound ones."""
    while True:
        needed = _needed(folder)
        if needed is None:
            return "meta.json"
        broken = next((name for name in needed if name not in known and not _sound(folder / name)), None)
        if broken is None or needed == _needed(folder):  # otherwise a merge has just ended
            known |= set(needed) - ({broken} if broken else set())
            return broken


def _needed(folder: Path) -> list[str] | None:
    """The files that the newest commit consists of; None when that cannot be read."""
    try:
        segments = json.loads((folder / "meta.json").read_bytes())["segments"]
        names = []
        for segment in segments:
            key = segment["segment_id"].replace("-", "")
            names += [key + kind for kind in _KINDS]
            names += [f"{key}.{segment['deletes']['opstamp']}.del"] if segment["deletes"] else []
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return names


def _sound(path: Path) -> bool:
    """Whether the body matches the footer: JSON, its length and a magic number, 4 bytes each."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    length, magic = (int.from_bytes(data[at : at + 4], "little") for at in (len(data) - 8, len(data) - 4))
    if len(data) < 8 or magic != _FOOTER_MAGIC or length > len(data) - 8:
        return False
    try:
        footer = json.loads(data[-8 - length : -8])
    except ValueError:
        return False
    return isinstance(footer, dict) and footer.get("crc") == zlib.crc32(memoryview(data)[: -8 - length])


@dataclass(frozen=True, slots=True)
class Term:
    """A term of a query: how often it stands there, its weight and its inverse document frequency."""

    text: str
    weight: float
    count: int
    rarity: float


class LexicalReader:
    """A searcher over the folder's last commit; reload it when the stamp moves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: set[str] = set()
        self._schema = schema()
        self._guard(lambda: None)
        self._index = self._guard(lambda: tantivy.Index.open(str(folder)))
        self.stamp: dict[str, Any] = {}
        self.reload()

    def reload(self) -> None:
        """Takes the newest commit, after checking the files it brought."""
        stamp = read_stamp(self.folder)
        if broken := damage(self.folder, self._known):
            raise StoreError(f"the lexical index is damaged ({broken})")
        self._guard(self._index.reload)
        self._searcher = self._guard(self._index.searcher)
        self.stamp = stamp
        self._sizes = {name: (self.folder / name).stat().st_size for name in _needed(self.folder) or ()}

    @property
    def documents(self) -> int:
        """How many fragments it holds."""
        return int(self._searcher.num_docs)

    @property
    def added(self) -> int:
        """How many entries were added since the folder was new, gone ones included."""
        return int(self.stamp.get("added", 0))

    def search(
        self, terms: Sequence[Term], must: Sequence[Any], limit: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids and BM25 scores of the best matches that meet all of `must`, best first."""
        query = self._query(terms, must)
        found: tuple[NDArray[np.int64], NDArray[np.float32]] = self._guard(lambda: self._collect(query, limit))
        return found

    def _collect(self, query: Any, limit: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        hits = self._searcher.search(query, limit=max(1, limit), count=False).hits
        ids = self._searcher.fast_field_values("id", [address for _, address in hits]) if hits else []
        return np.array(ids, np.int64), np.array([score for score, _ in hits], np.float32)

    def telling(self, terms: Counter[str]) -> list[Term]:
        """The terms with the highest weight times inverse document frequency."""
        found: list[Term] = self._guard(
            lambda: [Term(word, 1.0 + float(np.log2(n)) / 2, n, self._rarity(word)) for word, n in terms.items()]
        )
        most = _MOST_TERMS if self.documents < _LARGE else _MOST_TERMS_WHEN_LARGE
        return sorted(found, key=lambda term: (-term.weight * term.rarity, term.text))[:most]

    def _rarity(self, term: str) -> float:
        """BM25's inverse document frequency, as tantivy counts it."""
        frequency = self._searcher.doc_freq("body", term)
        return float(np.log1p((self.documents - frequency + 0.5) / (frequency + 0.5)))

    def _query(self, terms: Sequence[Term], must: Sequence[Any]) -> Any:
        parts = [(tantivy.Occur.Must, tantivy.Query.const_score_query(condition, 0.0)) for condition in must]
        for term in terms:
            for field, boost in _FIELDS.items():
                one = tantivy.Query.term_query(self._schema, field, term.text, index_option="freq")
                parts.append((tantivy.Occur.Should, tantivy.Query.boost_query(one, term.weight * boost)))
        return tantivy.Query.boolean_query(parts)

    def language_is(self, language: str) -> Any:
        """The condition that an entry is of a language."""
        return tantivy.Query.term_query(self._schema, "language", language, index_option="basic")

    def among(self, field: str, values: Iterable[int]) -> Any:
        """The condition that an entry's `id` or `file` is one of the values."""
        return tantivy.Query.term_set_query(self._schema, field, list(values))

    def whole(self) -> bool:
        """Whether no segment file has been cut short since the last reload."""
        for name, size in self._sizes.items():
            try:
                if os.stat(self.folder / name).st_size != size:  # noqa: PTH116 - twice as fast, on every query
                    return False
            except FileNotFoundError:
                continue
        return True

    def _guard(self, action: Any) -> Any:
        """Runs an action of tantivy; its errors and panics become a StoreError."""
        try:
            return action()
        except StoreError:
            raise
        except BaseException as error:
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                raise StoreError(f"the lexical index in {self.folder} is damaged ({error})") from error
            raise
