"""Earlier texts of functions come from git, whatever the repository is like, and nothing that it asks for is run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from finetune_samples import NoisyEmbedder, application, built_index

from codekin.finetune.dataset import git_history
from codekin.finetune.dataset.functions import FunctionSample, select_samples, shared_pattern
from codekin.finetune.dataset.git_history import find_earlier_texts
from codekin.finetune.dataset.triplets import MAX_VERSION_SHARE, TripletMix
from codekin.finetune.dataset.workspace import HELD_OUT_SHARE, load_dataset
from codekin.finetune.evaluation import build_evaluation_queries
from codekin.parsing import cut_chunks

TODAY = (
    "defmodule Shop do\n  def total(items) do\n    items\n    |> Enum.map(& &1.price)\n    |> Enum.sum()\n  end\nend\n"
)
FIRST = TODAY.replace(
    "|> Enum.map(& &1.price)\n    |> Enum.sum()", "|> Enum.reduce(0, fn item, sum -> item.price + sum end)"
)
SECOND = TODAY.replace("Enum.sum()", "Enum.reduce(&+/2)")

COMMANDS = [
    "core.fsmonitor",
    "core.pager",
    "pager.log",
    "alias.log",
    "gpg.program",
    "diff.external",
    "diff.evil.command",
    "diff.evil.textconv",
    "filter.evil.smudge",
    "filter.evil.clean",
    "core.sshCommand",
]
"""What a repository's configuration may name a command in."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "work tree"
    folder.mkdir()
    run(folder, "init", "--quiet")
    return folder


