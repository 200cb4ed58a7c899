"""The small parts that all rooms share: locks, files, identifiers, progress."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from codekin.types import split_identifier, to_pascal_case, to_snake_case
from codekin.util.files import (
    LockHeldError,
    NotRegularFileError,
    acquire_lock,
    read_bounded,
    replacing,
    write_atomically,
)
from codekin.util.process import ProgressEstimate, ProgressEstimator, is_at_work
from daemons import eventually

HOLDER = (
    "import sys; from pathlib import Path; from codekin.util.files import acquire_lock as a; l = a(Path(sys.argv[1]))"
)


def test_a_lock_is_held_by_one_process_and_ends_with_it(tmp_path):
    """A second process is refused at once, waits as long as it wants to, and gets the lock of one that was killed."""
    path = tmp_path / "lock"
    command = [sys.executable, "-c", f"{HOLDER}; print('held', flush=True); sys.stdin.read()", str(path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(LockHeldError):
        acquire_lock(path)
    with pytest.raises(LockHeldError):
        acquire_lock(path, 60.0, give_up=lambda: True)
    holder.kill()
    lock = acquire_lock(path, 30.0)
    assert path.stat().st_mode & 0o777 == 0o600
    lock.release()
    acquire_lock(path).release()
    holder.communicate()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    """An error while writing leaves the old content, and nothing beside it; the folder is made, the file is private."""
    path = tmp_path / "new" / "file.json"
    write_atomically(path, "old")
    write_atomically(path, b"\xff", durable=True)
    with pytest.raises(NotADirectoryError), replacing(path) as part:
        (part / "half").write_text("half")
    assert (path.read_bytes(), list(path.parent.iterdir())) == (b"\xff", [path])
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_reader_never_meets_a_part_of_a_file(tmp_path):
    """While one thread writes a file again and again, each read gives one of its whole contents."""
    path, ended = tmp_path / "file", threading.Event()
    write_atomically(path, b"a" * 10_000)
    seen = set()

    def read() -> None:
        while not ended.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for letter in b"bcdefghij" * 5:
        write_atomically(path, bytes([letter]) * 10_000)
    ended.set()
    reader.join()
    assert all(len(content) == 10_000 and len(set(content)) == 1 for content in seen)


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/etc/passwd")])
def test_only_regular_files_are_read(tmp_path, make):
    """A pipe, a folder or a link is refused at once."""
    make(tmp_path / "x")
    with pytest.raises(NotRegularFileError):
        read_bounded(tmp_path / "x", 10, follow_links=False)


def test_no_more_than_the_bound_and_a_byte_is_read(tmp_path):
    """A large file is read in part, and the byte beyond the bound tells; an endless device is refused."""
    (tmp_path / "x").write_bytes(b"a" * 100)
    assert read_bounded(tmp_path / "x", 10) == b"a" * 11
    with pytest.raises(NotRegularFileError):
        read_bounded(Path("/dev/zero"), 10)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("handleCall", ["handle", "Call"]),
        ("handle_call?", ["handle", "call"]),
        ("HTTPServer2", ["HTTP", "Server", "2"]),
        ("MyApp.Server.init/1", ["My", "App", "Server", "init", "1"]),
        ("größe_max", ["gr", "öß", "e", "max"]),
        ("", []),
    ],
)
def test_identifiers_are_split_into_words(name, words):
    """Capitals, underscores, digits and other scripts part the words of a name."""
    assert split_identifier(name) == words


def test_identifiers_change_their_case():
    """A name in one case becomes the name of the same words in the other."""
    assert to_snake_case("handleCall2Go") == "handle_call2_go"
    assert to_pascal_case("handle_call") == "HandleCall"


def test_progress_is_estimated_for_each_phase():
    """A phase has its mean rate since it began; another phase, or fewer items than before, begin anew."""
    estimator = ProgressEstimator(min_steps=2)
    assert estimator.update("scan", 10, 100, 5.0) == ProgressEstimate(0.0, 0.0, None)
    assert estimator.update("scan", 11, 100, 6.0) == ProgressEstimate(1.0, 1.0, None)
    assert estimator.update("scan", 20, 100, 10.0) == ProgressEstimate(5.0, 2.0, 40.0)
    assert estimator.update("vectors", 20, 100, 11.0).seconds_left is None
    assert estimator.update("vectors", 5, 100, 12.0) == ProgressEstimate(0.0, 0.0, None)


def test_a_phase_that_begins_anew_is_not_timed_from_its_first_beginning():
    """What happened between two runs of a phase, and a pause within one, says nothing about its rate."""
    estimator = ProgressEstimator()
    for done, now in ((0, 0.0), (64, 1.0), (0, 600.0)):
        estimator.update("embedding", done, 6400, now)
    assert estimator.update("embedding", 64, 6400, 601.0).seconds_left == 99.0
    estimator.skip(1000.0)
    assert estimator.update("embedding", 128, 6400, 1602.0).seconds_left == 98.0


def test_a_process_is_seen_to_work_or_not():
    """A process that computes is at work; one that sleeps, is suspended or is gone is not."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        eventually(lambda: is_at_work(busy.pid))
        busy.send_signal(signal.SIGSTOP)
        eventually(lambda: not is_at_work(busy.pid))
        busy.kill()
    assert not is_at_work(busy.pid)
