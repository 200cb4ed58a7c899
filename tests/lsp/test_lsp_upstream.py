"""Each part of ours that stands in for one of pygls does what plain pygls does not.

Where a test here fails because plain pygls has become right, our part can go.
"""

import asyncio
import json
import os
import threading
from io import BufferedWriter, FileIO

import pytest
from lsprotocol import types as lsp
from pygls.io_ import StdoutWriter, run_async
from pygls.lsp.server import LanguageServer
from pygls.workspace import PositionCodec, TextDocument

from codekin.lsp.documents import Documents
from codekin.lsp.transport import FrameReader, PipeWriter
from fakes import frame_message

ECHO = {"jsonrpc": "2.0", "id": 2, "method": "echo", "params": {}}
BODY = json.dumps(ECHO).encode()
GOOD = frame_message(BODY)
INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"capabilities": {}}}


class Answers:
    """What a plain server writes."""

    def __init__(self) -> None:
        self.messages: list[dict] = []

    def write(self, data: bytes) -> None:
        self.messages.append(json.loads(data))

    def close(self) -> None:
        return


async def plain_answers(data: bytes, **more) -> dict:
    """What plain pygls answers to some bytes, by id; the server has one method, `echo`."""
    server, answers = LanguageServer("plain", "1"), Answers()

    @server.feature("echo")
    async def echo(_params) -> str:
        return "echo"

    server.protocol.set_writer(answers, include_headers=False)
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    try:
        await run_async(threading.Event(), reader, server.protocol, **more)
    except asyncio.IncompleteReadError:
        pass  # the process would end here
    await asyncio.sleep(0.01)
    return {
        message["id"]: message.get("result", message.get("error")) for message in answers.messages if "id" in message
    }


def our_messages(data: bytes) -> list:
    return [message for message in FrameReader().feed(data) if isinstance(message, dict)]


async def test_plain_pygls_answers_what_is_well_formed():
    """The other tests show differences, not a harness that never answers."""
    assert await plain_answers(GOOD) == {2: "echo"}


@pytest.mark.parametrize(
    "data",
    [
        b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY),
        b"Content-Length:%d\r\n\r\n%b" % (len(BODY), BODY),
        b"Content-Length: %d\n\n%b" % (len(BODY), BODY),
        b"Content-Length: 1000000000000\r\n\r\n{}" + GOOD,
        b"Content-Length: 500\r\n\r\n{" + GOOD,
        b"Content-Length: 20\r\n\r\n" + BODY + GOOD,
    ],
)
async def test_framing_reads_on_where_pygls_is_deaf(data):
    """Headers in other forms and wrong lengths: `framing.FrameReader` stands in for `pygls.io_.run_async`."""
    assert await plain_answers(data) == {}
    assert our_messages(data)[-1] == ECHO


async def test_protocol_answers_params_with_a_key_of_its_own(window):
    """pygls takes any object with the key "jsonrpc" for a message: `LspProtocol.receive` takes the outermost alone."""
    params = {"a": {"jsonrpc": "2.0", "id": 1}}
    assert await plain_answers(frame_message(json.dumps({**ECHO, "params": params}).encode())) == {}
    await window.begin()
    assert await window.ask("codekin/status", params)


@pytest.mark.parametrize("message", [[], 5, None, {"id": 9}, {"id": 8, "method": 5}])
async def test_protocol_answers_what_is_no_message(window, message):
    """pygls logs it, and the client waits: `LspProtocol.receive` answers with an error."""
    assert await plain_answers(frame_message(json.dumps(message).encode())) == {}
    await window.begin()
    window.receive(message)
    await window.until(lambda: any(m.get("error", {}).get("code") == -32600 for m in window.sent))


async def test_protocol_answers_initialize_whatever_a_client_adds(window):
    """pygls refuses capabilities that it does not know: `LspProtocol` reads only those that it needs."""
    capabilities = {"general": {"positionEncodings": 5}}
    initialize = {**INITIALIZE, "params": {"capabilities": capabilities}}
    assert "capabilities" not in (await plain_answers(frame_message(json.dumps(initialize).encode()))).get(1, {})
    assert "capabilities" in await window.ask("initialize", {"capabilities": capabilities})


async def test_protocol_refuses_requests_before_initialize(window):
    """pygls runs them: `LspProtocol` answers with the error that the protocol names."""
    assert await plain_answers(GOOD) == {2: "echo"}
    assert (await window.fail("codekin/status"))["code"] == -32002


async def test_protocol_answers_a_duplicate_id_twice_over(window, root):
    """pygls forgets the first request under an id that comes again: `LspProtocol` refuses the second."""
    await window.begin(root)
    window.daemon.answers["/search"] = lambda _body: asyncio.Event().wait()
    window.receive(*[{"id": "same", "method": "codekin/search", "params": {"text": "x"}}] * 2)
    assert (await window.reply("same"))["error"]["code"] == -32600


@pytest.mark.parametrize("separator", ["\f", "\v", "\x1c", "\x85", "\u2028", "\u2029"])
def test_documents_keep_their_lines_where_pygls_drifts(separator):
    """pygls splits lines where the protocol does not: `documents.Documents` stands in for `pygls.workspace`."""
    text = f"a{separator}b\nc"
    span = {"start": {"line": 1, "character": 0}, "end": {"line": 1, "character": 1}}
    plain = TextDocument("file:///a", text, position_codec=PositionCodec(lsp.PositionEncodingKind.Utf16))
    change = lsp.TextDocumentContentChangePartial(range=lsp.Range(lsp.Position(1, 0), lsp.Position(1, 1)), text="new")
    plain.apply_change(change)
    documents = Documents()
    documents.open("file:///a", "elixir", 1, text)
    right = f"a{separator}b\nnew"
    assert documents.change("file:///a", 2, [{"range": span, "text": "new"}]).text == right
    assert plain.source != right


def test_writing_returns_where_pygls_waits_for_the_client():
    """A full pipe stops the loop of pygls: `transport.PipeWriter` writes in a thread of its own."""
    reading, writing = os.pipe()
    data = b"x" * 2**20
    plain = StdoutWriter(BufferedWriter(FileIO(os.dup(writing), "w")))
    blocked = threading.Thread(target=plain.write, args=(data,), daemon=True)
    blocked.start()
    blocked.join(0.3)
    assert blocked.is_alive()
    ours = PipeWriter(writing)
    ours.write(data)  # returns at once
    received = 0
    while received < 2 * len(data):
        received += len(os.read(reading, 2**16))
    blocked.join()
    ours.close()
    plain.close()
    os.close(reading)
    os.close(writing)
