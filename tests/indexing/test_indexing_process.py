"""The indexer's process: its lines in and out, its end, and what a kill at any moment leaves."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from indexer_driver import contents, fresh_contents

from codekin import paths
from codekin.indexing.process import is_inside_workspace
from codekin.storage import ChunkIndex

PATIENCE = 180.0


class Child:
    """A running process and its events."""

    def __init__(self, root: Path, data: Path) -> None:
        command = [sys.executable, "-P", "-m", "codekin.indexing.process", "--root", str(root), "--data-dir", str(data)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.events: SimpleQueue[dict[str, Any]] = SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, **command: object) -> None:
        """Sends a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def wait_for(self, kind: str, path: str = "") -> dict[str, Any]:
        """The next event of a kind (that names a path)."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                event = self.events.get(timeout=1.0)
            except Empty:
                assert self.process.poll() is None, "the child ended"
                continue
            if event["event"] == kind and (not path or path in event["paths"]):
                return event
        raise AssertionError(f"no event {kind} {path}")

    def end(self) -> int:
        """Stops it as the daemon does; its exit status."""
        self.send(do="stop")
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.close()

    def close(self) -> None:
        """Waits for its end and closes the pipes."""
        self.process.wait(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        try:
            for line in self.process.stdout:
                self.events.put(json.loads(line))
        except ValueError:
            pass  # closed, or cut off by a kill


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree of forty files."""
    root = tmp_path / "root"
    for number in range(40):
        write(root, f"lib/part{number % 4}/m{number}.ex", number)
    return root


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder."""
    return tmp_path / "data"


@pytest.fixture
def child(root: Path, data: Path) -> Iterator[Child]:
    """A running child that is ready."""
    child = Child(root, data)
    child.wait_for("ready")
    yield child
    child.kill()


def write(root: Path, path: str, number: int) -> None:
    body = "\n".join(f"    def f{number}_{n}(x) do\n      Enum.map(x, &g{n}/1)\n    end" for n in range(6))
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(f"defmodule M{number} do\n{body}\nend\n")


def read(root: Path, data: Path) -> ChunkIndex:
    return ChunkIndex.open(paths.index_dir(data, root))


def test_a_folder_that_was_made_again_is_watched_again(child: Child, root: Path) -> None:
    """The folder that is gone is named, and the problem ends when the folder is back and watched."""
    shutil.rmtree(root)
    gone = child.wait_for("problem")
    while gone.get("until") != "solved":
        gone = child.wait_for("problem")
    assert str(root) in gone["message"]
    assert "watches left" not in gone["message"]
    write(root, "lib/back.ex", 5)
    assert child.wait_for("solved")["message"] == gone["message"]
    write(root, "lib/later.ex", 6)
    child.wait_for("changed", "lib/later.ex")


def test_a_save_is_reported_and_found(child: Child, root: Path, data: Path) -> None:
    """A saved file is reported and searchable."""
    write(root, "lib/new/fresh.ex", 77)
    child.wait_for("changed", "lib/new/fresh.ex")
    with read(root, data) as index:
        assert {"M77.f77_0/1"} <= {chunk.name for chunk in index.chunks("lib/new/fresh.ex")}
        assert not index.status().text_index_behind
    write(root, "lib/part0/.m0.ex.swp", 78)  # most editors write a new file and rename it over the old one
    (root / "lib/part0/.m0.ex.swp").rename(root / "lib/part0/m0.ex")
    child.wait_for("changed", "lib/part0/m0.ex")


def test_commands_are_obeyed(child: Child, root: Path, data: Path) -> None:
    """Unsaved texts, settings and a wished rescan come over the same pipe."""
    child.send(do="buffer", path="lib/part0/m0.ex", text="defmodule Typed do\nend\n")
    child.wait_for("changed", "lib/part0/m0.ex")
    child.send(do="settings", settings={"index": {"ignore": ["part1/"]}})
    assert child.wait_for("ready")["files"] == 30
    child.send(do="rescan")
    assert child.wait_for("ready")["files"] == 30
    with read(root, data) as index:
        assert index.files()["lib/part0/m0.ex"].buffer


def test_what_is_no_command_is_a_problem_and_no_more(child: Child) -> None:
    """An invalid command or a path outside the workspace is a problem, and the process goes on."""
    assert child.process.stdin is not None
    child.process.stdin.write("{not json}\n[1]\n" + "[" * 100_000 + "\n")
    child.wait_for("problem")
    child.send(do="buffer", path="../outside.ex", text="x")
    assert "inside" in child.wait_for("problem")["message"]
    child.send(do="rescan")
    child.wait_for("ready")


def test_it_ends_on_request_and_when_its_input_does(child: Child, root: Path, data: Path) -> None:
    """The process exits with status 0 on request and at the end of its input."""
    assert child.end() == 0
    reread_all = Child(root, data)
    reread_all.wait_for("ready")
    assert reread_all.process.stdin is not None
    reread_all.process.stdin.close()
    assert reread_all.process.wait(PATIENCE) == 0
    reread_all.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the end of the input has to do")
def test_it_dies_with_its_parent(root: Path, data: Path, tmp_path: Path) -> None:
    """The indexing process ends when its parent is killed."""
    held, kept = os.pipe()  # the input stays open, so that only the parent's death counts
    script = (
        "import subprocess, sys\n"
        "command = [sys.executable, '-P', '-m', 'codekin.indexing.process', *sys.argv[1:]]\n"
        "child = subprocess.Popen(command, stdin=0, stdout=1)\n"
        "print(child.pid, file=sys.stderr, flush=True)\n"
        "child.wait()\n"
    )
    log = tmp_path / "pid"
    with log.open("w") as errors:
        parent = subprocess.Popen(
            [sys.executable, "-c", script, "--root", root, "--data-dir", data],
            stdin=held, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    assert parent.stdout is not None
    assert b'"' in parent.stdout.readline()
    pid = int(log.read_text().split()[0])
    parent.kill()
    parent.wait(PATIENCE)
    assert gone(pid)
    parent.stdout.close()
    os.close(held)
    os.close(kept)


def gone(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_second_writer_is_refused(child: Child, root: Path, data: Path) -> None:
    """A second writer of the same index is refused."""
    assert child.process.poll() is None
    second = Child(root, data)
    assert "another process" in second.wait_for("problem")["message"].lower()
    assert second.process.wait(PATIENCE) == 2
    second.close()


@pytest.mark.slow
def test_kills_at_any_moment_leave_an_index_that_heals(root: Path, data: Path, tmp_path: Path) -> None:
    """After a crash the index has the chunks of the files, and no others."""
    rng = random.Random(7)
    for turn in range(6):
        write(root, f"lib/part{turn % 4}/m{rng.randrange(40)}.ex", 100 + turn)
        (root / f"lib/part0/m{4 * turn}.ex").unlink(missing_ok=True)
        child = Child(root, data)
        time.sleep(0.6 + rng.random())
        child.kill()
    child = Child(root, data)
    child.wait_for("ready")
    assert child.end() == 0
    child.close()
    with read(root, data) as index:
        assert contents(index) == fresh_contents(root, tmp_path / "fresh")
        assert not index.status().text_index_behind


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process that runs already")
def test_files_that_cannot_grow_are_reported_and_made_good(
    child: Child, root: Path, data: Path, tmp_path: Path
) -> None:
    """While the disk is full the old index stays, and the changes are written afterwards."""
    with read(root, data) as index:
        before = contents(index)
        resource.prlimit(child.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        for number in range(100, 140):
            write(root, f"lib/late/m{number}.ex", number)
        assert child.wait_for("problem")["message"]
        assert before.items() <= contents(index).items()
        resource.prlimit(child.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        child.wait_for("ready")
        assert contents(index) == fresh_contents(root, tmp_path / "fresh")


def test_it_is_last_in_line_and_goes_on_after_a_stop(child: Child) -> None:
    """The indexing process has niceness 19 and continues after SIGSTOP and SIGCONT."""
    assert os.getpriority(os.PRIO_PROCESS, child.process.pid) == 19
    child.process.send_signal(signal.SIGSTOP)
    child.send(do="rescan")
    child.process.send_signal(signal.SIGCONT)
    child.wait_for("ready")


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../a", "a/../../b", "a//b", "./a", "a\0b", ".git/config", "x/.git/HEAD"]
)
def test_paths_that_lead_out_are_distinguished(path: str) -> None:
    """Only paths inside the workspace are accepted."""
    assert not is_inside_workspace(path)
    assert is_inside_workspace("lib/..a/b.ex")


def test_the_indexer_stays_light():
    """It embeds through the daemon: torch, some 500 MB, never enters its process."""
    code = "import sys, codekin.indexing.process, codekin.models.embedding.remote; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
