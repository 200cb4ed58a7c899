"""What git ignores for reasons outside the workspace, and which of several working trees is indexed."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codekin.indexing import git_folders
from codekin.indexing.file_reader import ScannedFile, SkippedPath, SkipReason, WorkspaceRoot
from codekin.indexing.git_folders import find_git_folder
from codekin.indexing.globs import IgnorePattern, PatternIndex, matches_path, parse_pattern
from codekin.indexing.ignore import base_rules
from codekin.indexing.scan import IndexScope, scan_tree


@pytest.fixture(autouse=True)
def user_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of git's that belongs to this test."""
    config = tmp_path / "gitconfig"
    config.write_text("[user]\n  name = t\n  email = t@e\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    git_folders._user_excludes_path.cache_clear()
    return config


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x\n")


def repository(folder: Path, *paths: str) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main", ".")
    write(folder, *paths)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "a")
    return folder


def indexed(root: Path) -> list[str]:
    entries = scan_tree(WorkspaceRoot(root), IndexScope(base_rules(), lambda path: path.endswith(".ex")))
    return [entry.path for entry in entries if isinstance(entry, ScannedFile)]


def listed_by_git(root: Path) -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=root, check=True, capture_output=True, text=True
    )
    return sorted(line for line in done.stdout.splitlines() if line.endswith(".ex"))


def test_rules_above_the_opened_folder_count(tmp_path: Path) -> None:
    """A folder of a monorepo is indexed as git sees it."""
    root = repository(tmp_path / "mono")
    (root / ".gitignore").write_text("/apps/backend/gen/\n*.tmp.ex\n")
    (root / "apps").mkdir()
    (root / "apps/.gitignore").write_text("/backend/old.ex\n!kept.tmp.ex\n")
    (root / ".git/info/exclude").write_text("/apps/backend/lib/excl.ex\n")
    write(root / "apps/backend", "gen/a.ex", "lib/real.ex", "lib/excl.ex", "lib/x.tmp.ex", "lib/kept.tmp.ex", "old.ex")
    backend = root / "apps/backend"
    assert indexed(backend) == ["lib/kept.tmp.ex", "lib/real.ex"] == listed_by_git(backend)


def test_a_rule_file_above_is_never_a_link(tmp_path: Path) -> None:
    """What is above is read as carefully as what is inside."""
    root = repository(tmp_path / "mono", "b/a.ex")
    (tmp_path / "other").write_text("*.ex\n")
    (root / ".gitignore").symlink_to(tmp_path / "other")
    assert indexed(root / "b") == ["a.ex"]


def test_the_users_own_ignore_file_counts_last(tmp_path: Path, user_configuration: Path) -> None:
    """`core.excludesFile` hides what the repository does not include."""
    (tmp_path / "mine").write_text("*.log.ex\nnotes/\n")
    with user_configuration.open("a") as file:
        file.write(f"[core]\n  excludesFile = {tmp_path / 'mine'}\n")
    root = repository(tmp_path / "r", "a.ex")
    (root / ".gitignore").write_text("!kept.log.ex\n")
    write(root, "b.log.ex", "kept.log.ex", "notes/n.ex")
    assert indexed(root) == ["a.ex", "kept.log.ex"] == listed_by_git(root)


def test_the_excludes_of_a_worktrees_repository_count(tmp_path: Path) -> None:
    """A worktree has the `info/exclude` of its repository."""
    main = repository(tmp_path / "main", "lib/a.ex")
    (main / ".git/info/exclude").write_text("notes/\n")
    git(main, "worktree", "add", "-q", "../feature", "-b", "feature")
    write(tmp_path / "feature", "notes/n.ex")
    assert indexed(tmp_path / "feature") == ["lib/a.ex"] == listed_by_git(tmp_path / "feature")


def test_the_excludes_of_a_submodule_count(tmp_path: Path) -> None:
    """A submodule's git folder lies in that of the repository around it."""
    inner = repository(tmp_path / "inner", "lib/a.ex")
    outer = repository(tmp_path / "outer", "b.ex")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner), "sub")
    (outer / ".git/modules/sub/info/exclude").write_text("notes/\n")
    write(outer / "sub", "notes/n.ex")
    assert indexed(outer / "sub") == ["lib/a.ex"] == listed_by_git(outer / "sub")


