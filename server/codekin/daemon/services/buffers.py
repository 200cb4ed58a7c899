"""The unsaved texts of editor windows, laid over the files for as long as their windows live.

Each window numbers its texts on its own, so versions of two windows are never compared. Where two windows have the
same file open, the text that was edited last counts; when its window closes it, the other window's text counts again.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from codekin.errors import UsageError

TOTAL_LIMIT = 64_000_000
"""Characters of unsaved text kept for each workspace."""

ANONYMOUS = ""
"""The window of a client that follows no events; its texts stay until it removes them."""


@dataclass(frozen=True, slots=True)
class BufferText:
    """One window's text of a file; `edited_at` is 0 where the window opened the file and changed nothing."""

    text: str
    version: int
    edited_at: int
    arrival: int


class WindowBuffers:
    """The texts of all windows on one workspace; changed on the event loop alone."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._owners: defaultdict[str, dict[str, BufferText]] = defaultdict(dict)
        self._streams: Counter[str] = Counter({ANONYMOUS: 1})
        self._arrivals = count()

    @property
    def texts(self) -> Mapping[str, str]:
        """The text that counts, by path."""
        return self._texts

    def attach(self, window: str) -> None:
        """A window begins to follow the workspace's events: its texts count from now on."""
        self._streams[window] += 1

    def detach(self, window: str) -> list[str]:
        """Ends a window's stream; its texts are dropped with its last stream. Returns the changed paths."""
        self._streams[window] -= 1
        if self._streams[window] > 0:
            return []
        del self._streams[window]
        owned = [path for path, owners in self._owners.items() if window in owners]
        return [path for path in owned if self._remove(path, window)]

    def put(
        self, path: str, text: str | None, *, window: str = ANONYMOUS, version: int = 1, edited_at: int = 0
    ) -> bool:
        """Take a window's text, or forget it where `text` is None; whether another text counts now.

        A window that does not follow the workspace is ignored: it has gone, or sends its texts again once it follows.
        A window sends its texts in order; of the anonymous ones a version below the last is ignored. Raises
        UsageError when all texts together are too long.
        """
        if not self._streams[window] or (window == ANONYMOUS and version < self._version(path)):
            return False
        if text is None:
            return self._remove(path, window)
        self._owners[path][window] = BufferText(text, version, edited_at, next(self._arrivals))
        changed = self._choose(path)
        if sum(map(len, self._texts.values())) > TOTAL_LIMIT:
            self._remove(path, window)
            raise UsageError(f"The unsaved texts are larger than {TOTAL_LIMIT} characters: save {path}.")
        return changed

    def _version(self, path: str) -> int:
        known = self._owners[path].get(ANONYMOUS) if path in self._owners else None
        return known.version if known else 0

    def _remove(self, path: str, window: str) -> bool:
        self._owners[path].pop(window, None)
        return self._choose(path)

    def _choose(self, path: str) -> bool:
        """Makes the last edited text current, or the latest unedited one; returns whether it changed."""
        before = self._texts.pop(path, None)
        if not self._owners[path]:
            del self._owners[path]
            return before is not None
        best = max(self._owners[path].values(), key=lambda buffer: (buffer.edited_at, buffer.arrival))
        self._texts[path] = best.text
        return best.text != before
