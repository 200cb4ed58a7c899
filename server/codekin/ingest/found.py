"""What a look at the working tree finds: a file to index, or a path left out with its reason.

Knows nothing of how a path was found, nor of its content.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
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
    """A regular file whose name says that it may be indexed; its content is not read yet."""

    path: str
    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A path left out; a folder's path ends with a slash and stands for all below it."""

    path: str
    reason: Reason


# C0 and C1 controls, the marks that reorder text, line separators, and undecodable bytes: such
# a name could break a line-based protocol, spoof a terminal, or not be stored as UTF-8 at all.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(name: str) -> bool:
    """Whether a file's name is valid UTF-8 without control, line-breaking or bidi characters."""
    return _UNPRINTABLE.search(name) is None


def shown(path: str) -> str:
    """The path with unprintable characters escaped, fit for storage and display."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode("ascii"), path)
