"""Paths and URIs are told apart and put together as editors do it."""

from pathlib import Path

import pytest

from codekin.errors import UsageError
from codekin.lsp.documents import WorkspaceFolders, path_from_uri, read_initial_folders, uri_from_path


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
    """File URIs give their path; URIs of other schemes give none."""
    assert (None if path is None else Path(path)) == path_from_uri(uri)


@pytest.mark.parametrize("name", ["a b.ex", "ü汉🙂.ex", "a#b?c%20d.ex", "caf\udce9.ex", "new\nline.ex"])
def test_every_name_survives_the_way_there_and_back(name):
    """A name that changes on its way opens an empty file in the editor."""
    assert Path("/x") / name == path_from_uri(uri_from_path(Path("/x") / name))


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "real dir" / "inner" / "lib").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real dir")
    return WorkspaceFolders()


def test_a_linked_root_and_its_real_path_are_one(folders, tmp_path):
    """A file is found through the link and through the real path of its folder."""
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
    """Remote folders, missing folders and plain files are left out."""
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
    assert expected == list(read_initial_folders(params))


def message(window) -> str:
    return window.session.status.current.message


async def test_a_folder_that_is_not_there_is_named_and_taken_in_once_it_is(window, root, tmp_path, monkeypatch):
    """The folders that are there are served meanwhile."""
    monkeypatch.setattr("codekin.lsp.features.workspace.MISSING_INTERVAL", 0.01)
    later = tmp_path / "later"
    await window.begin(root, later)
    await window.until(lambda: message(window) == f"There is no folder {later}: Codekin waits for it.")
    assert (await window.ask("codekin/search", {"text": "x"}))["hits"]
    later.mkdir()
    await window.until(lambda: str(later) in window.daemon.streams)
    await window.until(lambda: message(window) == "Codekin is ready.")


async def test_a_root_that_is_a_file_is_named(window, root):
    """The user opened the wrong thing, and reads what to do."""
    await window.begin(root / "lib" / "b.ex")
    await window.until(lambda: message(window).endswith("b.ex is a file: open its folder instead."))


async def test_a_missing_folder_that_is_closed_is_no_problem_any_longer(window, root, tmp_path, monkeypatch):
    """A problem ends with its cause."""
    monkeypatch.setattr("codekin.lsp.features.workspace.MISSING_INTERVAL", 0.01)
    gone = tmp_path / "gone"
    await window.begin(root)
    added = {"added": [{"uri": gone.as_uri(), "name": "gone"}], "removed": []}
    window.notify("workspace/didChangeWorkspaceFolders", {"event": added})
    await window.until(lambda: "There is no folder" in message(window))
    window.notify("workspace/didChangeWorkspaceFolders", {"event": {"added": [], "removed": added["added"]}})
    await window.until(lambda: message(window) == "Codekin is ready.")


async def test_one_folder_that_cannot_be_searched_does_not_fail_the_others(window, root, tmp_path):
    """The others answer, and the answer names the one that did not."""
    other = tmp_path / "other"
    other.mkdir()
    await window.begin(root, other)
    found = window.daemon.answers["/search"]

    def search(body):
        return UsageError(f"There is no folder {other}.") if body["root"] == str(other) else found

    window.daemon.answers["/search"] = search
    answer = await window.ask("codekin/search", {"text": "x"})
    assert [hit["path"] for hit in answer["hits"]] == ["lib/b.ex"]
    assert answer["degraded"] == f"other: There is no folder {other}."
    window.daemon.answers["/search"] = UsageError("There is no folder.")
    assert (await window.fail("codekin/search", {"text": "x"}))["message"] == "There is no folder."
