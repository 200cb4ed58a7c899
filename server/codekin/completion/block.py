"""Goes on from a completed line to a block: line by line, as long as the repository is sure.

Where the next line is indented is read from what follows such lines in the repository.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from codekin.completion.corpus import Corpus
from codekin.completion.gap import Gap
from codekin.completion.likelihood import Likelihood, rows_of
from codekin.completion.repository import Guess, guesses
from codekin.completion.situation import situation_of

SURE = 0.3
_BREAKS = np.arange(3, dtype=np.uint32)
_OUTWARD, _LEVEL, _INWARD = 0, 1, 2


def extended(corpus: Corpus, gap: Gap, first: Guess, most_lines: int) -> Iterator[Guess]:
    """The first line, then with each line of its block that is likely enough; its own confidence stays."""
    text = first.text
    base = len(gap.indentation)
    yield first
    for _ in range(most_lines - 1):
        indentation = _next_indentation(corpus, gap, text, base)
        if indentation is None:
            return
        ahead = replace(gap, prefix=gap.prefix + text + "\n" + indentation)
        found = guesses(corpus, ahead, limit=1)
        if not found or found[0].confidence < SURE or not found[0].text.strip():
            return
        text += "\n" + indentation + found[0].text
        yield replace(first, text=text)
        if len(indentation) <= base:
            return


def _next_indentation(corpus: Corpus, gap: Gap, text: str, base: int) -> str | None:
    """The white space of the line behind `text`, None where the block is over."""
    line = (gap.prefix + text).rpartition("\n")[2]
    here = len(line) - len(line.lstrip())
    step = _next_step(corpus, replace(gap, prefix=gap.prefix + text))
    unit = indentation_unit(gap)
    width = here + unit * (step == _INWARD) - unit * (step == _OUTWARD)
    if width < base or (width == base and "\n" not in text):
        return None
    return (gap.indentation[:1] or " ") * width


def _next_step(corpus: Corpus, gap: Gap) -> int:
    """Whether lines behind such a line mostly stand further out, level or further in."""
    situation = situation_of(corpus.vocabulary, gap)
    typed = corpus.vocabulary.encode(situation.typed)[0] if situation.typed else situation.before[:0]
    before = np.concatenate([situation.before, typed])
    rows, lengths = rows_of(before, [_BREAKS[step : step + 1] for step in range(3)], before[:0])
    is_scored = np.arange(rows.shape[1])[None, :] == lengths[:, None] - 1
    scores = Likelihood(corpus, situation).log_probabilities(rows, is_scored)
    return int(scores.sum(axis=1).argmax())


def indentation_unit(gap: Gap) -> int:
    """The width of one level in a document: the commonest step inward."""
    widths = [
        len(line) for line in re.findall(r"^[ \t]*(?=\S)", gap.prefix[-20_000:] + gap.suffix[:20_000], re.MULTILINE)
    ]
    steps = Counter(deeper - wide for wide, deeper in pairwise(widths) if 0 < deeper - wide <= 8)
    return steps.most_common(1)[0][0] if steps else 2


def after_acceptance(gap: Gap) -> Gap:
    """The gap at the start of the next line, indented as an editor would."""
    line = gap.line_before
    deeper = line.rstrip().endswith(("do", "{", "(", "[", "->", "fn", ":"))
    width = len(gap.indentation) + indentation_unit(gap) * deeper
    return replace(gap, prefix=gap.prefix + "\n" + (gap.indentation[:1] or " ") * width)
