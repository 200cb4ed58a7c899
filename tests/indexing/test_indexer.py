"""The indexer keeps its index equal to the tree, whatever happens to files and rules."""

import os
import shutil
from dataclasses import replace

import pytest
from indexer_driver import Driven, assert_whole, contents
from sample_trees import SETTLED, Place, module, names

from codekin import parsing
from codekin.errors import StoreError
from codekin.indexing import file_update


def test_a_tree_is_indexed(place: Place) -> None:
    """All files of a tree are chunked, embedded and searchable."""
    driven = place.start()
    ready = driven.settle()
    assert {"A.alpha/1", "B.beta/1", "gamma"} <= names(driven)
    assert (ready["files"], ready["skipped"], ready["pending"]) == (3, 1, 0)
    assert ready["embedded"] == ready["chunks"] > 0
    assert driven.index.files()["notes.rst"].skipped == "unknown language"
    assert_whole(driven.index)
    driven.close()


def test_an_unchanged_tree_is_neither_cut_nor_embedded_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start over an unchanged tree parses and embeds nothing."""
    place.start().close()
    monkeypatch.setattr(parsing, "cut_chunks", lambda *_: pytest.fail("cut again"))
    driven = place.start()
    ready = driven.settle()
    assert (ready["embedded"], ready["reused"]) == (0, ready["chunks"])
    assert [batch for batch in driven.batches if batch] == []
    driven.close()


def test_an_unchanged_tree_is_ready_before_the_model_is(place: Place) -> None:
    """An unchanged tree is ready without waiting for the model."""
    place.start().close()
    driven = Driven(place.root, place.folder)
    driven.submit = lambda _texts: None  # type: ignore[method-assign]
    ready = driven.settle()
    assert (ready["embedded"], ready["pending"]) == (0, 0)
    driven.close()


def test_a_touched_file_is_not_cut_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with a new time and the same content is not parsed again."""
    place.start().close()
    place.write("lib/a.ex", module("A", "alpha"), when=SETTLED + 1)
    with monkeypatch.context() as patch:
        patch.setattr(parsing, "cut_chunks", lambda *_: pytest.fail("cut again"))
        driven = place.start()
    assert driven.index.files()["lib/a.ex"].mtime_ns == (SETTLED + 1) * 10**9
    driven.close()


def test_the_same_size_and_time_do_not_hide_a_change(place: Place) -> None:
    """A change is found even where the file's size and time are unchanged."""
    (place.root / "lib/a.ex").write_text(module("A", "alpha"))  # its time stamp is now
    state = (place.root / "lib/a.ex").stat()
    driven = place.start()
    with (place.root / "lib/a.ex").open("r+") as file:
        file.write(module("A", "omega"))
    os.utime(place.root / "lib/a.ex", ns=(state.st_atime_ns, state.st_mtime_ns))
    driven.hint(None)
    assert "A.omega/1" in names(driven)
    driven.close()


def test_saves_deletions_and_renames_follow_their_hints(place: Place) -> None:
    """Saved, deleted and renamed files are updated from their events."""
    driven = place.start()
    place.write("lib/a.ex", module("A", "changed"))
    (place.root / "lib/b.ex").rename(place.root / "lib/renamed.ex")
    (place.root / "src/c.cpp").unlink()
    driven.hint("lib/a.ex", "lib/b.ex", "lib/renamed.ex", "src/c.cpp", "never/was.ex")
    assert contents(driven.index) == place.fresh()
    changed = {path for event in driven.told("changed")[1:] for path in event["paths"]}
    assert changed == {"lib/a.ex", "lib/b.ex", "lib/renamed.ex", "src/c.cpp"}
    assert_whole(driven.index)
    driven.close()


def test_folders_made_moved_and_deleted_follow_one_hint(place: Place) -> None:
    """Only the folder's own event may arrive."""
    driven = place.start()
    (place.root / "lib").rename(place.root / "moved")
    place.write("new/deep/d.ex", module("D", "delta"))
    driven.hint("lib", "moved", "new")
    assert contents(driven.index) == place.fresh()
    shutil.rmtree(place.root / "moved")
    (place.root / "moved").write_text("a file now")
    driven.hint("moved")
    assert contents(driven.index) == place.fresh()
    driven.close()


def test_lost_events_are_made_good_by_a_scan(place: Place) -> None:
    """After lost events, a scan finds the changes."""
    driven = place.start()
    place.write("lib/a.ex", module("A", "changed"))
    (place.root / "src/c.cpp").unlink()
    driven.hint(None)
    assert contents(driven.index) == place.fresh()
    driven.close()


def test_rules_that_change_purge_and_bring_back_at_once(place: Place) -> None:
    """Changed ignore rules remove files from the index and add them back at once."""
    driven = place.start()
    for rules in (".gitignore", "lib/.gitignore", ".codekinignore"):
        place.write(rules, "a.ex\n")
        driven.hint(rules)
        assert "A.alpha/1" not in names(driven)
        assert contents(driven.index) == place.fresh()
        (place.root / rules).unlink()
        driven.hint(rules)
        assert "A.alpha/1" in names(driven)
    driven.indexer.configure(driven.ignoring("lib/"))
    driven.settle()
    assert driven.index.files().keys() == {"notes.rst", "lib/", "src/c.cpp"}
    driven.close()


def test_hints_from_ignored_folders_write_nothing(place: Place) -> None:
    """Events in ignored folders write nothing to the index."""
    place.write("_build/x.ex", module("X", "x"))
    driven = place.start()
    seq = driven.index.seq()
    driven.hint("_build/x.ex", "_build/dev/y.ex", "_build")
    assert driven.index.seq() == seq
    driven.close()


