"""Frozen values shared by all packages, in editor terms: chunks, filters, hits; and the words of identifiers.

Lines are 1-based and inclusive; paths are relative to the workspace root, with forward slashes.
"""

import re
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

LANGUAGE_NAMES = tuple(sorted(path.stem for path in (Path(__file__).parent / "parsing" / "queries").glob("*.scm")))
"""A language is known by its query file, so that no process needs a grammar to know the names."""

CHUNK_KINDS = (
    *("module", "protocol", "implementation", "function", "macro", "guard", "delegate", "test", "describe"),
    *("namespace", "class", "struct", "method", "constructor", "destructor", "operator", "lambda", "file"),
    *("interface", "trait", "enum", "record", "type", "property", "constant", "table", "resource"),
    *("component", "slot", "section", "cell"),
)


@dataclass(frozen=True, slots=True)
class CodeShape:
    """What a chunk does, read from its syntax: names only, in order of appearance."""

    uses: tuple[str, ...] = ()
    behaviours: tuple[str, ...] = ()
    callbacks: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    control: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A named part of a file: a function with all its clauses, a class, a test.

    `kind` is one of CHUNK_KINDS. A long chunk is split; `part` counts its parts from 1 (0: whole).
    """

    path: str
    language: str
    kind: str
    name: str
    start_line: int
    end_line: int
    text: str
    doc: str = ""
    part: int = 0
    shape: CodeShape = field(default_factory=CodeShape)

    @property
    def digest(self) -> str:
        """Content hash (hex SHA-256) of what is embedded: the language and the text."""
        return sha256(f"{self.language}\0{self.text}".encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, slots=True)
class Filters:
    """What a query may return; empty tuples allow everything, `paths` are glob patterns.

    `excluded_words` leave out chunks whose path, name or kind has one of them as a word.
    """

    languages: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    min_score: float = 0.0
    excluded_languages: tuple[str, ...] = ()
    excluded_kinds: tuple[str, ...] = ()
    excluded_paths: tuple[str, ...] = ()
    excluded_words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A search by words, with filters among them, and by a regular expression that a line must match.

    `asking_path` is the file that is open where the question comes from.
    """

    text: str
    filters: Filters = Filters()
    limit: int = 10
    grep: str = ""
    asking_path: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A place found, with a score between 0 and 1 and the reasons in plain words.

    `code_line` is where its code begins, below its comments and docs; `lines` are those that match a search best.
    """

    path: str
    name: str
    kind: str
    language: str
    start_line: int
    end_line: int
    code_line: int
    score: float
    reasons: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")


def split_identifier(name: str) -> list[str]:
    """The words of `camelCase`, `snake_case`, `HTTPServer2` and the like, in order and in their own case.

    Works on a sentence or on code as well; a number is a word, and so is a run of letters of another script.
    """
    return _WORD.findall(name)


def to_snake_case(name: str) -> str:
    """`handleCall` as `handle_call`; a name in snake case stays."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def to_pascal_case(name: str) -> str:
    """`handle_call` as `HandleCall`; a name in camel case keeps its inner capitals."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))
