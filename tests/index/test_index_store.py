"""Files in and out of the index: what is kept, reused, journalled and refused."""

import random
import time
from pathlib import Path

import pytest
from index_samples import EMBEDDER, columns, content, fill, fragment, fragments, path_of, put, rebuilt

from codekin.errors import StoreError
from codekin.index import FileState, Index, compaction
from codekin.index.spaces import vector_path


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """A writer on an empty index."""
    with Index.open(tmp_path / "index", write=True) as opened:
        opened.ensure_space(EMBEDDER.space, EMBEDDER.name, EMBEDDER.dimensions)
        yield opened


def test_a_file_comes_back_as_it_was_put(index: Index) -> None:
    """Fragments, states or names would be altered on their way."""
    put(index, "lib/a.ex")
    assert index.fragments("lib/a.ex") == fragments("lib/a.ex")
    assert index.file("lib/a.ex") == FileState(0, 0, 1, "lib/a.ex-0", "elixir")


def test_paths_and_texts_need_not_be_unicode(index: Index) -> None:
    """One strange file name or character would stop the indexing of all others."""
    path = b"lib/\xff\n.ex".decode("utf-8", "surrogateescape")
    one = fragment(path, 1)
    odd = type(one)(path, "elixir", "function", "bad\udc80/1", 1, 2, "def bad, do: \udc80\0", "", 0)
    index.replace_file(path, FileState(1, 1, 1, "h", "elixir"), [odd])
    assert index.fragments(path)[0].text == odd.text
    assert list(index.files()) == [path]


def test_known_texts_are_never_embedded_twice(index: Index) -> None:
    """A moved file or a branch that comes back would cost its embedding again."""
    put(index, "lib/a.ex", 0)
    slots = index.serving_space().slots
    digests = [part.digest for part in fragments("lib/a.ex")]
    put(index, "lib/a.ex", 1)
    index.remove_file("lib/a.ex")
    assert index.missing_digests(EMBEDDER.space, digests) == []
    index.replace_file("lib/moved.ex", FileState(1, 1, 1, "h", "elixir"), fragments("lib/a.ex", 0))
    assert index.status().vectors == len(digests)
    assert index.serving_space().slots == 2 * slots


def test_a_skipped_file_keeps_its_reason(index: Index) -> None:
    """`codekin status --files` could not say why a file is left out."""
    index.replace_file("lib/big.ex", FileState(1, 1, 1, "h", skipped="too large"), [])
    assert index.file("lib/big.ex").skipped == "too large"
    assert index.status().skipped == 1


def test_times_are_noted_without_a_rewrite(index: Index) -> None:
    """A touched file would be cut and journalled again."""
    put(index, "lib/a.ex")
    seq = index.seq()
    assert index.touch_file("lib/a.ex", FileState(9, 9, 9, "lib/a.ex-0"))
    assert index.file("lib/a.ex") == FileState(9, 9, 9, "lib/a.ex-0", "elixir")
    assert not index.touch_file("lib/a.ex", FileState(9, 9, 9, "another"))
    assert index.seq() == seq


def test_the_journal_has_each_edit_with_both_versions(index: Index) -> None:
    """Nightly learning would not know what changed, or from what."""
    put(index, "lib/a.ex", 0)
    since = index.seq()
    changed = [fragment("lib/a.ex", 0, 5), *fragments("lib/a.ex", 0)[1:]]
    changed[0] = type(changed[0])(**{**_fields(changed[0]), "name": fragment("lib/a.ex", 0).name})
    index.replace_file("lib/a.ex", FileState(1, 1, 1, "new", "elixir"), changed)
    (change,) = index.changes(since)
    assert (change.old_hash, change.new_hash) == ("lib/a.ex-0", "new")
    (edit,) = change.edits
    assert (edit.old_text, edit.new_text) == (fragment("lib/a.ex", 0).text, changed[0].text)


def _fields(one: object) -> dict[str, object]:
    return {name: getattr(one, name) for name in type(one).__slots__}


def test_edits_are_counted_from_one_save_to_the_next(index: Index) -> None:
    """Every keystroke in an unsaved buffer would look like an edit, or the save like none."""
    put(index, "lib/a.ex", 0)
    since = index.seq()
    for version in (1, 2):
        state = FileState(1, 1, 1, f"buffer{version}", "elixir", buffer=True)
        index.replace_file("lib/a.ex", state, fragments("lib/a.ex", version))
    assert index.changes(since) == []
    put(index, "lib/a.ex", 2)
    (change,) = index.changes(since)
    assert [edit.old_text for edit in change.edits if edit.old_text] == [one.text for one in fragments("lib/a.ex", 0)]
    assert len(index.changes(since, buffers=True)) == 3


