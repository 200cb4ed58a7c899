"""Sources of training pairs: resolved names, small commits, call sites, native tables; bounded and repeatable."""

import subprocess
from random import Random

import pytest

from codekin.finetune.dataset.commits import find_commits
from codekin.finetune.dataset.functions import TEST_KINDS, select_samples
from codekin.finetune.dataset.sources import (
    SOURCES,
    ChangedFunctions,
    SourceMaterial,
    call_context,
    native_rows,
    readable_subject,
    sample_source_pairs,
)
from codekin.parsing import cut_chunks

LIBRARY = """
defmodule App.Accounts do
  @doc "Looks a user up by the address of the mail."
  def find_by_address(address) do
    query = from(u in User, where: u.address == ^address)
    Repo.one(query)
  end

  def invite_member(address) do
    user = find_by_address(address)
    token = Token.new(user)
    Mailer.send_invitation(user, token)
  end
end
"""
TESTS = """
defmodule App.AccountsTest do
  use ExUnit.Case
  test "finds whoever has the address" do
    user = insert(:user)
    found = Accounts.find_by_address(user.address)
    assert found.id == user.id
  end
end
"""
NATIVE = """
static ERL_NIF_TERM nif_hash_password(ErlNifEnv* env, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifBinary input;
    if (!enif_inspect_binary(env, argv[0], &input)) return enif_make_badarg(env);
    return make_hash(env, &input);
}

static ErlNifFunc functions[] = {{"hash_password", 1, nif_hash_password, 0}, {"other", 2, nif_other}};
"""


@pytest.fixture(scope="module")
def material():
    chunks = [*cut_chunks("lib/accounts.ex", LIBRARY)[0], *cut_chunks("c_src/hash.c", NATIVE)[0]]
    tests = select_samples(cut_chunks("test/accounts_test.exs", TESTS)[0], TEST_KINDS)
    find, invite = (("lib/accounts.ex", f"App.Accounts.{name}/1") for name in ("find_by_address", "invite_member"))
    commits = [
        ChangedFunctions("fix: Look users up regardless of case (#12)", (find,)),
        ChangedFunctions("Bump version to 1.2", (find,)),
        ChangedFunctions("Send the invitation only once to each address", (find, invite)),
        ChangedFunctions(
            "Rework everything that has to do with accounts", tuple((f"lib/{at}.ex", "f/0") for at in range(9))
        ),
    ]
    return SourceMaterial(select_samples(chunks), tests, commits, native_rows(NATIVE))


def test_each_source_finds_its_pairs(material):
    """One text for each function that it is about, and nothing of dull or sweeping commits."""
    found = {name: list(pairs(material)) for name, pairs in SOURCES.items()}
    assert [one for one, _ in found["docs"]] == ["Looks a user up by the address of the mail."]
    ((test, tested),) = found["tests"]
    assert ("insert(:user)" in test, tested.startswith("def find_by_address")) == (True, True)
    ((around, called),) = found["calls"]
    assert ("Token.new(user)" in around, "def f(address)" in called) == (True, True)
    assert [one for one, _ in found["commits"]] == [
        "Look users up regardless of case",
        "Send the invitation only once to each address",
        "Send the invitation only once to each address",
    ]
    ((one, other),) = found["changed_together"]
    assert (one.startswith("def find_by"), other.startswith("def invite")) == (True, True)
    ((words, body),) = found["natives"]
    assert (words, "enif_inspect_binary" in body, "nif_hash_password" in body) == ("hash password", True, False)


def test_pairs_are_bounded_and_the_same_for_the_same_seed(material):
    """So many of each source at most, and only of those that are wanted."""
    found = sample_source_pairs(material, ("commits", "docs"), 2, Random(1))
    assert {name: len(pairs) for name, pairs in found.items()} == {"commits": 2, "docs": 1}
    assert found == sample_source_pairs(material, ("commits", "docs"), 2, Random(1))


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("feat(web): add pagination to the member list", "add pagination to the member list"),
        ("Merge branch 'main' of the other place", ""),
        ("v1.2.3 has been released today", ""),
        ("Fix", ""),
        ("[skip ci] Retry requests that time out (#9)", "Retry requests that time out"),
    ],
)
def test_a_subject_is_read_as_a_question(subject, text):
    """Prefixes and numbers go; what says too little is empty."""
    assert readable_subject(subject) == text


def test_the_context_of_a_call_is_not_the_head():
    """A recursive head is no call site, and a name without a bracket is none."""
    assert call_context("def walk(tree) do\n  tree\nend", "walk") == ""
    assert call_context("def a(x) do\n  y = walk(x)\n  y + 1\nend", "walk") == "  y = walk(x)\n  y + 1\nend"


def test_commits_are_read_from_git(tmp_path):
    """What a commit changed, by function; cached for the same commit."""
    root, folder = tmp_path / "repo", tmp_path / "kept"
    (root / "lib").mkdir(parents=True)
    folder.mkdir()

    def git(*words):
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)

    git("init", "-q")
    path = root / "lib" / "accounts.ex"
    path.write_text(LIBRARY)
    git("add", ".")
    git("commit", "-qm", "Begin with accounts and invitations")
    path.write_text(LIBRARY.replace("Repo.one(query)", "Repo.one!(query)"))
    git("commit", "-qam", "Raise where no user has the address")
    samples = select_samples(cut_chunks("lib/accounts.ex", path.read_text())[0])
    found = find_commits(root, folder, samples)
    assert [(one.subject, [name for _, name in one.functions]) for one in found] == [
        ("Raise where no user has the address", ["App.Accounts.find_by_address/1"]),
        (
            "Begin with accounts and invitations",
            ["App.Accounts.find_by_address/1", "App.Accounts.invite_member/1"],
        ),
    ]
    assert find_commits(root, folder, samples) == found
    (folder / "commits.json").write_text("rotten")
    assert find_commits(root, folder, samples) == found
    assert find_commits(tmp_path / "kept", folder, samples) == []
