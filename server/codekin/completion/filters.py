"""What of a raw completion may be shown: pure functions from text to text, each for one kind of nuisance.

They look at the document around the cursor and know nothing of where the text came from. Nothing is ever added.
"""

import re
from collections.abc import Callable
from difflib import SequenceMatcher

from codekin.completion.balance import balance, owed
from codekin.completion.gap import Gap
from codekin.syntax import error_count

LEAST_CHARACTERS = 2
LARGEST_PARSED = 60_000
_NEARLY = 0.9
_CLOSING = re.compile(r"[\s)\]}>;,'\"]*(?:\bend\b)?[\s)\]};,]*")
_BLOCK_END = re.compile(r"\s*(?:end\b|[)\]}]).*")


def filtered(gap: Gap, text: str) -> str:
    """The part of a completion worth showing, empty for none."""
    for change in _STEPS:
        text = change(gap, text)
        if not text.strip():
            return ""
    return text if len(text.strip()) >= LEAST_CHARACTERS or gap.line_before.strip() else ""


def without_blank_end(_gap: Gap, text: str) -> str:
    """Drops white space at the end, and blank lines at the start of a line that is already begun."""
    return text.rstrip()


def without_line_behind(gap: Gap, text: str) -> str:
    """Drops what already stands behind the cursor; before text that a completion does not lead to, shows nothing."""
    behind = gap.line_behind.rstrip()
    if not behind:
        return text
    first = text.partition("\n")[0]
    if first.endswith(behind):
        return first[: -len(behind)]
    if not _CLOSING.fullmatch(behind):
        return ""
    shared = next((length for length in range(len(behind), 0, -1) if first.endswith(behind[:length])), 0)
    return first[: len(first) - shared]


def without_next_lines(gap: Gap, text: str) -> str:
    """Stops before the line that stands below already, or one nearly the same."""
    below = _next_line(gap)
    lines = text.split("\n")
    if len(below) < 3 or _BLOCK_END.fullmatch(below):
        return text  # closers are looked at by their indentation
    if _alike((gap.line_before + lines[0]).strip(), below) and not gap.line_before.strip():
        return ""
    kept = next((at for at, line in enumerate(lines[1:], 1) if _alike(line.strip(), below)), len(lines))
    return "\n".join(lines[:kept])


def without_repetition(gap: Gap, text: str) -> str:
    """Stops where lines begin to repeat: the line above again, one line twice, or a loop of lines."""
    above = gap.prefix[: len(gap.prefix) - len(gap.line_before)].rstrip("\n").rpartition("\n")[2].strip()
    lines = text.split("\n")
    first = (gap.line_before + lines[0]).strip()
    if len(first) > 6 and first == above:
        return ""
    seen: dict[str, int] = {first: 1}
    for at, line in enumerate(lines[1:], 1):
        bare = line.strip()
        seen[bare] = seen.get(bare, 0) + 1
        if len(bare) > 6 and (bare == lines[at - 1].strip() or seen[bare] > 2):
            return "\n".join(lines[:at])
    return text


def without_stray_closers(gap: Gap, text: str) -> str:
    """Cuts at the first closing bracket or word that nothing before it opened, or that stands below already."""
    found = balance(gap.language, text)
    if not found.strays:
        return text
    on_line = balance(gap.language, gap.line_before).opened
    allowed = list(reversed(on_line))
    if len(found.strays) > len(allowed) and len(gap.prefix) + len(gap.suffix) <= LARGEST_PARSED:
        allowed = list(owed(gap.language, gap.prefix, gap.suffix))
    for at, (closer, offset) in enumerate(zip(found.closed, found.strays, strict=True)):
        if at >= len(allowed) or allowed[at] != closer:
            return text[:offset].rstrip()
    return text


def within_indentation(gap: Gap, text: str) -> str:
    """Keeps to the scope: stops at a line further out than the first, but for the closer of what was opened."""
    lines = text.split("\n")
    width = len(gap.indentation.expandtabs())
    for at, line in enumerate(lines[1:], 1):
        if line.strip() and _width(line) < width:
            return "\n".join(lines[:at])
        if line.strip() and _width(line) == width and _BLOCK_END.fullmatch(line):
            return "\n".join(lines[: at + 1])
    return text


def without_doubled_end(gap: Gap, text: str) -> str:
    """Drops a last line that closes what the next line of the document closes."""
    lines = text.split("\n")
    below = _next_line(gap)
    if len(lines) < 2 or lines[-1].strip() != below or not _BLOCK_END.fullmatch(lines[-1]):
        return text
    if _width(lines[-1]) == _width(_raw_next_line(gap)):
        return "\n".join(lines[:-1])
    return text


def cut_to_parse(gap: Gap, text: str) -> str:
    """Cuts lines from the end until the document parses as well as before.

    Where it never does, what is left open is taken as closed: the line that opens a block may be shown before the rest.
    """
    if len(gap.prefix) + len(gap.suffix) > LARGEST_PARSED:
        return text
    before = error_count(gap.language, gap.prefix + gap.suffix)
    lines = text.split("\n")
    kept = ["\n".join(lines[:count]) for count in range(len(lines), 0, -1)]
    closed = (one for one in kept if _parses_closed(gap, one, before))
    return next((one for one in kept if _errors(gap, one) <= before), None) or next(closed, "")


def _parses_closed(gap: Gap, text: str, errors_before: int) -> bool:
    closers = balance(gap.language, text).opened
    closed = text + "".join(f"\n{closer}" for closer in reversed(closers))
    return bool(closers) and _errors(gap, closed) <= errors_before


def _errors(gap: Gap, text: str) -> int:
    return error_count(gap.language, gap.prefix + text + gap.suffix)


def _raw_next_line(gap: Gap) -> str:
    below = gap.suffix.partition("\n")[2]
    return next((line for line in below.split("\n") if line.strip()), "")


def _next_line(gap: Gap) -> str:
    return _raw_next_line(gap).strip()


def _width(line: str) -> int:
    line = line.expandtabs()
    return len(line) - len(line.lstrip())


def _alike(one: str, other: str) -> bool:
    if one == other:
        return True
    if min(len(one), len(other)) < 8 or abs(len(one) - len(other)) > 0.2 * max(len(one), len(other)):
        return False
    return SequenceMatcher(None, one, other, autojunk=False).ratio() > _NEARLY and _BLOCK_END.fullmatch(one) is None


_STEPS: tuple[Callable[[Gap, str], str], ...] = (
    without_blank_end,
    without_line_behind,
    without_next_lines,
    without_repetition,
    within_indentation,
    without_doubled_end,
    without_stray_closers,
)
