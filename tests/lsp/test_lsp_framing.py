"""No bytes make the server deaf or dead: the next good message is always read."""

import json
import random

import pytest

from codekin.lsp.transport import MAX_MESSAGE_BYTES, FrameReader, JsonRpcError, parse_message
from fakes import frame_message

ECHO = {"jsonrpc": "2.0", "id": 1, "method": "echo"}
GOOD = frame_message(json.dumps(ECHO).encode())
BODY = GOOD.split(b"\r\n\r\n", 1)[1]


def read(data: bytes) -> list:
    return FrameReader().feed(data)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: %d\r\n\r\n",
        b"content-length: %d\r\n\r\n",
        b"CONTENT-LENGTH:%d\r\n\r\n",
        b"Content-Length:   %d  \r\n\r\n",
        b"Content-Length: %d\n\n",
        b"Content-Type: application/vscode-jsonrpc; charset=utf8\r\nContent-Length: %d\r\n\r\n",
        b"Content-Length: %d\r\nX-Odd: \xff\xfe\r\n\r\n",
        b"\r\n\r\nContent-Length: %d\r\n\r\n",
    ],
)
def test_odd_headers_are_read(head):
    """Lowercase headers, a missing space and bare line feeds are read."""
    assert read(head % len(BODY) + BODY + GOOD) == [ECHO, ECHO]


@pytest.mark.parametrize("length", [b"1000000000000", b"-5", b"1e12", b"", b"abc", b"9" * 5000, b"\xc2\xb2"])
def test_absurd_lengths_are_answered_and_passed_over(length):
    """A length out of bounds gets an error, and the next message is read."""
    fault, *rest = read(b"Content-Length: " + length + b"\r\n\r\n" + BODY + GOOD)
    assert fault.code == -32600
    assert str(MAX_MESSAGE_BYTES) in fault.message
    assert rest == [ECHO]


@pytest.mark.parametrize("claimed", [len(BODY) + 1, len(BODY) + 30, len(BODY) + 10_000])
@pytest.mark.parametrize("body", [BODY, BODY[:20]])
def test_a_truncated_body_does_not_swallow_what_follows(claimed, body):
    """After a body shorter than its length, the next message is read at once."""
    first, *rest = read(b"Content-Length: %d\r\n\r\n" % claimed + body + GOOD)
    assert (first == ECHO) if body is BODY else (first.code == -32700)
    assert rest == [ECHO]


def test_a_length_that_is_too_short_costs_one_message():
    """What is left of the body is passed over up to the next header."""
    fault, *rest = read(b"Content-Length: 10\r\n\r\n" + BODY + GOOD)
    assert fault.code == -32700
    assert rest == [ECHO]


@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff\xfe{}", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000, b"", b"{'a': 1}", b"\x00" * 64],
)
def test_bodies_that_are_not_json_are_answered(body):
    """Nesting of 100,000 levels and other non-messages are a parse error, not a crash."""
    fault, *rest = read(frame_message(body) + GOOD)
    assert fault.code == -32700
    assert rest == [ECHO]


def test_headers_without_a_length_are_answered():
    """A header without a length gets an error, and reading continues at the next header."""
    fault, *rest = read(b"Content-Type: x\r\n\r\n" + BODY + GOOD)
    assert fault.code == -32600
    assert rest == [ECHO]


def test_a_header_inside_a_string_is_only_text():
    """The text `Content-Length` inside a body does not begin a message."""
    message = {"jsonrpc": "2.0", "method": "x", "params": "Content-Length: 12\r\n\r\n{"}
    assert read(frame_message(json.dumps(message).encode()) + GOOD) == [message, ECHO]


def test_pretty_printed_messages_are_read():
    """JSON may hold raw line breaks between its tokens."""
    assert read(frame_message(json.dumps(ECHO, indent=2).encode()) + GOOD) == [ECHO, ECHO]


def test_dripping_frames_come_out_whole():
    """A slow client sends a byte at a time."""
    reader = FrameReader()
    found = [message for byte in GOOD * 3 for message in reader.feed(bytes([byte]))]
    assert found == [ECHO] * 3


def test_reads_of_any_size_give_the_same_messages():
    """Any split of the bytes gives the same messages, broken input included."""
    parts = [
        GOOD,
        b"Content-Length: -1\r\n\r\n",
        frame_message(b"{"),
        b"garbage\n",
        b"Content-Length: 500\r\n\r\n{",
        GOOD,
        b"\x00\n",
        GOOD,
    ]
    for seed in range(200):
        source = random.Random(seed)
        data = b"".join(source.choices(parts, k=12)) + GOOD
        reader, found, at = FrameReader(), [], 0
        while at < len(data):
            step = source.randrange(1, 40)
            found += reader.feed(data[at : at + step])
            at += step
        assert found[-1] == ECHO
        assert [m for m in found if m == ECHO] == [m for m in read(data) if m == ECHO]


def test_endless_garbage_is_not_kept():
    """A stream without a line break is read in bounded memory."""
    reader = FrameReader()
    for _ in range(100):
        assert reader.feed(b"x" * 10_000) == []
    assert len(reader._buffer) < 20_000
    assert reader.feed(b"\r\n\r\n" + GOOD)[-1] == ECHO


def test_fault_is_no_message():
    """A malformed message is distinct from every JSON value."""
    assert parse_message(b"null") is None
    assert isinstance(parse_message(b"nul"), JsonRpcError)
