"""`codekin check` on a real repository: what a change writes again is found, with evidence; all else is silence."""

import json
import subprocess

import pytest

from codekin.cli.check import BASELINE_NAME, Finding

RENAMED_COPY = """defmodule Storehouse.Again do
  def call_often(job, settings \\\\ []) do
    tries = Keyword.get(settings, :attempts, 5)
    first = Keyword.get(settings, :base_delay, 100)
    most = Keyword.get(settings, :max_delay, 5_000)
    try_again(job, 1, tries, first, most)
  end
end
"""

NEW_CODE = """defmodule Storehouse.Moon do
  def phase(day, month, year) do
    age = rem(day + month * 30 + year * 365, 29)
    names = {:new, :crescent, :quarter, :gibbous, :full}
    index = div(age * tuple_size(names), 29)
    elem(names, index)
  end
end
"""


def git(root, *words):
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", "-C", str(root), *words]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def repository(sample):
    """The sample as a git repository with one commit; what a test adds is gone after it."""
    if not (sample / ".git").exists():
        git(sample, "init", "--quiet")
        git(sample, "add", ".")
        git(sample, "commit", "--quiet", "--message", "all")
    yield sample
    git(sample, "checkout", "--quiet", ".")
    git(sample, "clean", "--quiet", "-fd")


def test_a_renamed_copy_is_found(codekin, repository):
    """The place, what it repeats, and which names were changed; the exit status is 1."""
    (repository / "lib/storehouse/again.ex").write_text(RENAMED_COPY)
    done = codekin("check", repository)
    assert done.status == 1
    assert done.out.startswith(
        "lib/storehouse/again.ex:2: Storehouse.Again.call_often/2 is a renamed copy of "
        "Storehouse.Retry.with_backoff/2 (lib/storehouse/retry.ex:7): the same but for names: "
    )
    assert "with_backoff → call_often" in done.out
    assert done.err == "1 of 1 added functions repeat what exists.\n"


@pytest.mark.parametrize(
    ("relation", "words"),
    [("near-copy", "is a near-copy of"), ("same behaviour", "behaves like")],
)
def test_a_finding_is_a_sentence(relation, words):
    """Each relation has the verb that goes with it."""
    hit = {"name": "A.up/1", "path": "a.ex", "code_line": 2}
    finding = Finding("b.ex", 3, 9, "B.up/1", relation, hit, ("calls the same: upcase",), "f")
    assert finding.message == f"B.up/1 {words} A.up/1 (a.ex:2): calls the same: upcase."


def test_new_code_is_silence(codekin, repository):
    """What does something new is not reported, nor is a change that adds no function."""
    assert codekin("check", repository).err == "0 of 0 added functions repeat what exists.\n"
    (repository / "lib/storehouse/moon.ex").write_text(NEW_CODE)
    done = codekin("check", repository)
    assert (done.status, done.out, done.err) == (0, "", "0 of 1 added functions repeat what exists.\n")


def test_a_moved_or_renamed_function_is_not_added(codekin, repository):
    """A function that left its old place is no copy."""
    old = repository / "lib/storehouse/retry.ex"
    text = old.read_text()
    old.unlink()
    (repository / "lib/storehouse/patience.ex").write_text(text.replace("with_backoff", "with_patience"))
    done = codekin("check", repository)
    assert (done.status, done.err) == (0, "0 of 0 added functions repeat what exists.\n")


def test_a_comment_allows_a_copy(codekin, repository):
    """The author may know better."""
    allowed = RENAMED_COPY.replace("  def call", "  # codekin: allow, for the demonstration\n  def call")
    (repository / "lib/storehouse/again.ex").write_text(allowed)
    assert codekin("check", repository).status == 0


def test_a_baseline_keeps_what_is_known_silent(codekin, repository):
    """Known findings are reported no more, new ones are; a file that is no baseline is one sentence."""
    (repository / "lib/storehouse/again.ex").write_text(RENAMED_COPY)
    assert codekin("check", repository, "--write-baseline").status == 0
    assert json.loads((repository / BASELINE_NAME).read_text())["findings"]
    assert codekin("check", repository).status == 0
    (repository / "lib/storehouse/anew.ex").write_text(RENAMED_COPY.replace("Again", "Anew"))
    assert codekin("check", repository).out.startswith("lib/storehouse/anew.ex:2: ")
    (repository / BASELINE_NAME).write_text("[]")
    done = codekin("check", repository)
    assert done.status == 2
    assert done.err == (
        f"{repository / BASELINE_NAME} is no baseline: write one with `codekin check --write-baseline`.\n"
    )


def test_every_format_names_the_places(codekin, repository):
    """JSON for scripts, SARIF for code scanning, annotations for GitHub's workflows."""
    (repository / "lib/storehouse/again.ex").write_text(RENAMED_COPY)
    (row,) = json.loads(codekin("check", repository, "--format", "json").out)
    assert (row["path"], row["relation"], row["hit"]["path"]) == (
        "lib/storehouse/again.ex",
        "renamed copy",
        "lib/storehouse/retry.ex",
    )
    log = json.loads(codekin("check", repository, "--format", "sarif").out)
    (run,) = log["runs"]
    (result,) = run["results"]
    assert log["version"] == "2.1.0"
    assert result["ruleId"] in {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "lib/storehouse/again.ex"},
        "region": {"startLine": 2, "endLine": 7},
    }
    line = codekin("check", repository, "--format", "github").out
    assert line.startswith("::warning file=lib/storehouse/again.ex,line=2,endLine=7,title=")
    assert line.count("\n") == 1


def test_nothing_that_the_repository_configures_is_run(codekin, repository, tmp_path):
    """Filters, monitors and external diff programs of a repository stay unused."""
    trap = f"touch {tmp_path / 'sprung'}; cat"
    for key in ("filter.trap.clean", "filter.trap.process", "core.fsmonitor", "diff.external", "diff.trap.textconv"):
        git(repository, "config", key, trap)
    try:
        (repository / ".gitattributes").write_text("* filter=trap diff=trap\n")
        (repository / "lib/storehouse/again.ex").write_text(RENAMED_COPY)
        assert codekin("check", repository).status == 1
        assert not (tmp_path / "sprung").exists()
    finally:
        (repository / ".git/config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = false\n")
        (repository / ".gitattributes").unlink()


def test_a_wrong_revision_is_one_sentence(codekin, repository):
    """Also one that looks like an option."""
    for base in ("nowhere", "--output=x"):
        done = codekin("check", repository, f"--diff={base}")
        assert done.status == 2
        assert done.err == (f"{repository} has no revision {base}: name a branch or commit of its git history.\n")
