"""Identifies this build of Codekin and decides whether a daemon of another build is compatible.

A build is its version, the time of its newest source file and a digest of all of them.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

PROTOCOL = 1
"""Rises when a daemon and a client of different numbers cannot understand each other."""


@dataclass(frozen=True, slots=True)
class Build:
    """What each side of a handshake sends about itself."""

    version: str
    stamp: int
    digest: str
    protocol: int = PROTOCOL

    def age(self) -> tuple[list[int], int]:
        """Orders builds: the higher is the newer."""
        return [int(part) for part in re.findall(r"\d+", self.version)], self.stamp


@cache
def this_build() -> Build:
    """The build of the code on disk; CODEKIN_BUILD ("version+stamp+digest") pins it."""
    pinned = os.environ.get("CODEKIN_BUILD")
    return _parse_pinned_build(pinned) if pinned else _read_build()


def check_compatibility(greeting: Mapping[str, Any]) -> Literal["same", "usable", "older", "newer"]:
    """What a client does with a daemon that greets so: talk to the first two, replace an older one."""
    ours = this_build()
    theirs = Build(
        str(greeting.get("version", "0")),
        int(greeting.get("stamp", 0)),
        str(greeting.get("digest", "")),
        int(greeting.get("protocol", 0)),
    )
    if (theirs.version, theirs.digest, theirs.protocol) == (ours.version, ours.digest, ours.protocol):
        return "same"
    if theirs.age() <= ours.age():
        return "older"
    return "usable" if theirs.protocol == ours.protocol else "newer"


def _read_build() -> Build:
    digest, stamp = sha256(), 0
    package = Path(__file__).parents[2]
    for path in sorted(package.rglob("*.py")):
        stamp = max(stamp, int(path.stat().st_mtime))
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return Build(_version(), stamp, digest.hexdigest()[:16])


def _parse_pinned_build(text: str) -> Build:
    number, stamp, digest = [*text.split("+", 2), "0", ""][:3]
    return Build(number, int(stamp) if stamp.isdigit() else 0, digest)


def _version() -> str:
    try:
        return version("codekin")
    except PackageNotFoundError:
        return "0"
