"""What an editor has not saved yet lies over the tree, as long as the editor's session."""

from indexer_driver import contents
from sample_trees import Place, module, names


def test_an_unsaved_text_lies_over_its_file_until_it_is_closed(place: Place) -> None:
    """The text of an unsaved buffer replaces that of its file until the buffer is closed."""
    driven = place.start()
    driven.buffer("lib/a.ex", module("A", "typed"))
    driven.buffer("lib/unsaved.ex", module("New", "unsaved"))
    assert {"A.typed/1", "New.unsaved/1"} <= names(driven)
    assert "A.alpha/1" not in names(driven)
    place.write("lib/a.ex", module("A", "on_disk"))
    driven.hint("lib/a.ex", None)
    assert "A.typed/1" in names(driven)
    driven.buffer("lib/a.ex", None)
    driven.buffer("lib/unsaved.ex", None)
    assert contents(driven.index) == place.fresh()
    driven.close()


def test_an_unsaved_text_is_left_out_as_its_file_would_be(place: Place) -> None:
    """The buffer of an ignored or secret file is left out like the file."""
    place.write(".gitignore", "private/\n")
    driven = place.start()
    for path in ("private/x.ex", "lib/prod.secret.exs", "notes.txt"):
        driven.buffer(path, module("X", "hidden"))
    driven.buffer("lib/key.ex", f'@key "AKIAIOSFODNN7EXAMPLE"\n{module("X", "hidden")}')
    driven.buffer("lib/giant.ex", module("X", "hidden") + "# comment\n" * 200_000)
    assert "X.hidden/1" not in names(driven)
    assert driven.index.files()["lib/key.ex"].skipped == "secret"
    driven.close()


def test_an_opened_but_unchanged_text_is_no_change(place: Place) -> None:
    """Opening a file without editing it causes no work."""
    driven = place.start()
    seq = driven.index.seq()
    driven.buffer("lib/a.ex", module("A", "alpha"))
    driven.buffer("lib/a.ex", None)
    assert not driven.index.files()["lib/a.ex"].buffer
    assert driven.index.changes(seq, buffers=True) == []
    driven.close()


def test_an_unsaved_text_does_not_outlive_its_session(place: Place) -> None:
    """Unsaved text is dropped from the index at the next start."""
    driven = place.start()
    driven.buffer("lib/a.ex", module("A", "typed"))
    driven.buffer("lib/unsaved.ex", module("New", "unsaved"))
    driven.close()
    driven = place.start()
    assert contents(driven.index) == place.fresh()
    driven.close()
