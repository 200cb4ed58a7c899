"""Line numbers of byte offsets; lines end where the language server protocol says: at LF, CRLF or CR."""

import re
from bisect import bisect_right

_BREAK = re.compile(rb"\r\n|\n|\r")


class Lines:
    """The lines of a text, numbered from 1."""

    def __init__(self, source: bytes) -> None:
        breaks = [match.span() for match in _BREAK.finditer(source)]
        self._starts = [0, *(end for _, end in breaks), len(source) + 1]
        self._ends = [*(start for start, _ in breaks), len(source)]

    def number(self, offset: int) -> int:
        """The number of the line an offset is on."""
        return min(bisect_right(self._starts, offset), len(self._ends))

    def start_of(self, number: int) -> int:
        """The offset of a line's first byte; past the text for the line after the last."""
        return self._starts[min(number, len(self._starts)) - 1]

    def end_of(self, number: int) -> int:
        """The offset behind a line's last byte, without its line break."""
        return self._ends[min(number, len(self._ends)) - 1]