def test_pages_of_files_follow_each_other(index: Index) -> None:
    """The scan would miss files or compare them twice."""
    fill(index, 7)
    paths = sorted(path_of(number) for number in range(7))
    first = index.files_after("", 3, first=True)
    second = index.files_after(first[-1][0], 10)
    assert [path for path, _ in first + second] == paths


def test_only_one_writer_at_a_time(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two indexers would write over each other's vectors."""
    monkeypatch.setattr("codekin.index.store._PATIENCE_FOR_LOCK", 0.0)
    with pytest.raises(StoreError, match="another process is indexing"):
        Index.open(index.folder, write=True)


def test_a_reader_cannot_write(index: Index) -> None:
    """The daemon could break what its indexer child writes."""
    reader = Index.open(index.folder)
    with pytest.raises(StoreError, match="open for reading only"):
        put(reader, "lib/a.ex")
    reader.close()


def test_no_index_yet_is_a_sentence(tmp_path: Path) -> None:
    """The first query in a fresh workspace would end in a traceback."""
    with pytest.raises(StoreError, match="codekin index"):
        Index.open(tmp_path)


def test_a_full_disk_keeps_the_old_state(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk would lose or half-write the index."""
    fill(index, 4)
    index.flush(force=True)
    before = content(index)

    def full(descriptor: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("codekin.index.vectors.os.write", full)
        with pytest.raises(StoreError, match="disk is full"):
            put(index, "lib/new.ex")
    index._database.execute("PRAGMA max_page_count=1")
    with pytest.raises(StoreError, match="disk is full"):
        fill(index, 100)
    index._database.execute("PRAGMA max_page_count=1000000")
    kept = {path: index.fragments(path) for path in before["files"]}
    assert kept == before["fragments"]
    put(index, "lib/new.ex")
    assert index.file("lib/new.ex") is not None


def test_any_order_of_writes_leads_to_the_same_index(index: Index, tmp_path: Path) -> None:
    """The index would depend on its past: phantoms, lost files, or a reader that drifts from the truth."""
    generator = random.Random(3)
    reader = Index.open(index.folder)
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
            fresh = Index.open(index.folder)
            assert columns(reader) == columns(fresh)
            _same_means(reader, fresh)
            fresh.close()
    reader.close()
    index.flush(force=True)
    assert content(index) == rebuilt(tmp_path / "fresh", versions)


def _same_means(reader: Index, fresh: Index) -> None:
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


def test_spaces_switch_in_one_step_and_never_mix(index: Index) -> None:
    """Vectors of an old and a new model would be compared, or queries would find nothing meanwhile."""
    fill(index, 3)
    reader = Index.open(index.folder)
    assert reader.view().snapshot.space.fingerprint == EMBEDDER.space
    index.ensure_space("space-2", "other", 32)
    assert len(index.unembedded("space-2", 100)) == 12
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


def test_vectors_of_another_size_or_not_finite_are_refused(index: Index) -> None:
    """A broken model would poison the space."""
    put(index, "lib/a.ex")
    index.replace_file("lib/b.ex", FileState(1, 1, 1, "h", "elixir"), fragments("lib/b.ex"))
    digest = fragments("lib/b.ex")[0].digest
    vector = EMBEDDER.embed(["x"])[0]
    with pytest.raises(StoreError, match="dimensions"):
        index.put_vectors({digest: vector[:3]})
    with pytest.raises(StoreError, match="not finite"):
        index.put_vectors({digest: vector * float("nan")})
    with pytest.raises(StoreError, match="dimensions"):
        index.ensure_space(EMBEDDER.space, "fake", 3)


def test_compaction_gives_room_back_and_keeps_what_is_live(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index would grow for ever, or lose live vectors, edits or a reader."""
    monkeypatch.setattr(compaction, "_FEWEST_SLOTS", 8)
    for version in range(6):
        put(index, "lib/a.ex", version)
    put(index, "lib/b.ex")
    index.flush(force=True)
    before, reader = content(index), Index.open(index.folder)
    reader.view()
    size = vector_path(index.folder, index.serving_space()).stat().st_size
    compaction.compact(index._database, index.folder, now=time.time() + 90 * compaction.DAY)
    assert any(edit.old_text for change in index.changes() for edit in change.edits)
    compaction.compact(index._database, index.folder, now=time.time() + 400 * compaction.DAY)
    assert index.changes() == []
    assert vector_path(index.folder, index.serving_space()).stat().st_size < size / 2
    assert content(index) == before
    assert columns(reader) == columns(index)
    put(index, "lib/c.ex")
    assert reader.status().vectors == 12
    assert index.inspect() == []
    reader.close()
