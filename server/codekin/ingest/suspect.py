"""Remembers which file was being read when the process died, so that one file cannot block all others.

A file that was at hand in several deaths in a row is put off until everything else is done.
It is never given up for that: the process may as well have been killed from outside.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_FILE: Final = "reading.json"
_DEATHS: Final = 3


class Suspect:
    """The file at hand, noted beside the index; `path` is the one to put off, or empty."""

    def __init__(self, folder: Path) -> None:
        self._last, self._deaths = _read(folder / _FILE)
        self._deaths += bool(self._last)
        self._note = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.path = self._last if self._deaths >= _DEATHS else ""

    def enter(self, path: str) -> None:
        """Notes that a file is about to be read; only deaths in a row at the same one count."""
        self._write(json.dumps({"path": path, "deaths": self._deaths if path == self._last else 0}))

    def leave(self) -> None:
        """Notes that no file is being read."""
        self._write("")

    def close(self) -> None:
        """Closes the note."""
        os.close(self._note)

    def _write(self, text: str) -> None:
        with suppress(OSError):  # a full disk must not stop the reading
            os.ftruncate(self._note, 0)
            os.pwrite(self._note, text.encode(), 0)


def _read(note: Path) -> tuple[str, int]:
    try:
        found = json.loads(note.read_bytes())
        return str(found["path"]), int(found["deaths"])
    except (OSError, ValueError, TypeError, KeyError):
        return "", 0
