"""Files in and out of the index: what is kept, reused, journalled and refused."""

import random
import time
from pathlib import Path

import pytest

from codekin.errors import StoreError
from codekin.storage import ChunkIndex, FileState, maintenance
from codekin.storage.vectors import vector_path
from index_samples import EMBEDDER, chunk, chunks, columns, content, fill, path_of, put, rebuilt


@pytest.fixture
def index(tmp_path: Path) -> ChunkIndex:
    """A writer on an empty index."""
    with ChunkIndex.open(tmp_path / "index", write=True) as opened:
        opened.ensure_space(EMBEDDER.space, EMBEDDER.name, EMBEDDER.dimensions)
        yield opened


def test_a_file_comes_back_as_it_was_put(index: ChunkIndex) -> None:
    """Chunks, file states and names are read back as they were written."""
    put(index, "lib/a.ex")
    assert index.chunks("lib/a.ex") == chunks("lib/a.ex")
    assert index.file("lib/a.ex") == FileState(0, 0, 1, "lib/a.ex-0", "elixir")


def test_paths_and_texts_need_not_be_unicode(index: ChunkIndex) -> None:
    """File names and texts that are not Unicode are indexed."""
    path = b"lib/\xff\n.ex".decode("utf-8", "surrogateescape")
    one = chunk(path, 1)
    odd = type(one)(path, "elixir", "function", "bad\udc80/1", 1, 2, "def bad, do: \udc80\0", "", 0)
    index.replace_file(path, FileState(1, 1, 1, "h", "elixir"), [odd])
    assert index.chunks(path)[0].text == odd.text
    assert list(index.files()) == [path]


def test_known_texts_are_never_embedded_twice(index: ChunkIndex) -> None:
    """A known text keeps its vector when its file moves or returns."""
    put(index, "lib/a.ex", 0)
    slots = index.serving_space().slots
    digests = [part.digest for part in chunks("lib/a.ex")]
    put(index, "lib/a.ex", 1)
    index.remove_file("lib/a.ex")
    assert index.missing_digests(EMBEDDER.space, digests) == []
    index.replace_file("lib/moved.ex", FileState(1, 1, 1, "h", "elixir"), chunks("lib/a.ex", 0))
    assert index.status().vectors == len(digests)
    assert index.serving_space().slots == 2 * slots


def test_a_skipped_file_keeps_its_reason(index: ChunkIndex) -> None:
    """A skipped file is stored with its reason."""
    index.replace_file("lib/big.ex", FileState(1, 1, 1, "h", skipped="too large"), [])
    assert index.file("lib/big.ex").skipped == "too large"
    assert index.status().skipped == 1


def test_times_are_noted_without_a_rewrite(index: ChunkIndex) -> None:
    """A touched file is not cut again."""
    put(index, "lib/a.ex")
    seq = index.seq()
    assert index.touch_file("lib/a.ex", FileState(9, 9, 9, "lib/a.ex-0"))
    assert index.file("lib/a.ex") == FileState(9, 9, 9, "lib/a.ex-0", "elixir")
    assert not index.touch_file("lib/a.ex", FileState(9, 9, 9, "another"))
    assert index.seq() == seq


def test_the_journal_has_each_edit_with_both_versions(index: ChunkIndex) -> None:
    """The journal has the old and the new text of each change."""
    put(index, "lib/a.ex", 0)
    since = index.seq()
    changed = [chunk("lib/a.ex", 0, 5), *chunks("lib/a.ex", 0)[1:]]
    changed[0] = type(changed[0])(**{**_fields(changed[0]), "name": chunk("lib/a.ex", 0).name})
    index.replace_file("lib/a.ex", FileState(1, 1, 1, "new", "elixir"), changed)
    (change,) = index.changes(since)
    assert (change.old_hash, change.new_hash) == ("lib/a.ex-0", "new")
    (edit,) = change.edits
    assert (edit.old_text, edit.new_text) == (chunk("lib/a.ex", 0).text, changed[0].text)