def run(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = folder / name.replace("__", "/")
        path = path.with_name(path.name + ".ex")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    run(folder, "add", "--all")
    run(folder, "commit", "--quiet", "--message", "change")


def pieces_below(folder: Path) -> list[FunctionSample]:
    found = [(path.relative_to(folder).as_posix(), path.read_text()) for path in sorted(folder.rglob("*.ex"))]
    return select_samples(one for path, text in found for one in cut_chunks(path, text)[0])


def earlier(folder: Path, below: Path | None = None) -> dict[str, str]:
    """By name, with the blanks taken out."""
    found = find_earlier_texts(below or folder, folder.parent / "kept", pieces_below(below or folder))
    return {name: "".join(text.split()) for (_, name), text in found.items()}


def test_the_oldest_text_that_differs(root):
    """Of three versions the first differs most; a function that was only moved about has no earlier one."""
    still = "\n  def still(a) do\n    b = a + 1\n    b * 2\n  end\nend\n"
    for text in (FIRST, SECOND, TODAY):
        commit(root, lib__shop=text.removesuffix("end\n") + still)
    assert list(earlier(root)) == ["Shop.total/1"]
    assert "Enum.reduce(0" in earlier(root)["Shop.total/1"]
    queries = build_evaluation_queries(
        pieces_below(root), [0], find_earlier_texts(root, root / "kept", pieces_below(root))
    )
    assert "reduce(0" in next(one.text for one in queries if one.kind == "version")


def test_a_file_keeps_its_past_when_it_is_renamed(root):
    commit(root, lib__shop=FIRST)
    run(root, "mv", "lib/shop.ex", "lib/store.ex")
    commit(root)
    commit(root, lib__store=TODAY)
    assert "Enum.reduce(0" in earlier(root)["Shop.total/1"]


def test_a_workspace_may_be_a_folder_of_the_repository(root):
    commit(root, lib__shop=FIRST, other__shop=FIRST)
    commit(root, lib__shop=TODAY, other__shop=TODAY)
    assert list(earlier(root, root / "lib")) == ["Shop.total/1"]


def test_the_next_commit_is_seen(root):
    """What is kept counts for one commit alone."""
    commit(root, lib__shop=SECOND)
    assert earlier(root) == {}
    commit(root, lib__shop=TODAY)
    assert "reduce(&+/2)" in earlier(root)["Shop.total/1"]
    kept = (root.parent / "kept" / "earlier-texts.json").stat().st_ino
    earlier(root)
    assert (root.parent / "kept" / "earlier-texts.json").stat().st_ino == kept  # it would be another file


def test_an_earlier_file_with_a_secret_is_left_out(root):
    """The index takes no such file, so neither may its past be read."""
    secret = '  @key "AKIAIOSFODNN7EXAMPLE"\n'
    commit(root, lib__shop=FIRST.replace("do\n", f"do\n{secret}", 1))
    commit(root, lib__shop=TODAY)
    assert earlier(root) == {}


def test_no_program_that_the_repository_names_is_run(root):
    """Its configuration, attributes and hooks name commands; reading its past may run none, nor fetch anything."""
    commit(root, lib__shop=FIRST)
    commit(root, lib__shop=TODAY)
    trap, script = root.parent / "trapped", root.parent / "trap"
    script.write_text(f"#!/bin/sh\ntouch {trap}\n")
    script.chmod(0o755)
    for name in COMMANDS:
        run(root, "config", name, str(script))
    run(root, "config", "log.showSignature", "true")
    run(root, "config", "log.diffMerges", "remerge")
    (root / ".git" / "info" / "attributes").write_text("* diff=evil filter=evil\n")
    for hook in ("post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc"):
        (root / ".git" / "hooks").mkdir(exist_ok=True)
        (root / ".git" / "hooks" / hook).symlink_to(script)
    before = {path: path.stat().st_mtime_ns for path in (root / ".git").rglob("*")}
    assert "Enum.reduce(0" in earlier(root)["Shop.total/1"]
    assert not trap.exists()
    assert {path: path.stat().st_mtime_ns for path in (root / ".git").rglob("*")} == before


def test_settings_of_a_repository_do_not_hide_its_past(root):
    """What its owner likes a log to look like is not for programs to stumble over."""
    commit(root, lib__shop=FIRST)
    run(root, "mv", "lib/shop.ex", "lib/größe \n.ex")
    commit(root)
    (root / "lib" / "größe \n.ex").write_text(TODAY)
    commit(root)
    liked = {"color.ui": "always", "diff.orderFile": "/nowhere", "log.follow": "true", "diff.renames": "false",
             "diff.relative": "false", "format.pretty": "%B", "log.decorate": "full", "diff.noprefix": "true",
             "core.quotePath": "true", "log.diffMerges": "m"}  # fmt: skip
    for name, value in liked.items():
        run(root, "config", name, value)
    assert "Enum.reduce(0" in earlier(root)["Shop.total/1"]


def test_a_second_work_tree_has_the_past_of_the_first(root, tmp_path):
    """Its `.git` is a file that leads to the repository."""
    commit(root, lib__shop=FIRST)
    commit(root, lib__shop=TODAY)
    run(root, "worktree", "add", "--quiet", str(tmp_path / "second"))
    assert "Enum.reduce(0" in earlier(tmp_path / "second")["Shop.total/1"]


def test_a_signed_commit_is_not_verified(root):
    """Reading the log of signed commits does not run the repository's `gpg.program`."""
    commit(root, lib__shop=FIRST)
    commit(root, lib__shop=TODAY)
    found = subprocess.run(["git", "cat-file", "commit", "HEAD"], cwd=root, check=True, capture_output=True).stdout
    head, _, message = found.partition(b"\n\n")
    signed = head + b"\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n AA\n -----END PGP SIGNATURE-----\n\n" + message
    made = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin"], cwd=root, check=True, capture_output=True, input=signed
    )
    run(root, "update-ref", "HEAD", made.stdout.decode().strip())
    trap, script = root.parent / "trapped", root.parent / "trap"
    script.write_text(f"#!/bin/sh\ntouch {trap}\n")
    script.chmod(0o755)
    run(root, "config", "gpg.program", str(script))
    run(root, "config", "log.showSignature", "true")
    subprocess.run(["git", "log", "-1"], cwd=root, check=False, capture_output=True)
    assert trap.exists()  # the trap works
    trap.unlink()
    assert earlier(root) != {}
    assert not trap.exists()


def test_a_clone_without_its_past_fetches_nothing(root, tmp_path):
    """No git call fetches missing objects of a partial clone from its server."""
    commit(root, lib__shop=FIRST)
    commit(root, lib__shop=TODAY)
    run(root, "config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    run(
        tmp_path,
        "-c",
        "protocol.file.allow=always",
        "clone",
        "--quiet",
        "--filter=blob:none",
        root.as_uri(),
        str(partial),
    )
    there = sorted((partial / ".git" / "objects").rglob("*"))
    assert earlier(partial) == {}
    assert sorted((partial / ".git" / "objects").rglob("*")) == there
    subprocess.run(["git", "log", "-p"], cwd=partial, check=True, capture_output=True)
    assert sorted((partial / ".git" / "objects").rglob("*")) != there  # git itself did ask


