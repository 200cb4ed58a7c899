"""Storms of changes while the indexer works: in the end its index equals one built anew."""

import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from indexer_driver import contents, fresh_contents
from test_indexing_process import Child, read, write

CHANGES = 10_000
FOLDERS = 100


def settled(child: Child, root: Path, data: Path, fresh: Path) -> None:
    """The index becomes equal to a fresh one, by its own hints and scans."""
    wanted = fresh_contents(root, fresh)
    deadline = time.monotonic() + 90
    with read(root, data) as index:
        while (found := contents(index)) != wanted and time.monotonic() < deadline:
            assert child.process.poll() is None
            time.sleep(0.5)
        assert found.keys() == wanted.keys()
        assert found == wanted


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_storm_of_creates_saves_renames_and_deletes(tmp_path: Path) -> None:
    """watchdog loses thousands of events in such a storm."""
    rng = random.Random(11)
    root, data = tmp_path / "root", tmp_path / "data"
    for number in range(200):
        write(root, f"d{number % FOLDERS}/m{number}.ex", number)
    child = Child(root, data)
    for change in range(CHANGES):
        strike(root, rng, change)
    child.wait_for("ready")
    settled(child, root, data, tmp_path / "fresh")
    assert child.end() == 0
    child.close()


def strike(root: Path, rng: random.Random, change: int) -> None:
    """One create, atomic save, rename or delete of a small file, now and then of a folder."""
    path = root / f"d{rng.randrange(FOLDERS)}" / f"m{rng.randrange(20)}.ex"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f"defmodule M{change} do\n  def run(x), do: x + {change}\nend\n"
    kind = rng.randrange(100)
    if kind < 40:
        path.write_text(text)
    elif kind < 70:
        path.with_suffix(".tmp").write_text(text)
        path.with_suffix(".tmp").rename(path)
    elif kind < 84:
        path.unlink(missing_ok=True)
    elif kind < 98:
        other = root / f"d{rng.randrange(FOLDERS)}" / f"m{rng.randrange(20)}.ex"
        if path.exists() and other.parent.exists():
            path.rename(other)
    elif kind == 98:
        shutil.rmtree(path.parent)
    else:
        path.parent.rename(root / f"moved{change}")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_branches_switched_during_indexing(tmp_path: Path) -> None:
    """A checkout replaces thousands of files at once, some of them while they are read."""
    root, data = tmp_path / "root", tmp_path / "data"
    git = repository_with_branches(root)
    child = Child(root, data)
    for turn in range(20):
        git("checkout", "-q", ("one", "two", "three")[turn % 3])
        time.sleep(0.05 * (turn % 5))
    child.wait_for("ready")
    settled(child, root, data, tmp_path / "fresh")
    git("checkout", "-q", "one")
    settled(child, root, data, tmp_path / "fresh2")
    assert child.end() == 0
    child.close()


def repository_with_branches(root: Path) -> Callable[..., None]:
    """Three branches of 400 files, a third of them different in each, some there in one alone."""
    root.mkdir()

    def git(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=root, check=True)

    git("init", "-q", "-b", "one")
    for branch, name in enumerate(("one", "two", "three")):
        if branch:
            git("checkout", "-q", "-b", name)
        for number in range(400):
            if number % 3 == branch or not branch:
                write(root, f"lib/p{number % 20}/m{number}.ex", 1000 * branch + number)
            if number % 40 == branch:
                write(root, f"only/{name}/m{number}.ex", number)
        git("add", "-A")
        git("commit", "-q", "-m", name)
    return git
