"""Paths and URIs are told apart and put together as editors do it."""

from pathlib import Path

import pytest

from codekin.lsp.folders import Folders, initial_folders, path_of, uri_of_path


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///a/b.ex", "/a/b.ex"),
        ("file:///a%20b/%E6%B1%89%F0%9F%99%82.ex", "/a b/汉🙂.ex"),
        ("file:///a b/ü.ex", "/a b/ü.ex"),
        ("FILE:/a/b", "/a/b"),
        ("file://localhost/a", "/a"),
        ("file:///a/../b//c", "/b/c"),
        ("file:///a%23b%3F.ex", "/a#b?.ex"),
        ("file:///caf%E9.ex", "/caf\udce9.ex"),
        ("file://server/share/a", None),
        ("file:relative", None),
        ("file:///a%00b", None),
        ("untitled:Untitled-1", None),
        ("git:/a/b.ex?ref", None),
        ("", None),
    ],
)
def test_file_uris_are_paths_and_others_are_not(uri, path):
    """A scheme that is no file must never be read from disk."""
    assert (None if path is None else Path(path)) == path_of(uri)


@pytest.mark.parametrize("name", ["a b.ex", "ü汉🙂.ex", "a#b?c%20d.ex", "caf\udce9.ex", "new\nline.ex"])
def test_every_name_survives_the_way_there_and_back(name):
    """A name that changes on its way opens an empty file in the editor."""
    assert Path("/x") / name == path_of(uri_of_path(Path("/x") / name))


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "real dir" / "inner" / "lib").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real dir")
    return Folders()


def test_a_linked_root_and_its_real_path_are_one(folders, tmp_path):
    """Editors mix both forms; the file must be found by either."""
    folder = folders.add((tmp_path / "link").as_uri())
    for given in (tmp_path / "link" / "a.ex", tmp_path / "real dir" / "a.ex"):
        place = folders.locate(given.as_uri())
        assert (folder, "a.ex") == (place.folder, place.path)
    assert (tmp_path / "link").as_uri() + "/sp%20ace.ex" == folder.uri_of("sp ace.ex")


def test_the_innermost_folder_owns_a_file(folders, tmp_path):
    """Nested folders are searched on their own, so their files belong to them."""
    outer = folders.add((tmp_path / "real dir").as_uri())
    inner = folders.add((tmp_path / "real dir" / "inner").as_uri() + "/")
    assert folders.locate((tmp_path / "real dir/inner/lib/a.ex").as_uri()).folder is inner
    assert folders.locate((tmp_path / "real dir/b.ex").as_uri()).folder is outer
    assert folders.locate((tmp_path / "elsewhere.ex").as_uri()) is None
    assert folders.remove((tmp_path / "real dir/inner").as_uri()) is inner
    assert folders.locate((tmp_path / "real dir/inner/lib/a.ex").as_uri()).path == "inner/lib/a.ex"


def test_folders_that_are_none_are_left_out(folders, tmp_path):
    """A folder on another machine or one that is gone must not reach the daemon."""
    (tmp_path / "file").touch()
    for uri in ("vscode-vfs://github/x", (tmp_path / "gone").as_uri(), (tmp_path / "file").as_uri()):
        assert folders.add(uri) is None
    assert folders.add(tmp_path.as_uri()) is not None
    assert folders.add(tmp_path.as_uri()) is None


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"workspaceFolders": [{"uri": "file:///a", "name": "A"}], "rootUri": "file:///b"}, [("file:///a", "A")]),
        ({"workspaceFolders": None, "rootUri": "file:///b", "rootPath": "/c"}, [("file:///b", "")]),
        ({"rootPath": "/c d"}, [("file:///c%20d", "")]),
        ({"rootUri": None, "rootPath": None}, []),
    ],
)
def test_all_ways_to_name_the_root_are_read(params, expected):
    """Older clients name their root in older ways."""
    assert expected == list(initial_folders(params))
