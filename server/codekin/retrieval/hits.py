"""A fragment that was found, as the place that is shown."""

from collections.abc import Iterable, Sequence

from codekin.records import Fragment, Hit
from codekin.syntax import lines_before_code

_DIGITS = 4
_FAINT, _CLEAR = 0.2, 0.6
"""A place with less than this part of its language's best score is noise; no best counts for more than a clear one."""


def hit_of(fragment: Fragment, score: float, reasons: Iterable[str]) -> Hit:
    """The place of a fragment, with its score and why it was found."""
    return Hit(
        path=fragment.path,
        name=fragment.name,
        kind=fragment.kind,
        language=fragment.language,
        start_line=fragment.start_line,
        end_line=fragment.end_line,
        code_line=fragment.start_line + lines_before_code(fragment.language, fragment.text),
        score=round(score, _DIGITS),
        reasons=tuple(reasons),
    )


def worth_showing(hits: Sequence[Hit]) -> list[Hit]:
    """The places without those that are noise beside the best in their language."""
    best: dict[str, float] = {}
    for hit in hits:
        best[hit.language] = max(best.get(hit.language, 0.0), min(hit.score, _CLEAR))
    return [hit for hit in hits if hit.score >= _FAINT * best[hit.language]]
