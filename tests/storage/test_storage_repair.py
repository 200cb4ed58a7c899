"""Any stored file may be cut, altered or lost: it is noticed and made anew, never answered from."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from codekin.errors import StoreError
from codekin.storage import ChunkIndex
from index_samples import EMBEDDER, FUNCTIONS, chunk, content, fill, path_of, put, top_results

FILES = 8


def cut(path: Path, generator: random.Random) -> None:
    """Takes away the end."""
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * generator.random()))


def flip(path: Path, generator: random.Random) -> None:
    """Turns one bit in every thousand bytes, one at least."""
    data = bytearray(path.read_bytes())
    for _ in range(1 + len(data) // 1000):
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    path.write_bytes(data)


def lose(path: Path, generator: random.Random) -> None:
    """Deletes it."""
    del generator
    path.unlink()


def make_folder(path: Path, generator: random.Random) -> None:
    """Puts a folder with a file in its place."""
    del generator
    path.unlink()
    path.mkdir()
    (path / "somebody's").write_text("x")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index that was closed in good order."""
    folder = tmp_path_factory.mktemp("sound")
    with ChunkIndex.open(folder, write=True) as index:
        fill(index, FILES)
    return folder


def _copy(folder: Path, target: Path) -> Path:
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.endswith("-shm"):
            place = target / path.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return target


def _repair(index: ChunkIndex) -> None:
    """What ingest does after repairs: reads missing files again, embeds what lacks a vector."""
    for number in range(FILES):
        if index.file(path_of(number)) is None:
            put(index, path_of(number), 0, "elixir" if number % 2 else "cpp")
    index.ensure_space(EMBEDDER.space, EMBEDDER.name, EMBEDDER.dimensions)
    if missing := index.unembedded_texts(EMBEDDER.space, 10_000):
        digests, texts = zip(*missing, strict=True)
        index.put_vectors(dict(zip(digests, EMBEDDER.embed(texts), strict=True)), EMBEDDER.space)
    if (serving := index.serving_space()) is None or serving.fingerprint != EMBEDDER.space:
        index.promote(EMBEDDER.space)
    index.flush(force=True)


@pytest.mark.parametrize("harm", [cut, flip, lose, make_folder])
@pytest.mark.parametrize("kind", ["index.sqlite", "vectors-1.f16", "text_index"])
def test_damage_is_noticed_and_made_good(sound: Path, tmp_path: Path, kind: str, harm: Callable[..., None]) -> None:
    """A damaged file is noticed and rebuilt, and queries give the right results."""
    with ChunkIndex.open(_copy(sound, tmp_path / "expected"), write=True) as index:
        expected = content(index)
    for turn in range(4):
        folder = _copy(sound, tmp_path / f"turn{turn}")
        generator = random.Random(turn)
        files = sorted(folder.glob("text-index-*/*")) if kind == "text_index" else [folder / kind]
        harm(generator.choice([path for path in files if path.stat().st_size]), generator)
        _answers_are_true_or_none(folder, expected)
        with ChunkIndex.open(folder, write=True) as index:
            index.inspect()
            _repair(index)
            assert index.inspect() == []
            found = content(index)
        assert found == expected


def _answers_are_true_or_none(folder: Path, expected: dict[str, dict[str, list[object]]]) -> None:
    """A reader of a damaged index shows nothing that was never written."""
    try:
        reader = ChunkIndex.open(folder)
        places = top_results(reader, chunk(path_of(0), 1))
        shown = [one for path in {path for path, _, _ in places} for one in reader.chunks(path)]
    except StoreError:
        return
    assert all(one in expected["chunks"][one.path] for one in shown)
    reader.close()


def test_a_cut_vector_file_does_not_kill_a_reader_that_has_it_open(sound: Path, tmp_path: Path) -> None:
    """A reader survives a mapped vector file that is truncated."""
    folder = _copy(sound, tmp_path / "index")
    reader = ChunkIndex.open(folder)
    assert top_results(reader, chunk(path_of(0), 1))
    with (folder / "vectors-1.f16").open("r+b") as file:
        file.truncate(100)
    for path in folder.glob("text-index-*/*.idx"):
        with path.open("r+b") as file:
            file.truncate(10)
    assert top_results(reader, chunk(path_of(0), 1)) is not None
    reader.close()
    with ChunkIndex.open(folder, write=True) as index:
        assert index.inspect() or index.pop_repair_messages()
        _repair(index)
        assert index.status().vectors == FILES * FUNCTIONS


def test_a_reader_moves_over_to_a_salvaged_database(sound: Path, tmp_path: Path) -> None:
    """A reader reopens a database that was salvaged."""
    folder = _copy(sound, tmp_path / "index")
    with ChunkIndex.open(folder, write=True) as index:
        reader = ChunkIndex.open(folder)
        assert reader.status().files == FILES
        index._rebuild_database()
        _repair(index)
        put(index, "lib/new.ex")
        assert reader.status().files == FILES + 1
        assert reader.view().snapshot.seq == index.seq()
        reader.close()


def test_vectors_survive_the_loss_of_the_database(sound: Path, tmp_path: Path) -> None:
    """Vectors are kept when the database is lost."""
    folder = _copy(sound, tmp_path / "index")
    (folder / "index.sqlite").write_bytes(b"not a database at all" * 100)
    with ChunkIndex.open(folder, write=True) as index:
        assert index.pop_repair_messages()
        parts = [chunk(path_of(number), 1, 0, "elixir" if number % 2 else "cpp") for number in range(FILES)]
        assert index.missing_digests(EMBEDDER.space, [part.digest for part in parts]) == []
