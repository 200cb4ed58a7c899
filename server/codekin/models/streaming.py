"""Turns generated tokens into text as they come: whole characters, up to the first stop string.

Knows nothing of models; tokens come as bytes.
"""

import codecs
from collections.abc import Sequence


class TextStream:
    """Collects bytes and gives out text that can no longer turn out to belong to a stop string."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.text = ""
        self.stopped = False
        self._stops = tuple(stops)
        self._held = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, piece: bytes) -> str:
        """The text that became certain with a token's bytes; `stopped` is set at a stop string."""
        return self._take(self._decoder.decode(piece))

    def finish(self) -> str:
        """What was held back, at the end of the tokens; half a character is left out."""
        rest, self._held = self._held, ""
        self.text += rest
        return rest

    def _take(self, text: str) -> str:
        if self.stopped:
            return ""
        held = self._held + text
        found = [place for stop in self._stops if (place := held.find(stop)) >= 0]
        if found:
            self.stopped = True
            certain, self._held = held[: min(found)], ""
        else:
            keep = max((_overlap(held, stop) for stop in self._stops), default=0)
            certain, self._held = held[: len(held) - keep], held[len(held) - keep :]
        self.text += certain
        return certain


def _overlap(text: str, stop: str) -> int:
    """How many of the text's last characters may be the beginning of a stop string."""
    longest = min(len(text), len(stop) - 1)
    return next((length for length in range(longest, 0, -1) if stop.startswith(text[-length:])), 0)
