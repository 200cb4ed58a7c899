"""Code akin to the surroundings of a cursor, for a generator's prompt: commented, with its path, gated by likeness.

Kin are found by the words they share with the surroundings, weighed by rarity. What is over half alike to the
surroundings is left out, since it makes a generator repeat them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from codekin.completion.corpus import Corpus
from codekin.completion.gap import Gap
from codekin.completion.lexicon import BOUNDARY
from codekin.completion.recall import Memories, recall
from codekin.completion.segment import Segment
from codekin.completion.situation import Situation, situation_of
from codekin.syntax import LANGUAGES

LEAST_LIKENESS = 0.35
MOST_SHARED = 0.5
LINES_BEFORE, LINES_BEHIND = 6, 8
AROUND_BEFORE, AROUND_BEHIND = 3000, 1500
"""Characters that count as a cursor's surroundings."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """A few lines of another file; `likeness` is between 0 and 1."""

    path: str
    text: str
    likeness: float


def snippets_for(corpus: Corpus, gap: Gap, most: int = 3) -> list[Snippet]:
    """The best few snippets for a gap, best first; none where nothing is near enough."""
    situation = situation_of(corpus.vocabulary, gap)
    ranked = sorted(_places(recall(corpus, situation), situation), key=lambda found: -found[0])
    chosen: dict[tuple[str, int], Snippet] = {}
    for likeness, segment, place in ranked[: most * 8]:
        path = segment.paths[int(segment.files_at(np.array([place]))[0])]
        text = _lines_around(corpus, segment, place)
        key = (path, place // 200)
        if path != gap.path and key not in chosen and share_around(text, gap) <= MOST_SHARED:
            chosen[key] = Snippet(path, text, likeness)
        if len(chosen) == most:
            break
    return list(chosen.values())


def commented(language: str, snippets: Sequence[Snippet]) -> str:
    """The snippets as comments of a language, the best one last, next to the code."""
    row = LANGUAGES.get(language)
    mark = row.line_comment if row else "#"
    lines = []
    for snippet in reversed(snippets):
        lines += [f"{mark} Compare this snippet from {snippet.path}:"]
        lines += [f"{mark} {line}".rstrip() for line in snippet.text.split("\n")]
    return "".join(f"{line}\n" for line in lines)


def _places(memories: Sequence[Memories], situation: Situation) -> list[tuple[float, Segment, int]]:
    """Places with the mean of their likenesses before and behind, from the gate on."""
    found = []
    for part in memories:
        if part.segment is situation.document:
            continue
        likeness = (part.alike_before + part.alike_behind) / 2
        near = np.flatnonzero(likeness >= LEAST_LIKENESS).tolist()
        found += [(float(likeness[at]), part.segment, int(part.places[at])) for at in near]
    return found


def _lines_around(corpus: Corpus, segment: Segment, place: int) -> str:
    """The lines around a place, indented by their steps, from the outermost of them."""
    at = int(np.searchsorted(segment.breaks, place, "right"))
    file = int(segment.files_at(np.array([place]))[0])
    low = int(np.searchsorted(segment.breaks, segment.starts[file], "right"))
    high = int(np.searchsorted(segment.breaks, segment.starts[file + 1]))
    first, last = max(low, at - LINES_BEFORE), min(high, at + LINES_BEHIND)
    places = segment.breaks[first : last + 1].tolist()
    depth = 0
    rows: list[tuple[int, str]] = []
    for start, end in pairwise(places):
        token = int(segment.tokens[start])
        if token < BOUNDARY and rows:
            depth += token % 3 - 1
        rows.append((depth, corpus.vocabulary.join(segment.tokens[start + 1 : end].tolist())))
    outermost = min((depth for depth, _ in rows), default=0)
    return "\n".join("  " * (depth - outermost) + text for depth, text in rows)


def share_around(text: str, gap: Gap) -> float:
    """The share of a snippet's lines that stand around the cursor."""
    here = (gap.prefix[-AROUND_BEFORE:] + gap.suffix[:AROUND_BEHIND]).split("\n")
    around = {line.strip() for line in here}
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return sum(line in around for line in lines) / max(1, len(lines))
