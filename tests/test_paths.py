"""Places: private runtime folders, short socket paths, one index folder for each root."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from codekin import paths
from codekin.errors import CodekinError, DaemonError, UsageError


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ck"))
    monkeypatch.setenv("CODEKIN_RUNTIME_DIR", str(folder / "run"))
    return folder / "run"


def test_the_runtime_folder_is_private(base, tmp_path):
    """The runtime folder has mode 0700."""
    folder = paths.runtime_dir(tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(base.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
def test_a_folder_that_others_may_write_to_is_refused(base, tmp_path, mode):
    """A runtime folder that others can write to is refused."""
    base.mkdir()
    base.chmod(mode)
    with pytest.raises(DaemonError, match="chmod 700"):
        paths.runtime_dir(tmp_path)


def test_a_link_in_the_place_of_the_folder_is_refused(base, tmp_path):
    """A symlink in place of the runtime folder is refused."""
    base.symlink_to(tmp_path)
    with pytest.raises(DaemonError, match="link"):
        paths.runtime_dir(tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(base, tmp_path):
    """A runtime folder that another user owns is refused."""
    base.mkdir(mode=0o700)
    os.chown(base, 12345, -1)
    with pytest.raises(DaemonError, match="another user"):
        paths.runtime_dir(tmp_path)


def test_a_long_runtime_folder_is_refused_in_a_sentence(monkeypatch, tmp_path):
    """A runtime path too long for a socket is refused with one sentence."""
    monkeypatch.setenv("CODEKIN_RUNTIME_DIR", str(tmp_path / ("x" * 120)))
    with pytest.raises(DaemonError, match="CODEKIN_RUNTIME_DIR"):
        paths.socket_path(tmp_path)


def test_a_long_data_folder_still_has_a_short_socket(base, tmp_path):
    """A long data folder gets a socket path that is short enough."""
    data = tmp_path / ("deep" * 40)
    assert len(os.fsencode(paths.socket_path(data))) < paths.SOCKET_PATH_LIMIT
    assert base in paths.socket_path(data).parents


def test_each_data_folder_has_its_own_socket(base, tmp_path):
    """Each data folder has its own socket."""
    assert paths.socket_path(tmp_path / "a") != paths.socket_path(tmp_path / "b")
    assert base.is_dir()


def test_a_workspace_has_one_folder_whatever_its_path(tmp_path):
    """A workspace has one state folder, whichever path leads to it, and shares it with no other."""
    root, other, link = tmp_path / "one" / "app", tmp_path / "two" / "app", tmp_path / "link"
    root.mkdir(parents=True)
    other.mkdir(parents=True)
    link.symlink_to(root)
    assert paths.index_dir(tmp_path, root) == paths.index_dir(tmp_path, link)
    assert paths.index_dir(tmp_path, root) != paths.index_dir(tmp_path, other)


@pytest.mark.parametrize("name", ["a\nb", "ü" * 100, "\udcff", "x y"])
def test_odd_names_of_roots_give_plain_folders(tmp_path, name):
    """A root whose name has newlines or arbitrary bytes gets a plain folder name."""
    folder = paths.index_dir(tmp_path, tmp_path / name)
    assert folder.name.isascii()
    assert folder.name.isprintable()
    assert len(folder.name) <= 60


def test_a_data_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    """A data folder that cannot be created raises one sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="data folder"):
        paths.data_dir(tmp_path / "file" / "data")
    assert issubclass(UsageError, CodekinError)
