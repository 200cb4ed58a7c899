"""`codekin daemon`, and what the terminal says when the daemon cannot be had."""

import json
import os
import signal
import subprocess
import sys

import pytest

from codekin import places
from codekin.cli import daemon
from codekin.daemon import start
from daemons import COMMAND, daemons_of, eventually, private_data, processes_of, run_codekin


@pytest.fixture
def own(monkeypatch):
    with private_data(monkeypatch) as folder:
        yield folder


def test_start_status_stop(own):
    """The daemon could not be managed by hand."""
    assert run_codekin("daemon", "status").status == 1
    started = json.loads(run_codekin("daemon", "start", "--json").out)
    again = json.loads(run_codekin("daemon", "status", "--json").out)
    assert started["running"] is True
    assert started["pid"] == again["pid"] == daemons_of(own)[0]
    assert run_codekin("daemon", "stop").out == "The daemon has left.\n"
    assert processes_of(own) == []
    assert run_codekin("daemon", "stop").out == "No daemon is running.\n"


def test_stop_ends_a_daemon_that_does_not_answer(own, monkeypatch):
    """A stuck daemon could only be ended by hunting for its process."""
    run_codekin("daemon", "start")
    os.kill(daemons_of(own)[0], signal.SIGSTOP)
    monkeypatch.setattr(start, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(daemon, "LEAVING_SECONDS", 1.0)
    assert daemon.stop() == 0
    eventually(lambda: not processes_of(own))


def test_a_world_writable_folder_is_one_sentence(own):
    """The command would trust a folder that anybody may write to."""
    runtime = places.runtime_dir(own)
    runtime.chmod(0o777)
    for words in (("daemon", "start"), ("status",)):
        done = run_codekin(*words, cwd=own)
        assert (done.status, done.out) == (2, "")
        assert "chmod 700" in done.err
        assert done.err.count("\n") == 1


def test_the_data_folder_of_the_option_wins(own, tmp_path):
    """Trials would touch the user's indexes."""
    other = own.parent / "other"
    started = json.loads(run_codekin("daemon", "start", "--json", "--data-dir", other).out)
    assert started["data_dir"] == str(other)
    assert daemons_of(own) == []
    assert run_codekin("daemon", "stop", "--data-dir", other).status == 0
    assert tmp_path.is_dir()


def test_the_command_starts_light():
    """Every call in a script would load what only the daemon needs."""
    heavy = ("torch", "numpy", "tree_sitter", "tantivy", "starlette", "codekin.index", "codekin.models")
    code = (
        "import sys; from codekin.cli import run; run(['daemon', 'status']);"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_leaves_is_no_error(own):
    """`codekin … | head` would print a traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([str(COMMAND), "--help"], check=False, stdout=writer, stderr=subprocess.PIPE, timeout=60)
    os.close(writer)
    assert b"Traceback" not in done.stderr
    assert own.is_dir()
