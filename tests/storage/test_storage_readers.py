"""Several processes read while one writes."""

import subprocess
import sys
import time
from pathlib import Path

from codekin.storage import ChunkIndex
from index_samples import EMBEDDER, FUNCTIONS, chunks, path_of, put

READER = """
import sys
from pathlib import Path
from index_samples import top_results, chunk, path_of, FUNCTIONS
from codekin.storage import ChunkIndex
index = ChunkIndex.open(Path(sys.argv[1]))
print("open", flush=True)
looks = 0
while not Path(sys.argv[2]).exists():
    view = index.view()
    assert len(view.snapshot) == 10 * FUNCTIONS, len(view.snapshot)
    assert (view.snapshot.columns.slot >= 0).all()
    assert top_results(index, chunk(path_of(looks % 10), 1))
    looks += 1
print(looks)
"""


def test_readers_see_whole_states_while_a_writer_works(tmp_path: Path) -> None:
    """A query during indexing sees whole files."""
    folder, stop = tmp_path / "index", tmp_path / "stop"
    here = Path(__file__).parent
    environment = {"PYTHONPATH": f"{here}:{here.parent}:{here.parents[1] / 'server'}", "PATH": "/usr/bin"}
    with ChunkIndex.open(folder, write=True) as index:
        for number in range(10):
            put(index, path_of(number))
        index.flush(force=True)
        command = [sys.executable, "-c", READER, str(folder), str(stop)]
        readers = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(3)]
        for reader in readers:
            reader.stdout.readline()
        end = time.monotonic() + 3
        version = 0
        while time.monotonic() < end:
            version += 1
            put(index, path_of(version % 10), version)
            index.flush(force=version % 5 == 0)
        stop.touch()
    outputs = [reader.communicate(timeout=60)[0] for reader in readers]
    assert [reader.returncode for reader in readers] == [0, 0, 0]
    assert all(int(output) > 0 for output in outputs)


def test_a_save_is_seen_without_a_full_reload(tmp_path: Path) -> None:
    """A save is read without reloading the whole snapshot."""
    with ChunkIndex.open(tmp_path, write=True) as index:
        for number in range(10):
            put(index, path_of(number))
        reader = ChunkIndex.open(tmp_path)
        reader.view()
        statements: list[str] = []
        reader._database.set_trace_callback(statements.append)
        put(index, path_of(3), 7)
        assert len(reader.view().snapshot) == 10 * FUNCTIONS
        assert not [one for one in statements if "FROM chunk ORDER BY id" in one]
        assert reader.vector(chunks(path_of(3), 7)[0].digest) is not None
        statements.clear()
        reader.view()
        assert not [one for one in statements if "FROM chunk" in one or "FROM content" in one]
        assert reader.serving_space().fingerprint == EMBEDDER.space
        reader.close()
