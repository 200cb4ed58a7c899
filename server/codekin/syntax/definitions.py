"""The definitions of a text as plain intervals of bytes: what stands between reading and cutting."""

from collections.abc import Iterator
from dataclasses import dataclass, field

_KINDS = """module protocol implementation function macro guard delegate test describe namespace class struct method
constructor destructor operator lambda file"""
KINDS = frozenset(_KINDS.split())

Interval = tuple[int, int]


@dataclass(slots=True, eq=False)
class Lead:
    """Something in front of a definition that belongs to it: a comment, an attribute."""

    start: int
    end: int
    is_comment: bool
    docs: list[Interval] = field(default_factory=list)
    is_callback: bool = False


@dataclass(slots=True, eq=False)
class Definition:
    """One definition with the definitions inside it; offsets count bytes.

    `start` to `end` is the definition itself, `head` the start of its first lead. `clauses` are
    the further definitions of the same name and arity. `calls` and `control` are (offset, word).
    """

    kind: str
    start: int
    end: int
    head: int
    parent: "Definition | None" = None
    name: str = ""
    name_start: int = -1
    body: Interval | None = None
    children: list["Definition"] = field(default_factory=list)
    clauses: list["Definition"] = field(default_factory=list)
    docs: list[Interval] = field(default_factory=list)
    calls: list[tuple[int, str]] = field(default_factory=list)
    control: list[tuple[int, str]] = field(default_factory=list)
    uses: list[str] = field(default_factory=list)
    behaviours: list[str] = field(default_factory=list)
    is_callback: bool = False

    def pieces(self) -> list["Definition"]:
        """The definition and its further clauses, in source order."""
        return [self, *self.clauses]

    def ancestors(self) -> Iterator["Definition"]:
        """The definitions around this one, from the inside out."""
        around = self.parent
        while around:
            yield around
            around = around.parent

    def below(self) -> Iterator["Definition"]:
        """All definitions inside this one, in source order, outer before inner."""
        waiting = list(reversed(self.children))
        while waiting:
            definition = waiting.pop()
            yield definition
            waiting.extend(reversed(definition.children))
