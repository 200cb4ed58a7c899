r"""Git's ignore patterns, matched in linear time whatever the pattern.

Follows gitignore(5) and git's wildmatch.c: patterns and paths are bytes, `*`, `?` and classes
stay within a path segment, `**` between slashes crosses them. A pattern is cut at its `**`
into runs of segments and each run is placed at the leftmost position where it fits, which is
always enough for a glob; inside a segment the same holds for `*`. So nothing backtracks, and
a hostile pattern such as `*a*a*a*a*b` costs no more than any other.
Knows nothing of files and folders on disk.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Segment = re.Pattern[bytes] | None
"""A compiled path segment; None is `**`."""

_LONGEST_PATTERN: Final = 4096
"""Bytes; a longer line matches no path that a file system could hold."""

_CLASSES: Final = {
    b"alnum": rb"0-9A-Za-z",
    b"alpha": rb"A-Za-z",
    b"blank": rb" \t",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": rb"0-9",
    b"graph": rb"!-~",
    b"lower": rb"a-z",
    b"print": rb" -~",
    b"punct": rb"!-/:-@\[-`{-~",
    b"space": rb" \t\n\r\f\v",
    b"upper": rb"A-Z",
    b"xdigit": rb"0-9A-Fa-f",
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of an ignore file; `segments` match a whole path below that file's folder."""

    segments: tuple[Segment, ...]
    includes: bool
    folders_only: bool
    name_only: bool


def parse_patterns(data: bytes) -> tuple[Pattern, ...]:
    """The patterns of an ignore file, in order; lines that can match nothing are left out."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return tuple(pattern for line in lines if (pattern := parse_pattern(line)) is not None)


def parse_pattern(line: bytes) -> Pattern | None:
    """The pattern of one line, or None for a comment, an empty line or a malformed pattern."""
    text = _without_trailing_spaces(line.removesuffix(b"\r"))
    if not text or text.startswith(b"#") or len(text) > _LONGEST_PATTERN:
        return None
    includes = text.startswith(b"!")
    text = text[1:] if includes else text
    folders_only = text.endswith(b"/")
    text = text[:-1] if folders_only else text
    name_only = b"/" not in text
    segments = _parse_segments(text.removeprefix(b"/"), crossing=not name_only)
    if segments is None:
        return None
    return Pattern(segments, includes, folders_only, name_only)


def fits(segments: Sequence[Segment], path: Sequence[bytes]) -> bool:
    """Whether the pattern's segments match all of the path's segments."""
    head = _leading_run(segments)
    if len(path) < head or not _run_at(segments[:head], path, 0):
        return False
    if head == len(segments):
        return len(path) == head
    position, runs = head, _runs(segments[head:])
    for run in runs[:-1]:
        found = _leftmost(run, path, position)
        if found is None:
            return False
        position = found + len(run)
    return _ends_with(runs[-1], path, position)


def _ends_with(run: Sequence[Segment], path: Sequence[bytes], position: int) -> bool:
    """Whether the last run stands at the path's end; a trailing `**` needs at least one segment."""
    if not run:
        return len(path) > position
    start = len(path) - len(run)
    return start >= position and _run_at(run, path, start)


def _leftmost(run: Sequence[Segment], path: Sequence[bytes], start: int) -> int | None:
    return next((at for at in range(start, len(path) - len(run) + 1) if _run_at(run, path, at)), None)


def _run_at(run: Sequence[Segment], path: Sequence[bytes], at: int) -> bool:
    return all(part is not None and part.fullmatch(path[at + n]) is not None for n, part in enumerate(run))


def _leading_run(segments: Sequence[Segment]) -> int:
    return next((n for n, part in enumerate(segments) if part is None), len(segments))


def _runs(segments: Sequence[Segment]) -> list[list[Segment]]:
    """The runs after each `**`; the first of `segments` is one."""
    runs: list[list[Segment]] = []
    for part in segments:
        if part is None:
            runs.append([])
        else:
            runs[-1].append(part)
    return [run for run in runs[:-1] if run] + runs[-1:]


def _without_trailing_spaces(line: bytes) -> bytes:
    kept = line.rstrip(b" ")
    backslashes = len(kept) - len(kept.rstrip(b"\\"))
    return kept + b" " if backslashes % 2 and len(kept) < len(line) else kept


