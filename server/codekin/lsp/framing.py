"""Bytes from the client to messages, whatever the bytes are.

Knows the base protocol's headers and nothing of what the messages say. Whatever is broken is
reported as a `Fault` and the reading goes on at the next header, so that no input makes the
server deaf: a raw line break followed by a header cannot stand inside a JSON message, where
line breaks in strings are escaped, so such a place always starts a new message.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

LARGEST_MESSAGE = 64 * 2**20
"""Bytes; no editor sends a file of this size, and a wrong length must not be waited for."""

LONGEST_HEADER = 8 * 2**10
PARSE_ERROR, INVALID_REQUEST = -32700, -32600

# The last one in the line: what is left of a broken message may stand before it.
_LENGTH = re.compile(rb".*content-length[ \t]*:?[ \t]*(.*)", re.IGNORECASE | re.DOTALL)
_NEXT_HEADER = re.compile(rb"content-length[ \t]*:?[ \t]*[+-]?\d+[ \t]*\r?\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fault:
    """What could not be read, as the JSON-RPC error it is answered with."""

    code: int
    message: str


class FrameReader:
    """Takes bytes in pieces of any size and gives out what is complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._length: int | None = None
        self._seen_header = False
        self._body_size: int | None = None
        self._searched = 0

    def feed(self, data: bytes) -> list[Any | Fault]:
        """The messages (JSON values) and faults that `data` completes, in order."""
        self._buffer += data
        found: list[Any | Fault] = []
        progress = True
        while progress:
            progress = self._read_header_line(found) if self._body_size is None else self._read_body(found)
        return found

    def _read_header_line(self, found: list[Any | Fault]) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0:
            del self._buffer[:-LONGEST_HEADER]
            return False
        line = bytes(self._buffer[max(end - LONGEST_HEADER, 0) : end]).strip()
        del self._buffer[: end + 1]
        fault = self._take_header(line) if line else self._end_headers()
        if fault is not None:
            found.append(fault)
        return True

    def _take_header(self, line: bytes) -> Fault | None:
        self._seen_header = True
        match = _LENGTH.match(line)
        if match is None:
            return None
        self._length = _length(match[1])
        if self._length is not None:
            return None
        self._seen_header = False  # told once; the blank line that follows needs no second fault
        shown = match[1][:40].decode("ascii", "replace")
        return Fault(INVALID_REQUEST, f"Content-Length must be from 0 to {LARGEST_MESSAGE}, not {shown!r}.")

    def _end_headers(self) -> Fault | None:
        seen, self._seen_header = self._seen_header, False
        self._body_size, self._length, self._searched = self._length, None, 0
        if self._body_size is None and seen:
            return Fault(INVALID_REQUEST, "A message needs a Content-Length header.")
        return None

    def _read_body(self, found: list[Any | Fault]) -> bool:
        size = self._body_size or 0
        message: Any | Fault = None
        if len(self._buffer) >= size:
            message = parse(bytes(self._buffer[:size]))
        if len(self._buffer) < size or isinstance(message, Fault):
            cut = self._find_header(size)
            if cut is None and len(self._buffer) < size:
                return False
            if cut is not None:
                size, message = cut, parse(bytes(self._buffer[:cut]))
        found.append(message)
        del self._buffer[:size]
        self._body_size = None
        return True

    def _find_header(self, size: int) -> int | None:
        """Where the next message's header stands inside this one's body, if it was cut short."""
        start = max(self._searched - LONGEST_HEADER, 0)
        self._searched = len(self._buffer)
        # A raw line break is rare in JSON as clients write it, and finding none is fast.
        if self._buffer.find(b"\n", start) < 0:
            return None
        match = _NEXT_HEADER.search(self._buffer, start)
        return match.start() if match is not None and match.start() < size else None


def parse(body: bytes) -> Any | Fault:
    """The JSON value in `body`, or why there is none."""
    try:
        return json.loads(body.decode("utf-8"))
    except RecursionError:
        return Fault(PARSE_ERROR, "The message is nested too deeply.")
    except UnicodeDecodeError:
        return Fault(PARSE_ERROR, "The message is not UTF-8.")
    except ValueError as error:
        return Fault(PARSE_ERROR, f"The message is not JSON: {error}.")


def frame(body: bytes) -> bytes:
    """The message as it goes over the wire."""
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


def _length(value: bytes) -> int | None:
    digits = value.strip()
    if not digits.isdigit() or len(digits) > 18:
        return None
    length = int(digits)
    return length if length <= LARGEST_MESSAGE else None
