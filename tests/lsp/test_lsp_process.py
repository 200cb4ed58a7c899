"""`codekin lsp` as a process: over real pipes, through every kind of end, light enough for each window."""

import json
import os
import signal
import subprocess
import sys

import pytest

from fakes import frame_message

HEAVY = [
    "torch",
    "numpy",
    "tree_sitter",
    "tokenizers",
    "transformers",
    "tantivy",
    "typer",
    "rich",
    "httpx",
    "starlette",
]


def test_a_window_loads_nothing_heavy():
    """A window imports none of the libraries of models, storage or commands."""
    code = f"import sys, codekin.lsp.server; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_wrong_use_is_reported_in_one_sentence():
    """A wrong flag is one sentence and exit status 2."""
    done = subprocess.run(
        [sys.executable, "-m", "codekin", "lsp", "--json"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        2, "", "unrecognized arguments: --json; see `codekin lsp --help`.\n",
    )  # fmt: skip


BROKEN = [
    b"Content-Length: 1000000000000\r\n\r\n{}",
    b"Content-Length: -1\r\n\r\n{}",
    b"Content-Length: 500\r\n\r\n{",
    b"\x00\xff" * 10_000 + b"\n",
    frame_message(b"[" * 100_000),
    frame_message(b'{"jsonrpc":"2.0","id":' + b"[" * 900 + b"]" * 900 + b"}"),
    frame_message(json.dumps({"jsonrpc": "2.0", "method": "x", "params": {"a": {"jsonrpc": "2.0", "id": 1}}}).encode()),
]


def test_broken_bytes_are_survived(start_editor):
    """After anything at all, the next request is answered."""
    editor = start_editor()
    editor.begin()
    for number, broken in enumerate(BROKEN):
        editor.send_bytes(broken)
        body = json.dumps({"jsonrpc": "2.0", "id": f"next {number}", "method": "codekin/status"}).encode()
        editor.send_bytes(b"content-length:%d\n\n" % len(body) + body)
        assert editor.reply(f"next {number}")["result"]["kind"] == "Inactive"


def test_a_client_that_does_not_read_is_still_heard(start_editor):
    """The server reads on while the client does not."""
    editor = start_editor()
    editor.begin()
    os.kill(editor.process.pid, 0)
    for number in range(3000):
        editor.send(id=f"n{number}", method="codekin/status")
    assert editor.reply("n2999")["result"]
    ids = [message["id"] for message in editor.messages if str(message.get("id", "")).startswith("n")]
    assert ids == [f"n{number}" for number in range(3000)]


def test_shutdown_and_exit(start_editor):
    """An orderly end is silent and has status 0."""
    editor = start_editor()
    editor.begin()
    editor.ask("shutdown")
    editor.send(method="exit")
    assert editor.process.wait(10) == 0
    assert editor.process.stderr.read() == b""


@pytest.mark.parametrize("end", ["close", "term", "exit"])
def test_disorderly_ends(start_editor, end):
    """A closed pipe, a signal, or exit without shutdown end the process at once, silently, with status 1."""
    editor = start_editor()
    editor.begin()
    if end == "close":
        editor.process.stdin.close()
    elif end == "term":
        editor.process.send_signal(signal.SIGTERM)
    else:
        editor.send(method="exit")
    assert editor.process.wait(10) == 1
    assert editor.process.stderr.read() == b""


def test_requests_before_the_pipe_closed_are_answered():
    """A script may write its requests and close its end before it reads."""
    initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"capabilities": {}}}
    status = {"jsonrpc": "2.0", "id": 2, "method": "codekin/status"}
    written = b"".join(frame_message(json.dumps(message).encode()) for message in (initialize, status))
    command = [sys.executable, "-P", "-m", "codekin", "lsp"]
    done = subprocess.run(command, input=written, capture_output=True, check=False, timeout=60)
    assert b'"id": 1' in done.stdout
    assert b'"id": 2' in done.stdout


def test_the_server_ends_with_the_editor_that_started_it(start_editor):
    """The server exits when its parent dies, even if the pipe stays open."""
    parent = subprocess.Popen(["sleep", "600"])
    editor = start_editor()
    editor.begin(processId=parent.pid)
    parent.kill()  # not waited for: a zombie counts as ended
    assert editor.process.wait(10) == 1
    parent.wait()


def test_an_editor_that_is_gone_already(start_editor):
    """With the id of no running process, the server exits after its response."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    editor = start_editor()
    editor.ask("initialize", {"processId": gone.pid, "capabilities": {}})
    assert editor.process.wait(10) == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_file_without_a_folder_is_completed_from_its_own_text(start_editor, tmp_path):
    """The real daemon serves it and indexes nothing of the folder that it lies in."""
    editor = start_editor()
    editor.begin(capabilities={"textDocument": {"inlineCompletion": {}}})
    uri = (tmp_path / "alone.ex").as_uri()
    (tmp_path / "other.ex").write_text("defmodule Other do\n  def unseen_elsewhere(x), do: x\nend\n")
    text = (
        "".join(f"  def first_{n}(numbers), do: Enum.sort(numbers)\n" for n in range(6))
        + "  def last(numbers), do: Enum.so"
    )
    item = {"uri": uri, "languageId": "elixir", "version": 1, "text": "defmodule Alone do\n" + text}
    editor.send(method="textDocument/didOpen", params={"textDocument": item})
    position = {"line": 7, "character": len(text.splitlines()[-1])}
    params = {"textDocument": {"uri": uri}, "position": position, "context": {"triggerKind": 1}}
    items = editor.ask("textDocument/inlineCompletion", params, 120)["items"]
    assert items[0]["insertText"].startswith("rt(numbers)")
    similar = {"textDocument": {"uri": uri}, "position": {"line": 1, "character": 4}}
    assert editor.ask("codekin/similar", similar, 120)["hits"] == []
