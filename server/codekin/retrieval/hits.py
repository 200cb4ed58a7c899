"""A fragment that was found, as the place that is shown."""

from collections.abc import Iterable

from codekin.records import Fragment, Hit
from codekin.syntax import lines_before_code

_DIGITS = 4


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
