"""Reads files below the workspace root and decides from name and bytes whether they are indexed.

No symlink is followed, no FIFO waited for, no size limit exceeded; each skipped path gets a reason.

It decodes text and recognises binary, minified, generated and secret files.

Each folder is opened relative to its parent's descriptor, so a path that changes during the read cannot lead outside.
"""

import codecs
import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final

from codekin.parsing.secrets import contains_secret
from codekin.util.files import FILE_FLAGS, open_folder_below


class SkipReason(StrEnum):
    """Why a path is not in the index; the values are stable, short and shown to users."""

    GITIGNORE = "ignored by git"
    CODEKINIGNORE = "ignored by .codekinignore"
    SETTINGS = "ignored by settings"
    BUILT_IN = "build or dependency folder"
    NESTED_REPOSITORY = "nested repository"
    SYMLINK = "symlink"
    SPECIAL = "special file"
    UNREADABLE = "unreadable"
    NAME = "unprintable name"
    SECRET = "secret"  # noqa: S105  (the reason, not a secret)
    TOO_DEEP = "nested too deep"
    TOO_LARGE = "too large"
    BINARY = "binary"
    MINIFIED = "minified"
    GENERATED = "generated"
    LANGUAGE = "unknown language"
    FAILED = "could not be read as code"


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A regular file that may be indexed according to its name; its content is not read yet."""

    path: str
    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class SkippedPath:
    """A path left out; a folder's path ends with a slash and means all below it."""

    path: str
    reason: SkipReason


# C0 and C1 controls, the marks that reorder text, line separators, and undecodable bytes: such
# a name could break a line-based protocol, spoof a terminal, or not be stored as UTF-8 at all.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def is_printable(name: str) -> bool:
    """Whether a file's name is valid UTF-8 without control, line-breaking or bidi characters."""
    return _UNPRINTABLE.search(name) is None


def escape_unprintable(path: str) -> str:
    """The path with unprintable characters escaped, fit for storage and display."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode("ascii"), path)


_BINARY_SIGNATURES: Final = (
    b"\x7fELF",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"%PDF-",
    b"FOR1",
)
_BYTE_ORDER_MARKS: Final = (  # UTF-32's little-endian mark begins with UTF-16's, so it is first
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROLS: Final = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
_MAX_CONTROL_RATIO: Final = 0.01

_LONGEST_LINE: Final = 20_000
_MINIFIED_MIN_LENGTH: Final = 5_000
_MINIFIED_MEAN_LINE: Final = 400

_MARKER_LINES: Final = 20
_COMMENT_SIGNS: Final = ("#", "//", "/*", "*", "--", ";", "%")
_GENERATED: Final = re.compile(
    r"@generated\b"
    r"|\bgenerated\b.{0,200}\bdo not (?:edit|modify|change)\b"
    r"|\bdo not (?:edit|modify|change)\b.{0,200}\bgenerated\b"
    r"|^\W{0,8}(?:this (?:file|code|module) (?:is|was|has been) )?"
    r"(?:auto(?:matically)?[- ]?)?generated (?:by|from|with) "
    r"|\bauto(?:matically)?[- ]?generated (?:file|code)\b",
    re.IGNORECASE,
)


def decode_text(data: bytes) -> str | None:
    """The text without its byte-order mark, or None for a binary; what is not UTF-8 is taken for Latin-1."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _decode_strictly(data[len(mark) :], encoding)
    if b"\0" in data or data.startswith(_BINARY_SIGNATURES):
        return None
    text = _decode_strictly(data, "utf-8")
    return text if text is not None else _decode_latin1(data)


def find_skip_reason(text: str) -> SkipReason | None:
    """Why a text is left out of the index, or None."""
    if "\0" in text:
        return SkipReason.BINARY
    if contains_secret(text):
        return SkipReason.SECRET
    if _is_minified(text):
        return SkipReason.MINIFIED
    return SkipReason.GENERATED if _is_generated(text) else None


