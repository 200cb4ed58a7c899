"""The questions that judge a model: queries from held-out code whose right answers are known without labels.

Five kinds. `sentence`: the first sentence of a documentation asks for its function. `renamed`: the code under
other names asks for itself. `half`: the upper half of a function asks for the lower. `role`: a function asks
for those of the same name and arity in other modules. `version`: a function's earlier text asks for today's.
Knows texts and right answers, no vectors.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from codekin.learning.pieces import Known, Piece, other_code

KINDS = ("sentence", "renamed", "half", "role", "version")
MOST_SAME_ROLE = 40
"""A name that stands in more modules than this says too little of what the function does."""


@dataclass(frozen=True, slots=True)
class Question:
    """`text` asks; `answers` are positions in the candidates, `itself` one to leave out (-1: none).

    `half` questions look among the lower halves, all others among the whole functions.
    """

    kind: str
    text: str
    answers: tuple[int, ...]
    itself: int = -1


def questions(
    pieces: Sequence[Piece], asked: Iterable[int], earlier: Mapping[Known, str] | None = None
) -> list[Question]:
    """All questions about the pieces at the positions `asked`; `earlier` has earlier texts."""
    by_role = _by_role(pieces)
    found: list[Question] = []
    for at in asked:
        piece = pieces[at]
        found += _about(piece, at)
        others = [other for other in by_role[piece.role] if _elsewhere(pieces[other], piece)]
        if 1 <= len(others) <= MOST_SAME_ROLE:
            found.append(Question("role", piece.code, tuple(others), at))
        if old := other_code(piece, (earlier or {}).get(piece.known, "")):
            found.append(Question("version", old, (at,)))
    return found


def _about(piece: Piece, at: int) -> Iterable[Question]:
    if piece.sentence:
        yield Question("sentence", piece.sentence, (at,))
    if piece.renamed:
        yield Question("renamed", piece.renamed, (at,))
    if piece.code.count("\n") >= 5:
        yield Question("half", piece.halves[0], (at,))


def _by_role(pieces: Sequence[Piece]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for at, piece in enumerate(pieces):
        found[piece.role].append(at)
    return found


def _elsewhere(other: Piece, piece: Piece) -> bool:
    return other.fragment.path != piece.fragment.path