def test_a_git_folder_elsewhere_must_point_back(tmp_path: Path) -> None:
    """A repository does not borrow the rules of another one."""
    other = repository(tmp_path / "other")
    (other / ".git/info/exclude").write_text("*.ex\n")
    mine = tmp_path / "mine"
    write(mine, "a.ex", ".git")
    (mine / ".git").write_text(f"gitdir: {other / '.git'}\n")
    assert (find_git_folder(mine), indexed(mine)) == (None, ["a.ex"])


def bare_with_worktrees(folder: Path, source: Path, branches: Sequence[str]) -> Path:
    folder.mkdir()
    git(folder, "clone", "-q", "--bare", str(source), ".bare")
    (folder / ".git").write_text("gitdir: ./.bare\n")
    for branch in branches:
        git(folder, "worktree", "add", "-q", branch, *(["main"] if branch == "main" else ["-b", f"{branch}2"]))
    return folder


def test_one_worktree_beside_a_bare_repository_is_indexed(tmp_path: Path) -> None:
    """The tree of the default branch stands for the others, and git's own files are no code."""
    source = repository(tmp_path / "source", "lib/a.ex")
    root = bare_with_worktrees(tmp_path / "root", source, ["feat", "main"])
    write(root / ".bare", "hooks/h.ex")
    assert indexed(root) == ["main/lib/a.ex"]


def test_one_of_two_worktrees_in_a_folder_is_indexed(tmp_path: Path) -> None:
    """The first answer to a question is not the same function in the other tree."""
    main = repository(tmp_path / "work/trunk", "lib/a.ex")
    git(main, "worktree", "add", "-q", "../a_feature", "-b", "feature")
    repository(tmp_path / "work/unrelated", "b.ex")
    found = list(
        scan_tree(WorkspaceRoot(tmp_path / "work"), IndexScope(base_rules(), lambda path: path.endswith(".ex")))
    )
    assert [one.path for one in found if isinstance(one, ScannedFile)] == ["trunk/lib/a.ex", "unrelated/b.ex"]
    assert SkippedPath("a_feature/", SkipReason.NESTED_REPOSITORY) in found


@pytest.mark.parametrize(("line", "count"), [("p{}", 120_000), ("*p{}*", 30_000), ("a/**/p{}", 30_000)])
def test_very_many_rules_take_seconds(tmp_path: Path, line: str, count: int) -> None:
    """120,000 lines are generated easily, and git reads them in no time."""
    write(tmp_path, *(f"lib/m{number}.ex" for number in range(30)))
    (tmp_path / ".git").mkdir()
    lines = [line.format(number) for number in range(count)]
    (tmp_path / ".gitignore").write_text("\n".join(lines)[: (1 << 20) - 20] + "\nlib/m7.ex\n")
    began = time.thread_time()
    assert len(indexed(tmp_path)) == 29
    assert time.thread_time() - began < 5


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_what_git_tracks_is_indexed_though_a_pattern_names_it(tmp_path: Path, version: str) -> None:
    """git does not ignore what it tracks: it is the user's code. All else in such a folder stays out."""
    root = repository(tmp_path / "app", "gen/api/kept.ex", "gen/api/kept2.ex", "lib/a.ex", "gen/b/" + "n" * 140 + ".ex")
    git(root, "update-index", "--index-version", "4" if version == "4" else "2")
    if version == "3":
        git(root, "update-index", "--skip-worktree", "lib/a.ex")  # needs extended flags
    assert (root / ".git/index").read_bytes()[7] == int(version)
    (root / ".gitignore").write_text("gen/\nlib/*.ex\n!gen/api/other.ex\n")
    write(root, "gen/api/other.ex", "gen/new/c.ex", "lib/b.ex")
    assert indexed(root) == listed_by_git(root)
    assert indexed(root / "gen/api") == ["kept.ex", "kept2.ex", "other.ex"]  # opened by itself it counts
    (root / ".codekinignore").write_text("gen/b/\n")
    assert indexed(root) == ["gen/api/kept.ex", "gen/api/kept2.ex", "lib/a.ex"]


