"""A writer that is killed at any moment leaves an index that goes on to equal a fresh one."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from codekin.storage import ChunkIndex
from index_samples import content, path_of, put, rebuilt

FILES = 12

WRITER = """
import sys
from pathlib import Path
from index_samples import path_of, put
from codekin.storage import ChunkIndex
with ChunkIndex.open(Path(sys.argv[1]), write=True) as index:
    print("open", flush=True)
    for version in range(int(sys.argv[2]), 10**6):
        for number in range({files}):
            put(index, path_of(number), version, "elixir" if number % 2 else "cpp")
            if version % 3 == number % 3:
                index.remove_file(path_of((number + 5) % {files}))
            index.flush(force=number % 4 == 0)
""".replace("{files}", str(FILES))


def _kill_at_random(folder: Path, generator: random.Random, version: int) -> None:
    here = Path(__file__).parent
    command = [sys.executable, "-c", WRITER, str(folder), str(version)]
    environment = {"PYTHONPATH": f"{here}:{here.parent}:{here.parents[1] / 'server'}", "PATH": "/usr/bin"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        time.sleep(generator.random() * 0.15)
        writer.send_signal(signal.SIGKILL)
        writer.wait()


def test_a_killed_writer_leaves_a_whole_index(tmp_path: Path) -> None:
    """After a kill every acknowledged file is there, and chunks, vectors and words agree."""
    generator = random.Random(7)
    folder = tmp_path / "killed"
    for turn in range(24):
        _kill_at_random(folder, generator, turn * 100)
        if turn % 6 == 5:
            _check_whole(folder, tmp_path / f"fresh{turn}")
    with ChunkIndex.open(folder, write=True) as index:
        for number in range(FILES):
            put(index, path_of(number), 1, "elixir" if number % 2 else "cpp")
        index.flush(force=True)
        assert index.inspect() == []
        assert content(index) == rebuilt(tmp_path / "fresh", {path_of(number): 1 for number in range(FILES)})


def _check_whole(folder: Path, fresh: Path) -> None:
    """What is there equals a fresh index of the same files at the versions that were committed."""
    with ChunkIndex.open(folder, write=True) as index:
        assert index.inspect() == []
        assert index.pop_repair_messages() == []
        versions = {path: state.mtime_ns for path, state in index.files().items()}
        assert content(index) == rebuilt(fresh, versions)
