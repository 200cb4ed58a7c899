"""`codekin daemon`, and what the terminal says when the daemon cannot be had."""

import json
import os
import pty
import signal
import subprocess
import sys

import psutil
import pytest

from codekin import paths
from codekin.cli import daemon
from codekin.daemon.process import startup
from daemons import COMMAND, daemons_of, eventually, indexers_of, private_data, processes_of, run_codekin
from fakes import frame_message


@pytest.fixture
def own(monkeypatch):
    with private_data(monkeypatch) as folder:
        yield folder


def test_start_status_stop(own):
    """The daemon can be started, looked at and stopped by hand."""
    assert run_codekin("daemon", "status").status == 1
    started = json.loads(run_codekin("daemon", "start", "--json").out)
    again = json.loads(run_codekin("daemon", "status", "--json").out)
    assert started["running"] is True
    assert started["pid"] == again["pid"] == daemons_of(own)[0]
    assert run_codekin("daemon", "stop").out == "The daemon has left.\n"
    assert processes_of(own) == []
    assert run_codekin("daemon", "stop").out == "No daemon is running.\n"


def test_stop_ends_a_daemon_that_does_not_answer(own, monkeypatch):
    """A stuck daemon is killed."""
    run_codekin("daemon", "start")
    os.kill(daemons_of(own)[0], signal.SIGSTOP)
    monkeypatch.setattr(startup, "SILENCE_SECONDS", 0.3)
    assert daemon.stop() == 0
    eventually(lambda: not processes_of(own))


def test_a_world_writable_folder_is_one_sentence(own):
    """A runtime folder that others may write to is refused with its remedy."""
    runtime = paths.runtime_dir(own)
    runtime.chmod(0o777)
    for words in (("daemon", "start"), ("status",)):
        done = run_codekin(*words, cwd=own)
        assert (done.status, done.out) == (2, "")
        assert "chmod 700" in done.err
        assert done.err.count("\n") == 1


def test_the_data_folder_of_the_option_wins(own, tmp_path):
    """With --data-dir the user's own data folder is not touched."""
    other = own.parent / "other"
    started = json.loads(run_codekin("daemon", "start", "--json", "--data-dir", other).out)
    assert started["data_dir"] == str(other)
    assert daemons_of(own) == []
    assert run_codekin("daemon", "stop", "--data-dir", other).status == 0
    assert tmp_path.is_dir()


def test_the_command_starts_light():
    """A command loads nothing that only the daemon needs."""
    heavy = ("torch", "numpy", "tree_sitter", "tantivy", "starlette", "codekin.storage", "codekin.models")
    code = (
        "import sys; from codekin.cli import run; run(['daemon', 'status']);"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_leaves_is_no_error(own):
    """`codekin … | head` prints no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([str(COMMAND), "--help"], check=False, stdout=writer, stderr=subprocess.PIPE, timeout=60)
    os.close(writer)
    assert b"Traceback" not in done.stderr
    assert own.is_dir()


def test_stop_waits_for_its_daemon_and_reports_its_successor(own):
    """A window that starts another daemon meanwhile neither keeps the command waiting nor loses its daemon."""
    run_codekin("daemon", "start")
    (first,) = daemons_of(own)
    window = subprocess.Popen([COMMAND, "lsp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    root = own.parent / "root"
    root.mkdir()
    parts = {"capabilities": {}, "rootUri": root.as_uri()}
    for message in ({"id": 1, "method": "initialize", "params": parts}, {"method": "initialized", "params": {}}):
        window.stdin.write(frame_message(json.dumps({"jsonrpc": "2.0", **message}).encode()))
    window.stdin.flush()
    eventually(lambda: indexers_of(own))
    done = run_codekin("daemon", "stop")
    assert (done.status, done.out.splitlines()[0]) == (0, "The daemon has left.")
    assert first not in daemons_of(own)
    window.kill()
    window.communicate()


def test_stop_never_signals_a_process_that_is_not_the_daemon(own, monkeypatch):
    """A process id that was given to somebody else meanwhile is left alone."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        earlier = psutil.Process(bystander.pid)
        earlier._ident = (bystander.pid, 1.0)  # the process that had this id before
        monkeypatch.setattr(daemon, "SHUTDOWN_SECONDS", 1.0)
        daemon.stop_process(own, earlier)
        assert bystander.poll() is None
        bystander.kill()


def test_what_the_system_refuses_is_one_sentence(own):
    """A folder or disk that cannot be written is named with its remedy, and no Python class is."""
    (own / "logs" / "daemon-start.log").mkdir(parents=True)
    for words in (("daemon", "start"), ("status",), ("search", "retry")):
        done = run_codekin(*words, cwd=own)
        assert (done.status, done.out) == (2, "")
        assert "daemon-start.log cannot be used: Is a directory; run `codekin doctor`" in done.err
        assert done.err.count("\n") == 1
    assert "daemon-start.log cannot be used" in run_codekin("doctor", cwd=own).out


HOSTILE = "\x1b]0;PWNED\x07\x1b[2J\u202e"


def test_no_name_of_a_repository_controls_the_terminal(own, tmp_path):
    """Escapes and bidirectional marks in paths and settings are printed as text, in a pipe and on a terminal."""
    root = tmp_path / f"a{HOSTILE}"
    root.mkdir()
    (root / ".codekin.toml").write_text('"\\u001b]0;PWNED\\u0007\\u001b[2J" = 1\n')
    (root / f"{HOSTILE}.ex").write_text("defmodule A do\n  def a(x), do: x + 1\nend\n")
    for words in (("index",), ("status",), ("status", "--files"), ("doctor",), ("rollback",), ("similar", "none.ex:1")):
        done = run_codekin(*words, cwd=root)
        assert not {"\x1b", "\x07", "\u202e"} & set(done.out + done.err), words
        shown = on_a_terminal([str(COMMAND), *words], root)
        assert b"PWNED\x07" not in shown, words
        assert "\u202e".encode() not in shown, words


def on_a_terminal(command: list[str], cwd) -> bytes:
    """What a command writes to a terminal."""
    master, slave = pty.openpty()
    with subprocess.Popen(command, stdout=slave, stderr=slave, cwd=cwd) as process:
        os.close(slave)
        shown = b""
        try:
            while piece := os.read(master, 4096):
                shown += piece
        except OSError:  # the other end is closed
            process.wait()
    os.close(master)
    return shown
