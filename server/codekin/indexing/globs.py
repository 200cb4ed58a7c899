"""Parses and matches git's ignore patterns in linear time.

Follows gitignore(5) and git's wildmatch.c on bytes. A pattern is split at `**` into runs of segments; each run is
matched at its leftmost position, so nothing backtracks.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Final


@dataclass(frozen=True, slots=True)
class SegmentPattern:
    """One segment of a pattern: a regular expression, or the very name where `is_literal`."""

    expression: bytes
    name: bytes
    is_literal: bool

    def matches(self, name: bytes) -> bool:
        """Whether a path's segment is one of those meant."""
        return name == self.name if self.is_literal else _compile(self.expression).fullmatch(name) is not None


PatternSegment = SegmentPattern | None
"""A path segment's pattern; None is `**`."""

_MAX_PATTERN_BYTES: Final = 4096
"""Bytes; a longer line matches no path that a file system could hold."""

_SPECIAL: Final = re.compile(rb"[*?\[\\]")
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
class IgnorePattern:
    """One line of an ignore file; `segments` match a whole path below that file's folder."""

    segments: tuple[PatternSegment, ...]
    includes: bool
    folders_only: bool
    name_only: bool


def parse_pattern(line: bytes) -> IgnorePattern | None:
    """The pattern of one line, or None for a comment, an empty line or a malformed pattern."""
    text = _without_trailing_spaces(line.removesuffix(b"\r"))
    if not text or text.startswith(b"#") or len(text) > _MAX_PATTERN_BYTES:
        return None
    includes = text.startswith(b"!")
    text = text[1:] if includes else text
    folders_only = text.endswith(b"/")
    text = text[:-1] if folders_only else text
    name_only = b"/" not in text
    segments = _parse_segments(text.removeprefix(b"/"), crossing=not name_only)
    if segments is None:
        return None
    return IgnorePattern(segments, includes, folders_only, name_only)


_LITERAL_RUNS: Final = re.compile(rb"[^*?/]+")
_GRAM_BYTES: Final = 3


