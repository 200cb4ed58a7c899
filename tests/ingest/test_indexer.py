"""The indexer keeps its index equal to the tree, whatever happens to files and rules."""

import os
import shutil
from dataclasses import replace

import pytest
from driving import Driven, assert_whole, contents
from trees import SETTLED, Place, module, names

from codekin import syntax
from codekin.errors import StoreError
from codekin.ingest import recipe, suspect


def test_a_tree_is_indexed(place: Place) -> None:
    """Nothing would be found."""
    driven = place.start()
    ready = driven.settle()
    assert {"A.alpha/1", "B.beta/1", "gamma"} <= names(driven)
    assert (ready["files"], ready["skipped"], ready["pending"]) == (3, 1, 0)
    assert ready["embedded"] == ready["fragments"] > 0
    assert driven.index.files()["README.md"].skipped == "unknown language"
    assert_whole(driven.index)
    driven.close()


def test_an_unchanged_tree_is_neither_cut_nor_embedded_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every start would cost as much as the first."""
    place.start().close()
    monkeypatch.setattr(syntax, "fragments", lambda *_: pytest.fail("cut again"))
    driven = place.start()
    ready = driven.settle()
    assert (ready["embedded"], ready["reused"]) == (0, ready["fragments"])
    assert [batch for batch in driven.batches if batch] == []
    driven.close()


def test_an_unchanged_tree_is_ready_before_the_model_is(place: Place) -> None:
    """Opening a project would wait for a model to load, though nothing has to be embedded."""
    place.start().close()
    driven = Driven(place.root, place.folder)
    driven.submit = lambda _texts: None  # type: ignore[method-assign]
    ready = driven.settle()
    assert (ready["embedded"], ready["pending"]) == (0, 0)
    driven.close()


def test_a_touched_file_is_not_cut_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout that sets new times on the same contents would index everything anew."""
    place.start().close()
    place.write("lib/a.ex", module("A", "alpha"), when=SETTLED + 1)
    with monkeypatch.context() as patch:
        patch.setattr(syntax, "fragments", lambda *_: pytest.fail("cut again"))
        driven = place.start()
    assert driven.index.files()["lib/a.ex"].mtime_ns == (SETTLED + 1) * 10**9
    driven.close()


def test_the_same_size_and_time_do_not_hide_a_change(place: Place) -> None:
    """A second write within the clock's tick would never be seen."""
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
    """Answers would point at code that is not there."""
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
    """watchdog loses events, and says nothing."""
    driven = place.start()
    place.write("lib/a.ex", module("A", "changed"))
    (place.root / "src/c.cpp").unlink()
    driven.hint(None)
    assert contents(driven.index) == place.fresh()
    driven.close()


def test_rules_that_change_purge_and_bring_back_at_once(place: Place) -> None:
    """What the user excludes would stay in the answers."""
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
    assert driven.index.files().keys() == {"README.md", "lib/", "src/c.cpp"}
    driven.close()


def test_hints_from_ignored_folders_write_nothing(place: Place) -> None:
    """A build would keep the indexer busy with its output."""
    place.write("_build/x.ex", module("X", "x"))
    driven = place.start()
    seq = driven.index.seq()
    driven.hint("_build/x.ex", "_build/dev/y.ex", "_build")
    assert driven.index.seq() == seq
    driven.close()


def test_a_file_that_cannot_be_cut_is_left_out_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bad file would end the indexing of all."""
    really = syntax.fragments

    def fails(path: str, text: str, language: str | None = None) -> object:
        if path == "lib/a.ex":
            raise RecursionError
        return really(path, text, language)

    monkeypatch.setattr(syntax, "fragments", fails)
    driven = place.start()
    assert driven.index.files()["lib/a.ex"].skipped == "could not be read as code"
    assert {"B.beta/1", "gamma"} <= names(driven)
    assert any("lib/a.ex" in event["message"] for event in driven.told("problem"))
    driven.close()


def test_a_change_of_the_cutting_code_cuts_everything_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade would serve fragments cut the old way until each file is edited."""
    place.start().close()
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "recipe", lambda: "another")
        patch.setattr(syntax, "fragments", lambda *_: ([], []))
        driven = place.start()
        assert names(driven) == set()
        driven.close()
    driven = place.start()
    assert {"A.alpha/1", "B.beta/1", "gamma"} <= names(driven)
    driven.close()


def test_after_an_error_of_the_store_everything_is_made_good(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk would leave files out until they are edited again."""
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
    """Each restart would die at the same file, and the others would never be indexed."""
    place.folder.mkdir()
    for _ in range(3):
        note = suspect.Suspect(place.folder)
        note.enter("lib/a.ex")
        note.close()
    really, order = syntax.fragments, []
    monkeypatch.setattr(syntax, "fragments", lambda path, *rest: (order.append(path), really(path, *rest))[1])
    driven = place.start()
    assert order[-1] == "lib/a.ex"
    assert contents(driven.index) == place.fresh()
    driven.close()


def test_a_comparison_that_is_older_than_a_hint_does_not_undo_it(place: Place) -> None:
    """A file made anew during a scan that saw it missing would be lost."""
    driven = place.start()
    (place.root / "lib/a.ex").unlink()
    driven.indexer.rescan()
    change = None
    survey = driven.indexer._survey
    while change is None:
        change = survey.next_change(driven.workspace, float("inf"))
    assert (change.path, change.found) == ("lib/a.ex", None)
    survey._ahead.append(change)
    place.write("lib/a.ex", module("A", "again"))
    driven.hint("lib/a.ex")
    assert "A.again/1" in names(driven)
    driven.close()


def test_the_journal_tells_saved_changes_and_their_edits(place: Place) -> None:
    """The nightly learning would not know what changed."""
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
    """Languages that the user turned off would still be answered."""
    driven = place.start()
    driven.indexer.configure(replace(driven.workspace, languages=frozenset({"cpp"})))
    driven.settle()
    assert names(driven) == {"gamma"}
    driven.indexer.configure(driven.workspace)
    driven.settle()
    assert contents(driven.index) == place.fresh()
    driven.close()
