"""The JSON clients against servers that answer late, wrongly, in pieces, or not at all."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from codekin.errors import WireError
from codekin.wire import AsyncJsonClient, JsonClient, endpoint

Answer = Callable[[bytes], bytes]


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
    """A server that restarts would fail every client at once."""
    async with (
        serving(http({}, "503 Busy"), b"", http({"a": 1})) as (path, seen),
        AsyncJsonClient(endpoint(path)) as client,
    ):
        assert await client.get("/x", a=1, b=None) == {"a": 1}
    assert len(seen) == 3
    assert seen[0].startswith(b"GET /x?a=1 ")


async def test_a_refusal_is_not_repeated_and_keeps_its_sentence():
    """Wrong requests would be sent over and over, or lose the reason."""
    refusal = http({"error": {"message": "No such model.", "type": "ModelError"}}, "404 Not Found")
    async with serving(refusal) as (path, seen), AsyncJsonClient(endpoint(path)) as client:
        with pytest.raises(WireError, match="No such model") as caught:
            await client.post("/x", {})
    assert (caught.value.status, caught.value.kind, len(seen)) == (404, "ModelError", 1)


@pytest.mark.parametrize("body", [b"<html>", b"\xff", b"[" * 100_000])
async def test_an_answer_that_is_no_json_is_an_error(body):
    """Something else behind the address would surface as a traceback."""
    async with serving(http(body)) as (path, _), AsyncJsonClient(endpoint(path)) as client:
        with pytest.raises(WireError, match="not JSON"):
            await client.get("/x")


async def test_a_server_that_stays_silent_is_given_up():
    """A hung server would hang the editor."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    path = Path(tempfile.mkdtemp(prefix="ck")) / "s"
    server = await asyncio.start_unix_server(silent, str(path))
    async with server, AsyncJsonClient(endpoint(path, timeout=0.2)) as client:
        with pytest.raises(WireError) as caught:
            await client.get("/x")
    assert caught.value.kind == "timeout"


async def test_nobody_listening_is_an_error_without_status():
    """A missing daemon would look like a failing one."""
    async with AsyncJsonClient(endpoint(Path(tempfile.mkdtemp()) / "none", attempts=2)) as client:
        with pytest.raises(WireError, match="cannot be reached") as caught:
            await client.get("/x")
    assert caught.value.status == 0


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (b'{"a":1}\n\n{"a":2}\n', [{"a": 1}, {"a": 2}]),
        (b': hello\nevent: x\ndata: {"a":1}\n\ndata: {"a":2}\n\ndata: [DONE]\n\n', [{"a": 1}, {"a": 2}]),
    ],
)
async def test_streams_of_lines_and_of_events_are_read(body, values):
    """Progress and completions would not arrive."""
    async with serving(http(body)) as (path, _), AsyncJsonClient(endpoint(path)) as client:
        assert [value async for value in client.lines("/x")] == values


async def test_a_lone_surrogate_can_be_sent():
    """Half an emoji in a document would break every request about it."""
    async with serving(http({})) as (path, seen), AsyncJsonClient(endpoint(path)) as client:
        await client.post("/x", {"text": "a\ud83d"})
    assert seen[0].endswith(b'{"text": "a\\ud83d"}')


async def test_the_blocking_client_does_the_same():
    """The terminal would lack what windows have."""
    async with serving(http({}, "429 Slow", "Retry-After: 0\r\n"), http({"a": 1}), http(b'{"b":2}\n')) as (path, seen):
        with JsonClient(endpoint(path, api_key="k")) as client:
            assert await asyncio.to_thread(client.post, "/x", {"q": 1}) == {"a": 1}
            assert await asyncio.to_thread(lambda: list(client.lines("/y"))) == [{"b": 2}]
    assert b"Authorization: Bearer k" in seen[0]


@pytest.mark.parametrize("address", ["ftp://x", "unix://x", "http://[bad"])
def test_an_address_that_is_none_is_refused(address):
    """A typing error in the settings would end in a traceback."""
    with pytest.raises(WireError):
        endpoint(address)
