"""SHA-256 of files, and the one that a file was fetched with.

Loads nothing heavy: whether a model is here is asked while torch may still be loading.
"""

import re
from hashlib import sha256
from pathlib import Path

_DIGEST = re.compile(r"[0-9a-f]{64}")


def told_digest(path: Path) -> str:
    """The SHA-256 by which the hub's cache names a file, or that its program noted beside one; empty for neither."""
    note = path.parent / ".cache" / "huggingface" / "download" / f"{path.name}.metadata"
    lines = note.read_text(encoding="utf-8").split() if note.is_file() else []
    return next((said for said in (path.resolve().name, *lines[1:2]) if _DIGEST.fullmatch(said)), "")


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
