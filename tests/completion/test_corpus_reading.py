"""What the corpus reads of a repository: the files that are as they were indexed, and no unsaved secret."""

import os
from hashlib import sha256
from pathlib import Path

import pytest

from codekin.completion.corpus_manager import CorpusManager, read_texts

CODE = "def settle(order):\n    return order.total_of_items()\n"


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/lib").mkdir(parents=True)
    (tmp_path / "root/lib/a.py").write_text(CODE)
    return tmp_path / "root"


def has_text(manager: CorpusManager, path: str) -> bool:
    return len(manager.corpus.tokens_of(path)) > 0


def test_indexed_files_are_read(root: Path) -> None:
    """A file whose bytes the index knows is part of the corpus."""
    assert list(read_texts(root, {"lib/a.py": digest(CODE)})) == [("lib/a.py", CODE)]


def test_a_folder_swapped_for_a_link_is_not_read(root: Path, tmp_path: Path) -> None:
    """Nothing outside the workspace is read, were it the very same text."""
    (root / "lib").rename(tmp_path / "outside")
    (root / "lib").symlink_to(tmp_path / "outside")
    assert list(read_texts(root, {"lib/a.py": digest(CODE)})) == []


@pytest.mark.parametrize("path", ["../outside.py", "lib/link.py", "lib/pipe.py", "lib", "lib/none.py", "lib/a\0.py"])
def test_only_regular_files_below_the_root_are_read(root: Path, tmp_path: Path, path: str) -> None:
    """Links, pipes, folders and paths that lead upwards are passed over without waiting."""
    (tmp_path / "outside.py").write_text(CODE)
    (root / "lib/link.py").symlink_to(root / "lib/a.py")
    os.mkfifo(root / "lib/pipe.py")
    assert list(read_texts(root, {path: digest(CODE)})) == []


def test_a_file_that_changed_waits_for_the_index(root: Path) -> None:
    """Whether the new text may be read is for the index to say."""
    (root / "lib/a.py").write_text("password = 'x'\n")
    assert list(read_texts(root, {"lib/a.py": digest(CODE)})) == []


def test_an_unsaved_secret_stays_out(root: Path, tmp_path: Path) -> None:
    """What is opened in an editor is no reason to offer it in other files."""
    manager = CorpusManager(root, tmp_path / "corpus")
    key = "AKIA" + "ABCDEFGHIJKLMNOP"
    secret = f'key_of_the_vault = "{key}"\n'
    manager.overlay_buffers({"lib/new.py": CODE, "lib/b.py": secret, ".env": CODE})
    assert [has_text(manager, path) for path in ("lib/new.py", "lib/b.py", ".env")] == [True, False, False]
    assert manager.has_overlay({"lib/new.py": CODE, "lib/b.py": secret}, "")


def test_a_closed_file_that_was_left_out_is_not_read(root: Path, tmp_path: Path) -> None:
    """Closing a file reads it from the disk only where it is indexed."""
    manager = CorpusManager(root, tmp_path / "corpus")
    manager.overlay_buffers({"lib/a.py": CODE})
    manager.overlay_buffers({})
    assert not has_text(manager, "lib/a.py")
