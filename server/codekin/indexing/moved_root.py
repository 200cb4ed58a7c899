"""Keeps the index and the checkpoints of a folder that was renamed or moved within its file system.

Both are filed under the folder's path. Beside the index lies what a move leaves as it is: the inodes of the folder and
of its files.
"""

import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from codekin import paths
from codekin.util.files import LockHeldError, acquire_lock, write_atomically

log = logging.getLogger(__name__)

_IDENTITY_FILE: Final = "root.json"
_WRITER_LOCK: Final = "writer.lock"
_MAX_ENTRIES: Final = 50


def adopt_moved_index(data: Path, root: Path) -> bool:
    """Takes over the index of the folder that this one was before it was moved, if it has none; whether it did."""
    folder = paths.index_dir(data, root)
    if folder.exists() or not folder.parent.is_dir():
        return False
    here = _identity(root)
    for other in sorted(folder.parent.iterdir()):
        known = _read_identity(other)
        if known and not Path(str(known.get("root"))).exists() and _is_same(known, here):
            return _move(data, other, folder)
    return False


def record_root(data: Path, root: Path) -> None:
    """Notes the folder's identity beside its index."""
    with suppress(OSError):  # a full disk costs the adoption after a move, not the index
        write_atomically(paths.index_dir(data, root) / _IDENTITY_FILE, json.dumps(_identity(root)))


def _move(data: Path, other: Path, folder: Path) -> bool:
    """Renames the index and the checkpoints; False where the old folder's indexer still runs."""
    checkpoints = paths.checkpoints_dir(data)
    try:
        acquire_lock(other / _WRITER_LOCK).release()
        other.rename(folder)
        if (checkpoints / other.name).is_dir() and not (checkpoints / folder.name).exists():
            (checkpoints / other.name).rename(checkpoints / folder.name)
    except (LockHeldError, OSError) as error:
        log.info("The index of a moved folder was not taken over: %s", error)
        return False
    return True


def _identity(root: Path) -> dict[str, Any]:
    state = root.stat()
    with os.scandir(root) as found:
        entries = sorted((entry.name, entry.inode()) for entry in found)[:_MAX_ENTRIES]
    return {"root": str(root), "device": state.st_dev, "inode": state.st_ino, "entries": dict(entries)}


def _is_same(known: dict[str, Any], here: dict[str, Any]) -> bool:
    """Whether a folder is the one that was known; an inode alone may have been given to another one since."""
    entries = known.get("entries")
    if not isinstance(entries, dict) or (known.get("device"), known.get("inode")) != (here["device"], here["inode"]):
        return False
    kept = sum(here["entries"].get(name) == inode for name, inode in entries.items())
    return bool(kept > 0 and 2 * kept >= len(entries))


def _read_identity(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / _IDENTITY_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