def test_a_file_that_cannot_be_cut_is_left_out_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that fails to parse is left out, and all others are indexed."""
    really = parsing.cut_chunks

    def fails(path: str, text: str, language: str | None = None) -> object:
        if path == "lib/a.ex":
            raise RecursionError
        return really(path, text, language)

    monkeypatch.setattr(parsing, "cut_chunks", fails)
    driven = place.start()
    assert driven.index.files()["lib/a.ex"].skipped == "could not be read as code"
    assert {"B.beta/1", "gamma"} <= names(driven)
    assert any("lib/a.ex" in event["message"] for event in driven.told("problem"))
    driven.close()


def test_a_change_of_the_cutting_code_cuts_everything_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another index version cuts every file anew."""
    place.start().close()
    with monkeypatch.context() as patch:
        patch.setattr(file_update, "index_version", lambda: "another")
        patch.setattr(parsing, "cut_chunks", lambda *_: ([], []))
        driven = place.start()
        assert names(driven) == set()
        driven.close()
    driven = place.start()
    assert {"A.alpha/1", "B.beta/1", "gamma"} <= names(driven)
    driven.close()


def test_the_index_version_follows_the_code_that_selects_and_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each module that decides what is indexed counts, so that an upgrade reads again what it decides otherwise."""
    versions = {file_update.index_version.__wrapped__()}
    for name in file_update._SELECTING_SOURCES:
        others = tuple(other for other in file_update._SELECTING_SOURCES if other != name)
        with monkeypatch.context() as patch:
            patch.setattr(file_update, "_SELECTING_SOURCES", others)
            versions.add(file_update.index_version.__wrapped__())
    assert len(versions) == 1 + len(file_update._SELECTING_SOURCES)


def test_the_settings_map_extensions_to_languages(place: Place) -> None:
    """A mapped extension is cut in its language, and what is already indexed is cut again."""
    (place.root / "price.vertex").write_text(
        "float scale_price(float price) {\n  float tax = 2;\n  return price * tax;\n}\n"
    )
    (place.root / "vec.h").write_text("int plain_c(int a) {\n  int b = a;\n  return a + b;\n}\n")
    driven = place.start()
    assert driven.index.files()["price.vertex"].skipped == "unknown language"
    assert driven.index.files()["vec.h"].language == "c"
    driven.indexer.configure(driven.mapping(vertex="cpp", h="cpp"))
    driven.settle()
    assert [driven.index.files()[path].language for path in ("price.vertex", "vec.h")] == ["cpp", "cpp"]
    assert "scale_price" in names(driven)
    driven.indexer.configure(driven.workspace)
    driven.settle()
    assert driven.index.files()["vec.h"].language == "c"
    assert "scale_price" not in names(driven)
    driven.close()


def test_after_an_error_of_the_store_everything_is_made_good(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a storage error the next comparison indexes what was missed."""
    driven = Driven(place.root, place.folder)

    def full(*_: object, **__: object) -> None:
        raise StoreError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(driven.index, "replace_file", full)
        with pytest.raises(StoreError):
            driven.settle()
    driven.indexer.recover()
    driven.settle()
    assert contents(driven.index) == place.fresh()
    driven.close()


def test_a_file_that_kills_the_process_is_put_off_to_the_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that crashed the process is moved to the end of the queue."""
    place.folder.mkdir()
    for _ in range(3):
        note = file_update.CrashGuard(place.folder)
        note.enter("lib/a.ex")
        note.close()
    really, order = parsing.cut_chunks, []
    monkeypatch.setattr(parsing, "cut_chunks", lambda path, *rest: (order.append(path), really(path, *rest))[1])
    driven = place.start()
    assert order[-1] == "lib/a.ex"
    assert contents(driven.index) == place.fresh()
    driven.close()


def test_a_comparison_that_is_older_than_a_hint_does_not_undo_it(place: Place) -> None:
    """A scan that is older than an event does not undo what the event added."""
    driven = place.start()
    (place.root / "lib/a.ex").unlink()
    driven.indexer.rescan()
    change = None
    survey = driven.indexer._reconciliation
    while change is None:
        change = survey.next_change(driven.workspace, float("inf"))
    assert (change.path, change.found) == ("lib/a.ex", None)
    survey._ahead.append(change)
    place.write("lib/a.ex", module("A", "again"))
    driven.hint("lib/a.ex")
    assert "A.again/1" in names(driven)
    driven.close()


def test_the_journal_tells_saved_changes_and_their_edits(place: Place) -> None:
    """The journal has every change."""
    driven = place.start()
    seq = driven.index.seq()
    driven.buffer("lib/a.ex", module("A", "half_typed"))
    place.write("lib/a.ex", module("A", "alpha").replace("map", "flat_map"))
    driven.buffer("lib/a.ex", None)
    changes = driven.index.changes(seq)
    assert [change.path for change in changes] == ["lib/a.ex"]
    assert {(edit.old_text is None, "flat_map" in (edit.new_text or "")) for edit in changes[0].edits} >= {
        (False, True)
    }
    driven.close()


def test_a_language_filter_purges_and_lets_in(place: Place) -> None:
    """Turning a language off removes its files; turning it on adds them."""
    driven = place.start()
    driven.indexer.configure(replace(driven.workspace, languages=frozenset({"cpp"})))
    driven.settle()
    assert names(driven) == {"gamma"}
    driven.indexer.configure(driven.workspace)
    driven.settle()
    assert contents(driven.index) == place.fresh()
    driven.close()