def test_an_older_git_is_not_led_to_run_a_transport(root, monkeypatch):
    """It fetches what is missing, and the repository says from where, and by which command."""
    commit(root, lib__shop=FIRST)
    commit(root, lib__shop=TODAY)
    trap = root.parent / "trapped"
    script, older = root.parent / "trap", root.parent / "bin" / "git"
    older.parent.mkdir()
    script.write_text(f"#!/bin/sh\ntouch {trap}\n")
    older.write_text(f'#!/bin/sh\nunset GIT_NO_LAZY_FETCH\nexec {shutil.which("git")} "$@"\n')
    for program in (script, older):
        program.chmod(0o755)
    hashes = [blob for _, blob in git_history.list_edits(root, "HEAD", ["*.ex"])]
    for blob in hashes:
        (root / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    settings = {"core.repositoryFormatVersion": "1", "extensions.partialClone": "origin",
                "remote.origin.promisor": "true", "remote.origin.url": f"ext::{script}",
                "protocol.ext.allow": "always"}  # fmt: skip
    for name, value in settings.items():
        run(root, "config", name, value)
    monkeypatch.setenv("PATH", f"{older.parent}{os.pathsep}{os.environ['PATH']}")
    assert earlier(root) == {}
    assert not trap.exists()
    subprocess.run(["git", "cat-file", "-p", hashes[0]], cwd=root, check=False, capture_output=True)
    assert trap.exists()  # the trap works


def test_a_program_of_the_repository_is_not_taken_for_git(root, monkeypatch):
    """git is never taken from a relative or empty PATH entry, which would mean the repository."""
    commit(root, lib__shop=FIRST)
    trap = root.parent / "trapped"
    (root / "git").write_text(f"#!/bin/sh\n{shutil.which('touch')} {trap}\n")
    (root / "git").chmod(0o755)
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", f".{os.pathsep}{path}")
    assert git_history.resolve_commit(root)
    monkeypatch.setenv("PATH", f"/nowhere{os.pathsep}")
    assert not git_history.resolve_commit(root)
    assert not trap.exists()


def test_a_file_that_the_repository_names_is_not_waited_for(root, monkeypatch):
    """A mailmap that never ends is not read."""
    commit(root, lib__shop=FIRST)
    commit(root, lib__shop=TODAY)
    os.mkfifo(root.parent / "names")
    run(root, "config", "mailmap.file", str(root.parent / "names"))
    monkeypatch.setattr(git_history, "TIMEOUT_SECONDS", 5.0)
    assert "Enum.reduce(0" in earlier(root)["Shop.total/1"]


def test_without_git_or_history_there_is_none(root, monkeypatch):
    """A run goes on without a repository, a commit or git, and with a damaged one."""
    (root / "lib").mkdir()
    (root / "lib" / "shop.ex").write_text(TODAY)
    assert earlier(root) == {}
    commit(root, lib__shop=FIRST)
    commit(root, lib__shop=TODAY)
    for path in (root / ".git" / "objects").glob("??/*"):
        path.chmod(0o644)
        path.write_bytes(b"damaged")
    assert earlier(root) == {}
    monkeypatch.setenv("PATH", str(root))
    assert earlier(root) == {}
    assert git_history.resolve_commit(root.parent) == ""


def test_the_callers_repository_is_not_mistaken_for_this_one(root, monkeypatch, tmp_path):
    """A daemon that a git hook has started has its variables around it."""
    other = tmp_path / "other"
    other.mkdir()
    run(other, "init", "--quiet")
    commit(root, lib__shop=FIRST)
    commit(root, lib__shop=TODAY)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert "Enum.reduce(0" in earlier(root)["Shop.total/1"]


def test_an_answer_that_is_too_long_is_cut(root, monkeypatch):
    """However much there is, the memory that it takes is bounded, and what has come counts."""
    for text in (FIRST, SECOND, TODAY):
        commit(root, lib__shop=text)
    monkeypatch.setattr(git_history, "MAX_OUTPUT_BYTES", 150)
    assert len(list(git_history.list_edits(root, "HEAD", ["*.ex"]))) == 1
    assert [path for path, _ in git_history.list_edits(root, "HEAD", ["*.ex"])] == ["lib/shop.ex"]


def test_a_content_that_went_meanwhile_is_left_out(root, monkeypatch):
    """Objects that git removed between two requests are skipped."""
    commit(root, lib__shop=FIRST)
    there, gone = git_history.resolve_commit(root, "HEAD"), "0" * 40
    answer = subprocess.run(
        ["git", "cat-file", "--batch"], cwd=root, input=f"{gone}\n{there}\n".encode(), check=True, capture_output=True
    ).stdout
    lists = iter([f"{gone} blob 5\n{there} blob 5\n".encode(), answer])
    monkeypatch.setattr(git_history, "run_git", lambda *_: next(lists))
    assert list(git_history.read_blobs(root, [gone, there])) == [there]


def test_a_process_that_does_not_end_is_ended(root, monkeypatch):
    """A repository on a dead network folder does not hold up a run."""
    waiting = root.parent / "bin" / "git"
    waiting.parent.mkdir()
    waiting.write_text("#!/bin/sh\nexec sleep 60\n")
    waiting.chmod(0o755)
    monkeypatch.setenv("PATH", f"{waiting.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(git_history, "TIMEOUT_SECONDS", 0.2)
    assert earlier(root) == {}


def test_versions_from_before_the_first_index_are_trained_and_evaluated_on(root, tmp_path):
    """The journal begins with the first index: a repository that was just cloned has its versions from git alone."""
    texts = application(30)
    for old in (True, False):
        for path, text in texts.items():
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_text(text.replace("Enum.take(limit)", "Enum.slice(0, limit)") if old else text)
        commit(root)
    embedder = NoisyEmbedder()
    with built_index(tmp_path / "index", embedder, texts) as index:
        past = lambda samples: find_earlier_texts(root, tmp_path / "kept", samples)  # noqa: E731
        dataset = load_dataset(index, embedder.space, embedder.embed, 0, past)
        split_validation = load_dataset(index, embedder.space, embedder.embed, 0)
    assert (split_validation.versions, split_validation.earlier) == ([], {})
    now = {sample.function_key: sample for sample in dataset.train_samples}
    assert len(dataset.versions) == sum(sample.role == "run/2" for sample in dataset.train_samples) > 10
    assert all(shared_pattern(now[old.function_key], old) == "version" for old in dataset.versions)
    assert all(old.split_position >= HELD_OUT_SHARE and "Enum.slice(0, limit)" in old.code for old in dataset.versions)
    queries = build_evaluation_queries(dataset.held_out, range(len(dataset.held_out)), dataset.earlier)
    assert (
        sum(one.kind == "version" for one in queries) == sum(sample.role == "run/2" for sample in dataset.held_out) > 0
    )
    rows = dataset.mined(TripletMix(100))[2].rows
    assert 0 < sum(row[0] == "version" for row in rows) <= 100 * MAX_VERSION_SHARE


@pytest.mark.parametrize("way", ["pointer", "link", "alternates", "objects", "packs", "bare", "commondir"])
def test_the_history_of_another_repository_is_not_read(tmp_path: Path, way: str) -> None:
    """However a workspace points at somebody else's repository, its earlier texts stay where they are."""
    other, root = tmp_path / "other", tmp_path / "work"
    for folder in (other, root):
        folder.mkdir()
        run(folder, "init", "--quiet")
        commit(folder, shop=FIRST)
        commit(folder, shop=TODAY)
    assert git_history.resolve_commit(root)
    git = root / ".git"
    if way in ("pointer", "link", "bare", "commondir"):
        shutil.rmtree(git)
    if way == "pointer":
        git.write_text(f"gitdir: {other}/.git\n")
    elif way == "link":
        git.symlink_to(other / ".git")
    elif way == "bare":
        shutil.copytree(other / ".git", root, dirs_exist_ok=True)
        (root / "objects/info/alternates").write_text(f"{other}/.git/objects\n")
    elif way == "commondir":
        git.mkdir()
        (git / "HEAD").write_text((other / ".git/HEAD").read_text())
        (git / "commondir").write_text(f"{other}/.git\n")
    elif way == "alternates":
        (git / "objects/info/alternates").write_text(f"{other}/.git/objects\n")
    elif way == "objects":
        shutil.rmtree(git / "objects")
        (git / "objects").symlink_to(other / ".git/objects")
    else:
        run(other, "gc", "--quiet")
        shutil.rmtree(git / "objects/pack")
        (git / "objects/pack").symlink_to(other / ".git/objects/pack")
    assert git_history.resolve_commit(root) == ""