def test_a_damaged_index_tracks_nothing_it_does_not_name(tmp_path: Path) -> None:
    """Whatever the file holds, the scan ends and git's patterns hold for what is not known to be tracked."""
    root = repository(tmp_path / "app", "gen/a.ex", "lib/a.ex")
    (root / ".gitignore").write_text("gen/\n")
    index = (root / ".git/index").read_bytes()
    for data in (
        b"",
        index[:40],
        index[:8] + b"\xff" * 4 + index[12:],
        b"DIRC" + b"\0\0\0\4" + b"\xff" * 400,
        b"x" * 99,
    ):
        (root / ".git/index").write_bytes(data)
        assert "lib/a.ex" in indexed(root)
    (root / ".git/index").unlink()
    assert indexed(root) == ["lib/a.ex"]


@pytest.mark.parametrize(
    "named",
    [
        'deps_path: "../shared/deps", build_path: "../shared/build",',
        '"deps_path": "../shared/deps",\n      build_path: Path.join(__DIR__, "../shared/build"),',
        ':deps_path => "../shared/deps",\n      build_path: Path.expand("../shared/build", __DIR__),',
    ],
)
def test_folders_that_a_mix_project_names_hold_no_code_of_its_own(tmp_path: Path, named: str) -> None:
    """Dependencies and builds stay out wherever the project puts them; a comment names nothing."""
    root = tmp_path / "mono"
    write(
        root, "app/lib/a.ex", "shared/deps/jason/lib/jason.ex", "shared/build/dev/gen.ex", "shared/lib/b.ex", "old/c.ex"
    )
    (root / "app/mix.exs").write_text(
        f"defmodule A.MixProject do\n  def project do\n    [app: :a, {named}]\n  end\nend\n"
    )
    (root / "app/mix.exs").write_text((root / "app/mix.exs").read_text() + '# deps_path: "../old"\n')
    assert indexed(root) == ["app/lib/a.ex", "old/c.ex", "shared/lib/b.ex"]
    write(root, "app/vendor/[x]/d.ex", "app/vendor/x/e.ex")
    (root / "app/mix.exs").write_text('deps_path: "vendor/[x]", build_path: "../../outside", lockfile: "../mix.lock"\n')
    assert indexed(root / "app") == ["lib/a.ex", "vendor/x/e.ex"]


def test_folders_that_mix_takes_from_the_environment_stay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MIX_DEPS_PATH and MIX_BUILD_PATH count where they lie in the workspace."""
    root = tmp_path / "app"
    write(root, "lib/a.ex", "elsewhere/jason/lib/jason.ex")
    monkeypatch.setenv("MIX_DEPS_PATH", str(root / "elsewhere"))
    monkeypatch.setenv("MIX_BUILD_PATH", "/nowhere")
    assert indexed(root) == ["lib/a.ex"]


@settings(max_examples=300, derandomize=True)
@given(cuts=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=6)), max_size=6), version=st.integers(0, 5))
def test_an_index_of_any_bytes_is_read_to_an_end(cuts: list[tuple[int, bytes]], version: int) -> None:
    """Spliced indexes of every version give some paths, and no exception."""
    entry = b"\0" * 60 + b"\0\x08" + b"lib/a.ex" + b"\0\0"
    data = bytearray(b"DIRC" + version.to_bytes(4, "big") + (4).to_bytes(4, "big") + entry * 4 + b"\0" * 20)
    for at, piece in cuts:
        data[at : at + len(piece)] = piece
    assert len(git_folders._parse_index(bytes(data))) <= 10_000


@settings(max_examples=500, derandomize=True)
@given(
    lines=st.lists(st.text("ab*?[]!\\/# -^\r\t.", max_size=7), max_size=6),
    path=st.lists(st.text("ab.#! ]", min_size=1, max_size=4), min_size=1, max_size=3),
    folder=st.booleans(),
)
def test_few_patterns_are_tried_and_none_is_missed(lines: list[str], path: list[str], folder: bool) -> None:
    """The index of patterns finds the last one that matches, as trying every line from the end does."""
    segments = [part.encode() for part in path]
    patterns = [parse_pattern(line.encode()) for line in lines]

    def matches(pattern: IgnorePattern | None) -> bool:
        if pattern is None or (pattern.folders_only and not folder):
            return False
        return matches_path(pattern.segments, segments[-1:] if pattern.name_only else segments)

    expected = next((pattern for pattern in reversed(patterns) if matches(pattern)), None)
    assert PatternIndex("\n".join(lines).encode()).last_match(segments, folder=folder) == expected