def _parse_segments(text: bytes, *, crossing: bool) -> tuple[Segment, ...] | None:
    """The compiled segments; `crossing` lets a segment of stars alone span folders. None: malformed."""
    segments: list[Segment] = []
    for atoms in _tokenised(text):
        if atoms is None:
            return None
        if crossing and len(atoms) > 1 and all(atom == b"*" for atom in atoms):
            segments.append(None)
        else:
            segments.append(_compiled(atoms))
    return tuple(segments)


def _tokenised(text: bytes) -> list[list[bytes] | None]:
    """For each segment its atoms: b"*", or a regular expression for one byte. [None]: malformed."""
    segments: list[list[bytes]] = [[]]
    at = 0
    while at < len(text):
        byte = text[at : at + 1]
        at += 1
        if byte == b"[":
            ended = _class_end(text, at)
            if ended is None:
                return [None]
            expression, at = ended
            segments[-1].append(expression)
            continue
        if byte == b"\\":
            byte, at = text[at : at + 1], at + 1
            if not byte:
                return [None]
        elif byte in b"*?":
            segments[-1].append(b"*" if byte == b"*" else b"[^/]")
            continue
        if byte == b"/":
            segments.append([])
        else:
            segments[-1].append(re.escape(byte) if byte != b"*" else rb"\*")
    return list(segments)


def _compiled(atoms: Sequence[bytes]) -> re.Pattern[bytes]:
    """Chunks between stars, each placed at its leftmost fit; the atomic group forbids another try."""
    chunks: list[list[bytes]] = [[]]
    for atom in atoms:
        if atom == b"*":
            chunks.append([])
        else:
            chunks[-1].append(atom)
    first, rest = b"".join(chunks[0]), [b"".join(chunk) for chunk in chunks[1:]]
    if not rest:
        return re.compile(first, re.DOTALL)
    middle = b"".join(b"(?>.*?" + chunk + b")" for chunk in rest[:-1] if chunk)
    return re.compile(first + middle + b".*" + rest[-1], re.DOTALL)


def _class_end(text: bytes, at: int) -> tuple[bytes, int] | None:
    """The expression of a class whose `[` stands before `at`, and where it ends; None: malformed."""
    negated = text[at : at + 1] in (b"!", b"^")
    at += negated
    members: list[bytes] = []
    previous = b""
    first = True
    while first or text[at : at + 1] != b"]":
        first = False
        member = _class_member(text, at, previous)
        if member is None:
            return None
        expression, previous, at = member
        members.append(expression)
    body = b"".join(members)
    # A slash is never matched by a class; an empty body (a reversed range) matches nothing.
    inner = b"(?![" + body + b"])[^/]" if negated else b"(?!/)[" + body + b"]"
    if not body:
        inner = b"[^/]" if negated else b"(?!)"
    return inner, at + 1


def _class_member(text: bytes, at: int, previous: bytes) -> tuple[bytes, bytes, int] | None:
    """A class's next member as an expression, what a range could start from, and where it ends."""
    byte = text[at : at + 1]
    if not byte:
        return None
    if byte == b"[" and text[at + 1 : at + 2] == b":":
        return _named_class(text, at)
    if byte == b"-" and previous and text[at + 1 : at + 2] not in (b"", b"]"):
        last = text[at + 1 : at + 2]
        at += 2
        if last == b"\\":
            last, at = text[at : at + 1], at + 1
            if not last:
                return None
        return (_hex(previous) + b"-" + _hex(last) if previous <= last else b""), b"", at
    if byte == b"\\":
        byte, at = text[at + 1 : at + 2], at + 1
        if not byte:
            return None
    return _hex(byte), byte, at + 1


def _named_class(text: bytes, at: int) -> tuple[bytes, bytes, int] | None:
    """`[:alpha:]` and its like; without `:]` the bracket is a plain member."""
    end = text.find(b"]", at + 2)
    if end < 0:
        return None
    if end == at + 2 or text[end - 1 : end] != b":":
        return _hex(b"["), b"[", at + 1
    members = _CLASSES.get(text[at + 2 : end - 1])
    return None if members is None else (members, b"", end + 1)


def _hex(byte: bytes) -> bytes:
    return b"\\x%02x" % ord(byte)
