"""A folder that was renamed keeps its index; one that only took over an inode or a name does not."""

import shutil
from pathlib import Path

import pytest

from codekin import paths
from codekin.indexing.moved_root import adopt_moved_index, record_root
from codekin.util.files import acquire_lock


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def root(tmp_path: Path, data: Path) -> Path:
    """A folder with an index that holds one vector file, and a checkpoint."""
    root = tmp_path / "before"
    for name in ("lib", "test", "mix.exs"):
        (root / name).mkdir(parents=True)
    index = paths.index_dir(data, root)
    index.mkdir(parents=True)
    (index / "vectors-1.f16").write_bytes(b"v")
    paths.finetune_dir(data, root).mkdir(parents=True)
    record_root(data, root)
    return root


def test_a_renamed_folder_keeps_its_index_and_checkpoints(data: Path, root: Path) -> None:
    """The vectors are there before anything is embedded anew."""
    moved = root.rename(root.parent / "after")
    (moved / "new").mkdir()
    assert adopt_moved_index(data, moved)
    assert (paths.index_dir(data, moved) / "vectors-1.f16").read_bytes() == b"v"
    assert paths.finetune_dir(data, moved).is_dir()
    assert not paths.index_dir(data, root).exists()
    assert not adopt_moved_index(data, moved)


def test_a_copy_and_another_folder_begin_anew(data: Path, root: Path) -> None:
    """A copy has inodes of its own, and a folder that still exists keeps its index."""
    copy = Path(shutil.copytree(root, root.parent / "copy"))
    assert not adopt_moved_index(data, copy)
    shutil.rmtree(root)
    assert not adopt_moved_index(data, copy)


def test_a_folder_with_the_same_inode_and_other_content_begins_anew(data: Path, root: Path) -> None:
    """File systems give the inodes of deleted folders away again."""
    moved = root.rename(root.parent / "after")
    for entry in list(moved.iterdir()):
        entry.rename(entry.with_name(f"other-{entry.name}"))
    assert not adopt_moved_index(data, moved)


def test_an_index_in_use_is_left_alone(data: Path, root: Path) -> None:
    """An indexer that still runs for the old path is not robbed of its index."""
    lock = acquire_lock(paths.index_dir(data, root) / "writer.lock")
    moved = root.rename(root.parent / "after")
    assert not adopt_moved_index(data, moved)
    lock.release()
    assert adopt_moved_index(data, moved)
