"""The ignore decisions equal those of `git check-ignore`, on generated trees and patterns."""

import os
import random
import subprocess
from pathlib import Path

import pytest

from codekin.indexing.file_reader import SkippedPath, SkipReason, WorkspaceRoot
from codekin.indexing.ignore import base_rules
from codekin.indexing.scan import IndexScope, scan_tree

NAMES = ["a", "b", "ab", "aab", "foo", "bar", "foo.ex", "bar.ex", "a b", "[x]", "é", "x.log", "#h", "!n", "deep"]
PATTERNS = [
    "a", "*.ex", "/foo", "foo/", "**/bar", "a/**", "a/**/b", "/*", "!foo", "!*.ex", "!/a/", "*", "a*b", "?", "??",
    "[ab]", "[!a]", "[a-c]*", "[[:alpha:]]", "[]x]", "\\#h", "\\!n", "#h", "a\\ b", "a b  ", "foo/*", "!foo/bar.ex",
    "**", "**/", "/**", "deep/**/a", "***/a", "[[]x]", "\\[x\\]", "[x", "a\\", "*/b", "/*/foo.ex", "x.*", "!x.log",
    "é", "[^b]", "f*o*", "*.e[wx]", "[a\\-b]", "", "/", "//", "a//b", "[[:foo:]]", "[b-a]", "foo.ex/", "deep/", "a/",
    "b/**/", "**/a/**", "a/*/**/b", "bar/../foo", "./a", "[[:alnum:][:punct:]]x",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_generated_trees_are_ignored_as_git_ignores_them(tmp_path: Path, seed: int) -> None:
    """Patterns ignore what `git check-ignore` ignores."""
    make_tree(tmp_path, random.Random(seed))
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    found = list(scan_tree(WorkspaceRoot(tmp_path), IndexScope(base_rules(), lambda _path: True)))
    ours = {entry.path for entry in found if isinstance(entry, SkippedPath)}
    assert {entry.reason for entry in found if isinstance(entry, SkippedPath)} <= {SkipReason.GITIGNORE}
    assert ours == outermost(ignored_by_git(tmp_path, everything(tmp_path)))


def make_tree(root: Path, rng: random.Random) -> None:
    folders = [root]
    for _ in range(25):
        folder = rng.choice(folders) / rng.choice(NAMES)
        if not folder.exists() and rng.random() < 0.5:
            folder.mkdir()
            folders.append(folder)
        elif not folder.exists():
            folder.write_text("x")
    for folder in rng.sample(folders, k=min(len(folders), 3)):
        end = rng.choice(["\n", "\r\n"])
        lines = [rng.choice(PATTERNS) for _ in range(rng.randint(1, 5))]
        (folder / ".gitignore").write_bytes(end.join(lines).encode() + rng.choice([b"", b"\n"]))
    exclude = root / ".git" / "info" / "exclude"
    exclude.parent.mkdir(parents=True)
    exclude.write_text(rng.choice(PATTERNS))


def everything(root: Path) -> list[str]:
    paths = []
    for folder, folders, files in os.walk(root):
        if ".git" in folders:
            folders.remove(".git")
        place = os.path.relpath(folder, root)
        paths += [(Path(place) / name).as_posix() + "/" for name in folders]
        paths += [(Path(place) / name).as_posix() for name in files]
    return paths


def ignored_by_git(root: Path, paths: list[str]) -> set[str]:
    command = ["git", "-c", "core.excludesFile=/dev/null", "check-ignore", "--no-index", "-z", "--stdin"]
    slashed = {path.rstrip("/"): path for path in paths}  # git misreads a folder given with its slash
    given = "\0".join(slashed).encode()
    done = subprocess.run(command, cwd=root, input=given, capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return {slashed[path.decode()] for path in done.stdout.split(b"\0") if path}


def outermost(paths: set[str]) -> set[str]:
    """A folder stands for all below it, as in a scan."""
    folders = tuple(path for path in paths if path.endswith("/"))
    return {path for path in paths if not any(path != folder and path.startswith(folder) for folder in folders)}
