"""The JSON clients against servers that answer late, wrongly, in pieces, or not at all."""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from codekin.errors import HttpError
from codekin.http import AsyncJsonClient, JsonClient, parse_endpoint
from codekin.http.cancellation import PENDING, CancellableClient

Responder = Callable[[bytes], bytes]


def http(body: object, status: str = "200 OK", headers: str = "") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{headers}\r\n".encode() + content


@asynccontextmanager
async def serving(*answers: bytes) -> AsyncIterator[tuple[Path, list[bytes]]]:
    """A server that gives the answers in turn (the last one for ever), and what it was sent."""
    path, seen, left = Path(tempfile.mkdtemp(prefix="ck")) / "s", [], list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
        seen.append(head + await reader.readexactly(length))
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(serve, str(path)):
        yield path, seen


async def test_a_request_is_repeated_while_the_server_is_busy():
    """A client retries while the server answers that it is busy."""
    async with (
        serving(http({}, "503 Busy"), b"", http({"a": 1})) as (path, seen),
        AsyncJsonClient(parse_endpoint(path)) as client,
    ):
        assert await client.get("/x", a=1, b=None) == {"a": 1}
    assert len(seen) == 3
    assert seen[0].startswith(b"GET /x?a=1 ")


async def test_a_refusal_is_not_repeated_and_keeps_its_sentence():
    """A refused request is sent once, and its error carries the server's sentence."""
    refusal = http({"error": {"message": "No such model.", "type": "ModelError"}}, "404 Not Found")
    async with serving(refusal) as (path, seen), AsyncJsonClient(parse_endpoint(path)) as client:
        with pytest.raises(HttpError, match="No such model") as caught:
            await client.post("/x", {})
    assert (caught.value.status, caught.value.kind, len(seen)) == (404, "ModelError", 1)


@pytest.mark.parametrize("body", [b"<html>", b"\xff", b"[" * 100_000])
async def test_an_answer_that_is_no_json_is_an_error(body):
    """A response that is not JSON raises an error of ours."""
    async with serving(http(body)) as (path, _), AsyncJsonClient(parse_endpoint(path)) as client:
        with pytest.raises(HttpError, match="not JSON"):
            await client.get("/x")


async def test_a_server_that_stays_silent_is_given_up():
    """A server that does not answer within the timeout raises an error."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    path = Path(tempfile.mkdtemp(prefix="ck")) / "s"
    server = await asyncio.start_unix_server(silent, str(path))
    async with server, AsyncJsonClient(parse_endpoint(path, timeout=0.2)) as client:
        with pytest.raises(HttpError) as caught:
            await client.get("/x")
    assert caught.value.kind == "timeout"


async def test_no_listener_is_an_error_without_status():
    """A missing daemon raises an error without an HTTP status."""
    async with AsyncJsonClient(parse_endpoint(Path(tempfile.mkdtemp()) / "none", attempts=2)) as client:
        with pytest.raises(HttpError, match="cannot be reached") as caught:
            await client.get("/x")
    assert caught.value.status == 0


@pytest.mark.parametrize(
    ("kind", "body", "values"),
    [
        ("x-ndjson", b'{"a":1}\n\n{"a":2}\n', [{"a": 1}, {"a": 2}]),
        (
            "event-stream",
            b': hello\nevent: x\ndata: {"a":1}\n\ndata: {"a":2}\n\ndata: [DONE]\n\n',
            [{"a": 1}, {"a": 2}],
        ),
        ("plain", b': hello\nevent: x\ndata: {"a":1}\n\ndata: [DONE]\n\n', [{"a": 1}]),
        ("event-stream", b'data: {\ndata:  "a": 1\ndata: }\n\n', [{"a": 1}]),
        ("event-stream", 'data: {"a":"\u2028 \u0085"}\r\n\r\n'.encode(), [{"a": "\u2028 \x85"}]),
    ],
)
async def test_streams_of_lines_and_of_events_are_read(kind, body, values):
    """A stream gives the value of each line, or of each server-sent event, which may span several lines."""
    async with (
        serving(http(body, headers=f"Content-Type: text/{kind}\r\n")) as (path, _),
        AsyncJsonClient(parse_endpoint(path)) as client,
    ):
        assert [value async for value in client.lines("/x")] == values


async def test_a_lone_surrogate_can_be_sent():
    """Text with a lone surrogate reaches the server."""
    async with serving(http({})) as (path, seen), AsyncJsonClient(parse_endpoint(path)) as client:
        await client.post("/x", {"text": "a\ud83d"})
    assert seen[0].endswith(b'{"text": "a\\ud83d"}')


async def test_the_blocking_client_does_the_same():
    """The blocking client retries, refuses and times out like the asynchronous one."""
    async with serving(http({}, "429 Slow", "Retry-After: 0\r\n"), http({"a": 1}), http(b'{"b":2}\n')) as (path, seen):
        with JsonClient(parse_endpoint(path, api_key="k")) as client:
            assert await asyncio.to_thread(client.post, "/x", {"q": 1}) == {"a": 1}
            assert await asyncio.to_thread(lambda: list(client.lines("/y"))) == [{"b": 2}]
    assert b"Authorization: Bearer k" in seen[0]


@pytest.mark.parametrize("address", ["ftp://x", "unix://x", "http://[bad"])
def test_an_address_that_is_none_is_refused(address):
    """An invalid address raises an error that names it."""
    with pytest.raises(HttpError):
        parse_endpoint(address)


async def test_leaving_a_stream_closes_its_request():
    """A thread that stops to iterate closes the connection within moments, which cancels the work on the server."""
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n{"a": 1}\n')
        await writer.drain()
        await reader.read()
        closed.set()
        writer.close()

    def read_one() -> list[object]:
        client = CancellableClient(parse_endpoint(path))
        stream = client.lines("/x", {}, 30.0)
        found = [next(value for value in stream if value is not PENDING)]
        stream.close()
        client.close()
        return found

    path = Path(tempfile.mkdtemp(prefix="ck")) / "s"
    async with await asyncio.start_unix_server(serve, str(path)):
        assert await asyncio.to_thread(read_one) == [{"a": 1}]
        await asyncio.wait_for(closed.wait(), 10)


async def test_a_client_for_threads_gives_answers_and_failures():
    """A GET, a POST and a refusal come through the event loop's thread; closing twice is harmless."""
    refusal = http({"error": {"message": "No such model.", "type": "ModelError"}}, "404 Not Found")

    def ask() -> list[object]:
        client = CancellableClient(parse_endpoint(path))
        found = [client.get("/x"), *(value for value in client.post("/x", {}) if value is not PENDING)]
        with pytest.raises(HttpError, match="No such"):
            list(client.lines("/x", {}, 5.0))
        client.close()
        client.close()
        return found

    async with serving(http({"a": 1}), http({"a": 2}), refusal) as (path, _):
        assert await asyncio.to_thread(ask) == [{"a": 1}, {"a": 2}]


def test_a_process_ends_with_an_unclosed_client():
    """The client's thread does not keep the process alive."""
    code = "from codekin.http import parse_endpoint as p; from codekin.http.cancellation import CancellableClient as C"
    done = subprocess.run([sys.executable, "-c", f"{code}; import sys; sys.c = C(p('/none'))"], timeout=60, check=False)
    assert done.returncode == 0
