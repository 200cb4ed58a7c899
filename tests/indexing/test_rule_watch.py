"""Rules whose files send no event are noticed all the same, and what they say counts for opened texts too."""

import subprocess
from pathlib import Path

import pytest
from indexer_driver import Driven, contents, fresh_contents

from codekin.daemon.services import left_out
from codekin.daemon.services.left_out import LeftOutRules
from codekin.indexing.rule_watch import LOOK_SECONDS, RuleWatch
from codekin.indexing.watch import GIT_INDEX
from codekin.settings import IndexSettings

CODE = "defmodule {} do\n  def run(a, b) do\n    c = a + b\n    c * 2\n  end\nend\n"


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's configuration of git."""
    path = tmp_path / "gitconfig"
    path.write_text("[user]\n  name = t\n  email = t@e\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(path))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return path


@pytest.fixture
def root(tmp_path: Path, config: Path) -> Path:
    """A repository with a tracked file and two that are ignored; a subfolder is `app`."""
    root = tmp_path / "work"
    for name in ("app/lib/a", "app/private/b", "app/private/c"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.ex").write_text(CODE.format(name[-1].upper()))
    (root / ".gitignore").write_text("private/\n")
    git(root, "init", "-q", "-b", "main", ".")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "a")
    return root


def test_a_file_is_indexed_as_soon_as_git_tracks_it_and_no_longer(root: Path, tmp_path: Path) -> None:
    """`git add -f` and `git rm --cached` change what is indexed, though no file of the workspace changed."""
    driven = Driven(root, tmp_path / "index")
    driven.settle()
    assert "app/private/b.ex" not in driven.index.files()
    git(root, "add", "-f", "app/private/b.ex")
    driven.hint(GIT_INDEX)
    assert {"app/private/b.ex"} == {path for path in driven.index.files() if path.endswith("b.ex")}
    assert contents(driven.index) == fresh_contents(root, tmp_path / "fresh")
    git(root, "rm", "-q", "--cached", "app/private/b.ex")
    driven.hint(GIT_INDEX)
    assert contents(driven.index) == fresh_contents(root, tmp_path / "fresh2")
    driven.close()


def test_an_index_of_git_that_lies_elsewhere_is_looked_at(root: Path, tmp_path: Path) -> None:
    """In a worktree and in a folder of a repository git's index sends no event: it is looked at."""
    git(root, "worktree", "add", "-q", str(tmp_path / "tree"), "-b", "other")
    for opened in (tmp_path / "tree" / "app", root / "app"):
        (opened / "private").mkdir(exist_ok=True)
        (opened / "private/n.ex").write_text(CODE.format("N"))
        watch, now = RuleWatch(opened), 1000.0
        assert watch.changes(now) == []
        git(opened, "add", "-f", "private/n.ex")
        assert watch.changes(now + LOOK_SECONDS / 2) == []
        assert watch.changes(now + LOOK_SECONDS * 2) == ["private/n.ex"]
        assert watch.changes(now + LOOK_SECONDS * 4) == []


def test_the_indexes_of_submodules_worktrees_and_repositories_below_are_looked_at(root: Path, tmp_path: Path) -> None:
    """An opened submodule, a bare repository with its worktrees, and a folder of repositories."""
    work = tmp_path / "several"
    git(root, "clone", "-q", str(root), str(work / "one"))
    git(root, "clone", "-q", str(root), str(work / "group/two"))
    git(root, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(root), "parts/inner")
    bare = tmp_path / "bare"
    git(root, "clone", "-q", "--bare", str(root), str(bare / ".bare"))
    (bare / ".git").write_text("gitdir: ./.bare")
    git(bare, "worktree", "add", "-q", "main", "main")
    for opened, tree in (
        (work, "one"),
        (work, "group/two"),
        (root / "parts/inner", "."),
        (root / "parts/inner/app", ".."),
        (bare, "main"),
    ):
        (opened / tree / "app/private").mkdir(exist_ok=True)
        (opened / tree / "app/private/n.ex").write_text(CODE.format("N"))
        watch = RuleWatch(opened)
        assert watch.changes(1000.0) == []
        git(opened / tree, "add", "-f", "app/private/n.ex")
        inside = {"..": "private/n.ex", ".": "app/private/n.ex"}.get(tree, f"{tree}/app/private/n.ex")
        assert watch.changes(1000.0 + LOOK_SECONDS * 2) == [inside]
        assert watch.changes(1000.0 + LOOK_SECONDS * 4) == []
        git(opened / tree, "reset", "-q")


@pytest.mark.parametrize("where", ["above", "exclude", "configuration", "excludes file", "codekinignore above"])
def test_rules_outside_the_workspace_are_looked_at(root: Path, tmp_path: Path, config: Path, where: str) -> None:
    """Whatever rule file changes outside the opened folder, everything is compared with the new rules."""
    (tmp_path / "config/git").mkdir(parents=True)
    watch = RuleWatch(root / "app")
    assert watch.changes(1000.0) == []
    if where == "above":
        (root / ".gitignore").write_text("private/\nlib/\n")
    elif where == "codekinignore above":
        (root / ".codekinignore").write_text("lib/\n")
    elif where == "exclude":
        (root / ".git/info/exclude").write_text("lib/\n")
    elif where == "excludes file":
        (tmp_path / "config/git/ignore").write_text("lib/\n")
    else:
        (tmp_path / "mine").write_text("lib/\n")
        config.write_text(config.read_text() + f"[core]\n  excludesFile = {tmp_path / 'mine'}\n")
    assert None in watch.changes(1000.0 + 2 * LOOK_SECONDS)
    assert LeftOutRules(root / "app", IndexSettings()).leaves_out("lib/untracked.ex", "x")


def test_opened_texts_follow_the_rules_at_little_cost(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule files are looked at once for the many paths of a request, and again after a moment."""
    looks: list[int] = []
    stamp_files = left_out.stamp_files
    monkeypatch.setattr(left_out, "stamp_files", lambda paths: looks.append(1) or stamp_files(paths))
    clock = [1000.0]
    monkeypatch.setattr(left_out.time, "monotonic", lambda: clock[0])
    rules = LeftOutRules(root, IndexSettings())
    buffers = {f"app/lib/f{number}.ex": "x" for number in range(300)} | {"app/private/b.ex": "x"}
    for _ in range(5):
        assert len(rules.without_left_out(buffers)) == 300
    assert len(looks) == 2  # a folder each
    git(root, "add", "-f", "app/private/b.ex")
    (root / "app/.gitignore").write_text("f1.ex\n")
    clock[0] += 2 * left_out.LOOK_SECONDS
    assert len(rules.without_left_out(buffers)) == 300
    assert not rules.leaves_out("app/private/b.ex", "x")
    assert rules.leaves_out("app/lib/f1.ex", "x")
    assert len(looks) == 4