class PatternIndex:
    """The patterns of a file by bytes that a path must hold, so that few are tried on it, however many there are.

    A line is parsed when a path holds its bytes. Of equal lines the last one counts.
    """

    def __init__(self, data: bytes) -> None:
        lines = {line: number for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"))}
        self._lines = {
            number: line for line, number in lines.items() if line.strip(b" \r") and not line.startswith(b"#")
        }
        self._parsed: dict[int, IgnorePattern | None] = {}
        self._names: dict[bytes, list[int]] = {}
        self._grams: dict[bytes, list[tuple[int, bytes]]] = {}
        self._short: list[tuple[int, bytes]] = []
        for number, line in self._lines.items():
            self._add(number, line)
        self._gram_set = frozenset(self._grams)

    def __len__(self) -> int:
        return len(self._lines)

    def last_match(self, path: Sequence[bytes], *, folder: bool) -> IgnorePattern | None:
        """The last pattern that matches a path below the file's folder."""
        found = list(self._names.get(path[-1], ()))
        if self._grams or self._short:
            found += self._candidates(b"/".join(path))
        for number in sorted(found, reverse=True):
            pattern = self._pattern(number)
            if pattern is None or (pattern.folders_only and not folder):
                continue
            if matches_path(pattern.segments, path[-1:] if pattern.name_only else path):
                return pattern
        return None

    def _add(self, number: int, line: bytes) -> None:
        text = _without_trailing_spaces(line.removesuffix(b"\r")).removeprefix(b"!").removesuffix(b"/")
        if not _SPECIAL.search(text):
            self._names.setdefault(text.rpartition(b"/")[2], []).append(number)
            return
        literal = _required_literal(text)
        if len(literal) < _GRAM_BYTES:
            self._short.append((number, literal))
        else:
            self._grams.setdefault(literal[-_GRAM_BYTES:], []).append((number, literal))

    def _candidates(self, joined: bytes) -> list[int]:
        found = [number for number, literal in self._short if literal in joined]
        if self._grams:
            grams = {joined[at : at + _GRAM_BYTES] for at in range(len(joined) - _GRAM_BYTES + 1)}
            for gram in grams & self._gram_set:
                found += [number for number, literal in self._grams[gram] if literal in joined]
        return found

    def _pattern(self, number: int) -> IgnorePattern | None:
        if number not in self._parsed:
            self._parsed[number] = parse_pattern(self._lines[number])
        return self._parsed[number]


def _required_literal(text: bytes) -> bytes:
    """The longest run of bytes that a path must hold to match; empty where none is certain.

    Text in or between classes, and after a backslash, is not considered.
    """
    special = [at for at in (text.find(b"["), text.find(b"\\")) if at >= 0]
    parts = [text[: min(special)]] if special else [text]
    if special and b"\\" not in text:
        parts.append(text[text.rfind(b"]") + 1 :] if b"]" in text else b"")
    return max((run for part in parts for run in _LITERAL_RUNS.findall(part)), key=len, default=b"")


def matches_path(segments: Sequence[PatternSegment], path: Sequence[bytes]) -> bool:
    """Whether the pattern's segments match all of the path's segments."""
    head = _leading_run(segments)
    if len(path) < head or not _matches_run_at(segments[:head], path, 0):
        return False
    if head == len(segments):
        return len(path) == head
    position, runs = head, _runs(segments[head:])
    for run in runs[:-1]:
        found = _find_leftmost(run, path, position)
        if found is None:
            return False
        position = found + len(run)
    return _ends_with(runs[-1], path, position)


def _ends_with(run: Sequence[PatternSegment], path: Sequence[bytes], position: int) -> bool:
    """Whether the last run is at the path's end; a trailing `**` needs at least one segment."""
    if not run:
        return len(path) > position
    start = len(path) - len(run)
    return start >= position and _matches_run_at(run, path, start)


def _find_leftmost(run: Sequence[PatternSegment], path: Sequence[bytes], start: int) -> int | None:
    return next((at for at in range(start, len(path) - len(run) + 1) if _matches_run_at(run, path, at)), None)


def _matches_run_at(run: Sequence[PatternSegment], path: Sequence[bytes], at: int) -> bool:
    return all(part is not None and part.matches(path[at + n]) for n, part in enumerate(run))


def _leading_run(segments: Sequence[PatternSegment]) -> int:
    return next((n for n, part in enumerate(segments) if part is None), len(segments))


def _runs(segments: Sequence[PatternSegment]) -> list[list[PatternSegment]]:
    """The runs after each `**`; the first of `segments` is one."""
    runs: list[list[PatternSegment]] = []
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


def _parse_segments(text: bytes, *, crossing: bool) -> tuple[PatternSegment, ...] | None:
    """The compiled segments; `crossing` lets a segment of stars alone span folders. None: malformed."""
    if not _SPECIAL.search(text):
        return tuple(SegmentPattern(b"", part, is_literal=True) for part in text.split(b"/"))
    segments: list[PatternSegment] = []
    for atoms in _tokenize(text):
        if atoms is None:
            return None
        if crossing and len(atoms) > 1 and all(atom == b"*" for atom in atoms):
            segments.append(None)
        else:
            segments.append(_compile_segment(atoms))
    return tuple(segments)


def _tokenize(text: bytes) -> list[list[bytes] | None]:
    """For each segment its atoms: b"*", or a regular expression for one byte. [None]: malformed."""
    segments: list[list[bytes]] = [[]]
    at = 0
    while at < len(text):
        byte = text[at : at + 1]
        at += 1
        if byte == b"[":
            ended = _parse_class(text, at)
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


@lru_cache(maxsize=1 << 17)
def _compile(expression: bytes) -> re.Pattern[bytes]:
    return re.compile(expression, re.DOTALL)


def _is_literal(atom: bytes) -> bool:
    return (len(atom) == 1 and atom != b"*") or (len(atom) == 2 and atom.startswith(b"\\"))


def _compile_segment(atoms: Sequence[bytes]) -> SegmentPattern:
    """The pattern of a segment that is compiled when it is first matched."""
    name = b"".join(atom[-1:] for atom in takewhile(_is_literal, atoms))
    return SegmentPattern(_segment_expression(atoms), name, len(name) == len(atoms))


def _segment_expression(atoms: Sequence[bytes]) -> bytes:
    """Chunks between stars, each placed at its leftmost fit; the atomic group forbids another try."""
    chunks: list[list[bytes]] = [[]]
    for atom in atoms:
        if atom == b"*":
            chunks.append([])
        else:
            chunks[-1].append(atom)
    first, rest = b"".join(chunks[0]), [b"".join(chunk) for chunk in chunks[1:]]
    if not rest:
        return first
    middle = b"".join(b"(?>.*?" + chunk + b")" for chunk in rest[:-1] if chunk)
    return first + middle + b".*" + rest[-1]


def _parse_class(text: bytes, at: int) -> tuple[bytes, int] | None:
    """The expression of a class whose `[` precedes `at`, and where it ends; None: malformed."""
    negated = text[at : at + 1] in (b"!", b"^")
    at += negated
    members: list[bytes] = []
    previous = b""
    first = True
    while first or text[at : at + 1] != b"]":
        first = False
        member = _parse_class_member(text, at, previous)
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


def _parse_class_member(text: bytes, at: int, previous: bytes) -> tuple[bytes, bytes, int] | None:
    """A class's next member as an expression, what a range could start from, and where it ends."""
    byte = text[at : at + 1]
    if not byte:
        return None
    if byte == b"[" and text[at + 1 : at + 2] == b":":
        return _parse_named_class(text, at)
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


def _parse_named_class(text: bytes, at: int) -> tuple[bytes, bytes, int] | None:
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
