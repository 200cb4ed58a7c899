"""Kin, by the vector of what is being written, of the places that are edited.

Finding them takes longer than a key may; so it happens behind the answers, and what was found serves while the
cursor stays near. It knows nothing of vectors.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codekin.completion.gap import Gap
from codekin.completion.snippets import MOST_SHARED, Snippet, share_around

Find = Callable[[Gap], Sequence[Snippet]]
"""Kin for a gap in other files, the best first; takes some ten milliseconds."""

REACH = 10
"""Lines that a cursor may move from where its kin were found."""

REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class _Found:
    line: int
    kin: tuple[Snippet, ...]


class Kinship:
    """The kin of the files edited last; any thread may call."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, _Found] = OrderedDict()

    def near(self, gap: Gap) -> tuple[Snippet, ...] | None:
        """What was found for this place or one close by, None for nothing yet."""
        found = self._found.get(gap.path)
        return found.kin if found and abs(found.line - _line(gap)) <= REACH else None

    def renewed(self, gap: Gap, find: Find) -> tuple[Snippet, ...]:
        """What is near, found now if need be; without what is over half alike to the surroundings."""
        if (known := self.near(gap)) is not None:
            return known
        kin = tuple(one for one in find(gap) if one.path != gap.path and share_around(one.text, gap) <= MOST_SHARED)
        self._found[gap.path] = _Found(_line(gap), kin)
        while len(self._found) > REMEMBERED:
            self._found.popitem(last=False)
        return kin

    def paths(self, gap: Gap) -> frozenset[str]:
        """The files that are akin to this place, as far as is known."""
        return frozenset(one.path for one in self.near(gap) or ())


def _line(gap: Gap) -> int:
    return gap.prefix.count("\n")