def _fields(one: object) -> dict[str, object]:
    return {name: getattr(one, name) for name in type(one).__slots__}


def test_edits_are_counted_from_one_save_to_the_next(index: ChunkIndex) -> None:
    """The journal counts edits from one save to the next, whatever is typed between."""
    put(index, "lib/a.ex", 0)
    since = index.seq()
    for version in (1, 2):
        state = FileState(1, 1, 1, f"buffer{version}", "elixir", buffer=True)
        index.replace_file("lib/a.ex", state, chunks("lib/a.ex", version))
    assert index.changes(since) == []
    put(index, "lib/a.ex", 2)
    (change,) = index.changes(since)
    assert [edit.old_text for edit in change.edits if edit.old_text] == [one.text for one in chunks("lib/a.ex", 0)]
    assert len(index.changes(since, buffers=True)) == 3


def test_pages_of_files_follow_each_other(index: ChunkIndex) -> None:
    """Pages of files follow each other without gaps or repeats."""
    fill(index, 7)
    paths = sorted(path_of(number) for number in range(7))
    first = index.files_after("", 3, first=True)
    second = index.files_after(first[-1][0], 10)
    assert [path for path, _ in first + second] == paths


def test_only_one_writer_at_a_time(index: ChunkIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second writer is refused."""
    monkeypatch.setattr("codekin.storage.index._LOCK_TIMEOUT", 0.0)
    with pytest.raises(StoreError, match="another process is indexing"):
        ChunkIndex.open(index.folder, write=True)


def test_a_reader_cannot_write(index: ChunkIndex) -> None:
    """A reader cannot write to the database."""
    reader = ChunkIndex.open(index.folder)
    with pytest.raises(StoreError, match="open for reading only"):
        put(reader, "lib/a.ex")
    reader.close()


def test_no_index_yet_is_a_sentence(tmp_path: Path) -> None:
    """A query without an index is refused with one sentence."""
    with pytest.raises(StoreError, match="codekin index"):
        ChunkIndex.open(tmp_path)


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("An IO error occurred: 'No space left on device (os error 28)'", "free some space"),
        ("database or disk is full", "free some space"),
        ("An IO error occurred: 'Disk quota exceeded (os error 122)'", "free some space"),
        ("attempt to write a readonly database", "make it writable"),
        ("An IO error occurred: 'Read-only file system (os error 30)'", "make it writable"),
    ],
)
def test_a_disk_that_refuses_is_a_sentence_with_advice(
    index: ChunkIndex, monkeypatch: pytest.MonkeyPatch, reason: str, advice: str
) -> None:
    """What SQLite and tantivy say of a full or read-only disk comes with what helps."""

    def refuse(*_: object) -> None:
        raise ValueError(reason)

    fill(index, 1)
    monkeypatch.setattr("codekin.storage.text_index.write_stamp", refuse)
    with pytest.raises(StoreError, match=advice):
        index.flush(force=True)


def test_a_full_disk_keeps_the_old_state(index: ChunkIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves the old index."""
    fill(index, 4)
    index.flush(force=True)
    before = content(index)

    def full(descriptor: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("codekin.storage.vectors.os.write", full)
        with pytest.raises(StoreError, match="disk is full"):
            put(index, "lib/new.ex")
    index._database.execute("PRAGMA max_page_count=1")
    with pytest.raises(StoreError, match="disk is full"):
        fill(index, 100)
    index._database.execute("PRAGMA max_page_count=1000000")
    kept = {path: index.chunks(path) for path in before["files"]}
    assert kept == before["chunks"]
    put(index, "lib/new.ex")
    assert index.file("lib/new.ex") is not None


def test_any_order_of_writes_leads_to_the_same_index(index: ChunkIndex, tmp_path: Path) -> None:
    """The index depends on the files alone, not on the order of writes."""
    generator = random.Random(3)
    reader = ChunkIndex.open(index.folder)
    versions: dict[str, int] = {}
    for step in range(60):
        path = path_of(generator.randrange(9))
        if path in versions and generator.random() < 0.3:
            index.remove_file(path)
            del versions[path]
        else:
            versions[path] = generator.randrange(4)
            put(index, path, versions[path], "elixir" if path.endswith(".ex") else "cpp")
        if step % 5 == 0:
            fresh = ChunkIndex.open(index.folder)
            assert columns(reader) == columns(fresh)
            _same_means(reader, fresh)
            fresh.close()
    reader.close()
    index.flush(force=True)
    assert content(index) == rebuilt(tmp_path / "fresh", versions)


def _same_means(reader: ChunkIndex, fresh: ChunkIndex) -> None:
    one, other = reader.view(), fresh.view()
    for language in ("elixir", "cpp"):
        left, right = (
            view.dense.mean(view.snapshot.languages.numbers[language]).tolist()
            if language in view.snapshot.languages.numbers
            else None
            for view in (one, other)
        )
        if right is not None:
            assert left == right


def test_spaces_switch_in_one_step_and_never_mix(index: ChunkIndex) -> None:
    """The old space serves until the new one is complete."""
    fill(index, 3)
    reader = ChunkIndex.open(index.folder)
    assert reader.view().snapshot.space.fingerprint == EMBEDDER.space
    index.ensure_space("space-2", "other", 32)
    assert len(index.unembedded_texts("space-2", 100)) == 12
    moved = index.project_space(EMBEDDER.space, "space-2", lambda vectors: vectors[:, :32] * 2)
    assert moved == 12
    assert reader.view().snapshot.space.fingerprint == EMBEDDER.space
    index.promote("space-2", keep_old=True)
    view = reader.view()
    assert (view.snapshot.space.fingerprint, view.dense.space.dimensions) == ("space-2", 32)
    index.promote(EMBEDDER.space)
    old = next(space for space in index.status().spaces if space.fingerprint == "space-2")
    assert (old.state, reader.view().dense.space.fingerprint) == ("dropped", EMBEDDER.space)
    index.drop_space("space-2")
    assert not vector_path(index.folder, old).exists()
    with pytest.raises(StoreError, match="serving"):
        index.drop_space(EMBEDDER.space)
    reader.close()


def test_vectors_of_another_size_or_not_finite_are_refused(index: ChunkIndex) -> None:
    """Vectors of another size, or not finite, are refused."""
    put(index, "lib/a.ex")
    index.replace_file("lib/b.ex", FileState(1, 1, 1, "h", "elixir"), chunks("lib/b.ex"))
    digest = chunks("lib/b.ex")[0].digest
    vector = EMBEDDER.embed(["x"])[0]
    with pytest.raises(StoreError, match="dimensions"):
        index.put_vectors({digest: vector[:3]})
    with pytest.raises(StoreError, match="not finite"):
        index.put_vectors({digest: vector * float("nan")})
    with pytest.raises(StoreError, match="dimensions"):
        index.ensure_space(EMBEDDER.space, "fake", 3)


def test_compaction_gives_room_back_and_keeps_what_is_live(index: ChunkIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compaction frees space and keeps live vectors, edits and readers."""
    monkeypatch.setattr(maintenance, "_MIN_SLOTS", 8)
    for version in range(6):
        put(index, "lib/a.ex", version)
    put(index, "lib/b.ex")
    index.flush(force=True)
    before, reader = content(index), ChunkIndex.open(index.folder)
    reader.view()
    size = vector_path(index.folder, index.serving_space()).stat().st_size
    maintenance.compact_index(index._database, index.folder, now=time.time() + 90 * maintenance.SECONDS_PER_DAY)
    assert any(edit.old_text for change in index.changes() for edit in change.edits)
    maintenance.compact_index(index._database, index.folder, now=time.time() + 400 * maintenance.SECONDS_PER_DAY)
    assert index.changes() == []
    assert vector_path(index.folder, index.serving_space()).stat().st_size < size / 2
    assert content(index) == before
    assert columns(reader) == columns(index)
    put(index, "lib/c.ex")
    assert reader.status().vectors == 12
    assert index.inspect() == []
    reader.close()
