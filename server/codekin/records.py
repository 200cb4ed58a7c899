"""Plain frozen values that cross rooms, in editor terms: fragments, filters, hits.

Knows nothing of tensors, syntax trees, URIs or SQL. Lines are 1-based and inclusive;
paths are relative to the workspace root, with forward slashes.
"""

from dataclasses import dataclass, field
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class Shape:
    """What a fragment does, read from its syntax: names only, in order of appearance."""

    uses: tuple[str, ...] = ()
    behaviours: tuple[str, ...] = ()
    callbacks: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    control: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fragment:
    """A named piece of code: a function with all its clauses, a class, a test.

    `kind` is one of: module, protocol, implementation, function, macro, guard, delegate,
    test, describe, namespace, class, struct, method, constructor, destructor, operator,
    lambda, file. A long fragment is split; `part` counts its pieces from 1 (0: whole).
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
    shape: Shape = field(default_factory=Shape)

    @property
    def digest(self) -> str:
        """Content hash (hex SHA-256) of what is embedded: the language and the text."""
        return sha256(f"{self.language}\0{self.text}".encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, slots=True)
class Filters:
    """What a query may return; empty tuples allow everything, `paths` are glob patterns."""

    languages: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    min_score: float = 0.0


@dataclass(frozen=True, slots=True)
class Hit:
    """A place found, with a score between 0 and 1 and the reasons in plain words.

    `code_line` is where its code begins, below its comments and docs.
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