def _decode_strictly(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _decode_latin1(data: bytes) -> str | None:
    """Latin-1 decodes any byte, so text is recognised by its small number of control characters."""
    text = data.decode("latin-1")
    return text if len(_CONTROLS.findall(text)) <= _MAX_CONTROL_RATIO * len(text) else None


def _is_minified(text: str) -> bool:
    lines = text.split("\n")
    if max(map(len, lines)) > _LONGEST_LINE:
        return True
    return len(text) > _MINIFIED_MIN_LENGTH and len(text) / len(lines) > _MINIFIED_MEAN_LINE


def _is_generated(text: str) -> bool:
    """Whether a comment near the top, or two lines of it together, marks the file as generated."""
    lines = [line[:400] for line in text[:8_000].split("\n", _MARKER_LINES)[:_MARKER_LINES]]
    comments = [line.strip() if line.lstrip().startswith(_COMMENT_SIGNS) else "" for line in lines]
    pairs = (f"{first} {second}" for first, second in zip(comments, [*comments[1:], ""], strict=True) if first)
    return any(_GENERATED.search(pair) for pair in pairs)


_MISSING_ERRNOS: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
# A racing read within this distance of the last write may have missed a second write that
# left the same size and time stamp; coarse file systems keep whole seconds.
_RACY_MTIME_NS: Final = 2_000_000_000


@dataclass(frozen=True, slots=True)
class WorkspaceRoot:
    """The workspace's folder; paths below it are relative, with forward slashes."""

    folder: Path

    def exists(self, folder: str, name: str) -> bool:
        """Whether `name` exists in `folder`, without following a symlink."""
        try:
            with self.opened(folder) as descriptor:
                os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except OSError:
            return False
        return True

    @contextmanager
    def opened(self, folder: str) -> Iterator[int]:
        """A descriptor of a folder below the root, reached without following a symlink."""
        with open_folder_below(self.folder, folder) as descriptor:
            yield descriptor


@dataclass(frozen=True, slots=True)
class FileContent:
    """What a file holds: its text, or the reason to leave it out.

    `digest` is the SHA-256 (hex) of its bytes, empty if unread. `state` is from before the
    read; its time stamp is 0 where the file may change again without showing it, so that the
    next scan reads it once more.
    """

    state: ScannedFile
    digest: str = ""
    text: str = ""
    reason: SkipReason | None = None


def read_content(root: WorkspaceRoot, path: str, limit: int) -> FileContent | None:
    """A file's content, or None if it is gone; never more than `limit` bytes are read."""
    now_ns = time.time_ns()
    found = _open_and_read(root, path, limit)
    if found is None or isinstance(found, SkipReason):
        return None if found is None else FileContent(ScannedFile(path, 0, 0, 0), reason=found)
    data, status = found
    settled = status.st_mtime_ns < now_ns - _RACY_MTIME_NS
    state = ScannedFile(path, status.st_size, status.st_mtime_ns if settled else 0, status.st_ino)
    text = decode_text(data)
    reason = SkipReason.BINARY if text is None else find_skip_reason(text)
    return FileContent(state, sha256(data).hexdigest(), text if text and reason is None else "", reason)


def read_bytes(root: WorkspaceRoot, path: str, limit: int) -> bytes | SkipReason | None:
    """A regular file's bytes, the reason why not, or None if it is gone."""
    found = _open_and_read(root, path, limit)
    return found[0] if isinstance(found, tuple) else found


def _open_and_read(root: WorkspaceRoot, path: str, limit: int) -> tuple[bytes, os.stat_result] | SkipReason | None:
    folder, _, name = path.rpartition("/")
    try:
        with root.opened(folder) as parent:
            descriptor = os.open(name, FILE_FLAGS, dir_fd=parent)
        try:
            return _read_descriptor(descriptor, limit)
        finally:
            os.close(descriptor)
    except OSError as error:
        return skip_reason_for_error(error)


def _read_descriptor(descriptor: int, limit: int) -> tuple[bytes, os.stat_result] | SkipReason:
    """The whole of an open regular file, with its state from before the first byte was read."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return SkipReason.SPECIAL
    if status.st_size > limit:
        return SkipReason.TOO_LARGE
    pieces: list[bytes] = []
    left = limit + 1
    while left and (piece := os.read(descriptor, left)):
        pieces.append(piece)
        left -= len(piece)
    return (b"".join(pieces), status) if left else SkipReason.TOO_LARGE


def skip_reason_for_error(error: OSError) -> SkipReason | None:
    """None for a path that is gone, else why it cannot be read."""
    if error.errno in _MISSING_ERRNOS:
        return None
    if error.errno == errno.ELOOP:
        return SkipReason.SYMLINK
    # A socket, and a device without its driver, cannot be opened at all.
    return SkipReason.SPECIAL if error.errno in (errno.ENXIO, errno.ENODEV) else SkipReason.UNREADABLE
