"""The miner, on small repositories made here."""

import json
import random
import subprocess

import pytest

from batches import BatchSampler
from commits import commit_pairs, subject
from corpus import FORBIDDEN, NEVER, Source, SourceFile, files, load_sources, slug, task_of
from functions import functions_of
from mine_groups import (
    Function,
    agreement,
    held_out,
    hide_title,
    mine_roles,
    mine_tasks,
    mine_words,
    read_parallel,
    words_of,
)
from natives import native_pairs

ELIXIR = '''defmodule A do
  @doc """
  Adds all the numbers of a list together.
  """
  def sum_all(list) do
    # comment
    Enum.reduce(list, 0, &(&1 + &2))
  end
end
'''
ERLANG = """-module(a).

%% Adds all the numbers of a list.
sum_all([]) ->
    0;
sum_all([H | T]) ->
    H + sum_all(T).
"""
MIT = "MIT License\n\nPermission is hereby granted, free of charge"


@pytest.fixture
def clones(tmp_path):
    """A folder of bare clones with one repository, me/tasks, under the MIT licence."""
    work = tmp_path / "work"
    (work / "elixir").mkdir(parents=True)
    (work / "exercism").mkdir()
    (work / "LICENSE").write_text(MIT)
    (work / "elixir/day4_2015.ex").write_text(ELIXIR)
    (work / "elixir/day4_2015.cpp").write_text("int sumAll() {\n  return 1;\n}\n")
    (work / "exercism/day2_2015.ex").write_text(ELIXIR)
    (work / "elixir/day3_2015.ex").write_bytes(b"\xff\xfe")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(work)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*git, *command], check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(tmp_path / "clones/me+tasks/repo")], check=True)
    return tmp_path / "clones"


SOURCE = Source("me/tasks", "MIT", puzzle="advent", path=r".*day(?P<day>\d+)_(?P<year>\d+)\.\w+$")


def test_reads_licensed_code_and_nothing_forbidden(clones):
    """Repositories are read where their licence is the table's; forbidden and binary files are skipped."""
    found = {(file.path, file.task) for file in files(SOURCE, clones)}

    assert {("elixir/day4_2015.ex", "advent-2015-4"), ("elixir/day4_2015.cpp", "advent-2015-4")} == found
    assert list(files(Source("me/tasks", "Apache-2.0"), clones)) == []
    assert list(files(Source("me/absent", "MIT"), clones)) == []


def test_the_table_names_permissive_licences_only():
    """Every source in the table has a permissive licence."""
    sources = load_sources()

    assert len({source.repository for source in sources}) == len(sources)
    assert {source.licence for source in sources} <= {
        "MIT",
        "Apache-2.0",
        "ISC",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
    }
    assert not [source for source in sources if FORBIDDEN.search(source.repository)]


@pytest.mark.parametrize(
    ("title", "expected"), [("Two Sum", "two-sum"), ("two_sum", "two-sum"), ("007", "7"), ("Pascal's", "pascals")]
)
def test_titles_of_different_repositories_meet(title, expected):
    """Spellings of one title give the same key."""
    assert expected == slug(title)


def test_files_that_solve_nothing_are_left_out():
    """Files that solve no puzzle are left out."""
    assert task_of(SOURCE, "lib/helper.ex") is None
    assert task_of(Source("a/b", "MIT"), "lib/helper.ex") == ""


def test_groups_solutions_by_puzzle(clones):
    """Solutions of one task in two languages form a group."""
    groups = list(mine_tasks([SOURCE], clones, random.Random(0)))

    assert [("task", {"cpp", "elixir"})] == [(group["kind"], set(group["sides"])) for group in groups]


def test_held_out_puzzles_are_never_trained_on(clones, monkeypatch):
    """Held-out puzzles are never in the training set."""
    monkeypatch.setattr("mine_groups.held_out", lambda task: task == "advent-2015-4")

    assert list(mine_tasks([SOURCE], clones, random.Random(0))) == []
    assert any(held_out(f"advent-2015-{day}") for day in range(1, 26))


def test_a_puzzles_title_is_hidden_however_it_is_joined():
    """A puzzle's title is masked in the code, in every spelling."""
    assert hide_title("twoSum(a); two_sum(b); TwoSum", ["two", "sum"]) == "x(a); x(b); x"


def test_cuts_functions_with_their_documentation():
    """Functions are extracted with their documentation."""
    (elixir,) = functions_of(SourceFile("a.ex", "elixir", ELIXIR))
    (erlang,) = functions_of(SourceFile("a.erl", "erlang", ERLANG))

    assert (elixir.name, elixir.doc) == ("sum_all", "Adds all the numbers of a list together.")
    assert (erlang.name, erlang.doc) == ("sum_all", "Adds all the numbers of a list.")
    assert erlang.text.startswith("sum_all([])")


def test_words_never_hold_the_code_and_code_never_the_words():
    """The code of a pair lacks the words that it is paired with."""
    groups = {group["kind"]: group["sides"] for group in mine_words(functions_of(SourceFile("a.ex", "elixir", ELIXIR)))}

    assert "Adds all" not in groups["docstring"]["elixir"][0]
    assert groups["name"]["words"] == ["sum all"]
    assert "sum_all" not in groups["name"]["elixir"][0]


def test_roles_join_repositories_and_languages():
    """Functions of one name in two repositories form a group."""
    elixir = Function(
        "elixir", "merge_sorted_lists", "", "def merge_sorted_lists(left, right) do\n  left ++ right\nend"
    )
    other = Function("elixir", "merge_sorted_lists", "", "def merge_sorted_lists(a, b), do: a ++ b")
    cpp = Function(
        "cpp", "mergeSortedLists", "", "List mergeSortedLists(List left, List right) {\n  return left + right;\n}"
    )

    kinds = {group["kind"] for group in mine_roles({"a/a": [elixir], "b/b": [other, cpp]}, random.Random(0))}

    assert {"role", "across"} == kinds
    assert agreement(elixir, cpp) > agreement(other, cpp)
    assert words_of("mergeSortedLists") == words_of("merge_sorted_lists")


def test_written_translations_of_one_role_become_one_group(tmp_path):
    """Hand-written translations of one function form one group."""
    rows = [{"role": "sum", "elixir": "a", "cpp": "b"}, {"role": "sum", "elixir": "c", "cpp": "b"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")

    assert list(read_parallel(tmp_path)) == [
        {"kind": "parallel", "key": "sum", "sides": {"elixir": ["a", "c"], "cpp": ["b"]}}
    ]


def test_a_batch_never_holds_a_group_twice():
    """A batch never contains two pairs of one group."""
    groups = [{"kind": "task", "key": str(n), "sides": {"elixir": [f"A{n}"], "cpp": [f"B{n}"]}} for n in range(40)]
    sampler = BatchSampler(groups, size=24, seed=1, mixture={"task": 1.0})

    for _ in range(20):
        batch = sampler.draw()
        assert (batch.kind, batch.sides) == ("task", ("cpp", "elixir"))
        assert len(set(batch.keys)) == len(batch.pairs) == 12
        assert all(left[1:] == right[1:] for left, right in batch.pairs)


def test_half_the_batches_of_words_come_from_one_repository(monkeypatch):
    """All pairs of a documentation batch may come from one repository."""
    monkeypatch.setattr("batches.ONE_PLACE", 1.0)
    groups = [
        {"kind": "docstring", "key": f"{place}{n}", "place": place, "sides": {"elixir": ["a"], "words": [place]}}
        for place in "xyz"
        for n in range(40)
    ]

    batch = BatchSampler(groups, size=24, seed=1, mixture={"docstring": 1.0}).draw()

    assert len(set(batch.keys)) == 24
    assert len({words for _, words in batch.pairs}) == 1


GO = "// Add sums two numbers that it is given.\nfunc (t T) Add(a int) int {\n\tif a {\n\t}\n\treturn a\n}\n"
RUST = "/// Sums two numbers that it is given.\n#[inline]\npub fn add(a: u8) -> u8 {\n    a\n}\n"
SCRIPT = "/**\n * Sums two numbers that it is given.\n */\nexport function add(a) {\n  return a;\n}\n"
PYTHON = 'def add(a):\n    """Sums two numbers that it is given."""\n    b = a\n    return b\n'


@pytest.mark.parametrize(
    ("path", "language", "text"),
    [("a.go", "go", GO), ("a.rs", "rust", RUST), ("a.js", "javascript", SCRIPT), ("a.py", "python", PYTHON)],
)
def test_cuts_functions_of_other_languages(path, language, text):
    """Functions of the general languages are extracted."""
    (found,) = functions_of(SourceFile(path, language, text))

    assert (found.name.lower(), found.line) == ("add", 1)
    assert found.doc.lower().removeprefix("add ") == "sums two numbers that it is given."
    assert found.text.strip() == text.strip()


def test_what_measures_codekin_is_never_read(clones):
    """Repositories of the benchmarks and of the evaluation queries are never read."""
    (clones / "me+tasks").rename(clones / "me+leveldb")

    assert list(files(Source("me/leveldb", "MIT", puzzle="advent", path=SOURCE.path), clones)) == []
    assert not [s for s in load_sources() if s.repository.split("/")[1] in NEVER and not s.held_out]


NATIVE = """
static ERL_NIF_TERM hash_one(ErlNifEnv* env, int argc, const ERL_NIF_TERM argv[])
{
  int x = 1;
  return enif_make_int(env, x);
}
static ErlNifFunc funcs[] = {{"hash", 2, hash_one, 0}, {"lost", 1, gone}};
ERL_NIF_INIT(Elixir.A, funcs, NULL, NULL, NULL, NULL)
"""
STUB = """defmodule A do
  @doc "Hashes what it is given."
  def hash(_one, _two), do: :erlang.nif_error(:not_loaded)

  def check(one) do
    two = one
    hash(one, two) == two
  end
end
"""


def test_native_functions_meet_their_stub_and_its_callers():
    """Native functions are paired with their stub and its callers."""
    pairs = list(native_pairs([SourceFile("a.c", "c", NATIVE), SourceFile("a.ex", "elixir", STUB)]))

    ((key, sides),) = pairs
    assert key == "hash/hash_one"
    assert [text.split("(")[0] for text in sides["c"]] == ["static ERL_NIF_TERM hash_one"]
    assert "Hashes what" in sides["elixir"][0]
    assert sides["elixir"][1].startswith("def check")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Close the socket when the peer goes away (#12)", "Close the socket when the peer goes away"),
        ("fix(parser): accept an empty list of options", "accept an empty list of options"),
        ("Release v1.2.3 of the whole thing", ""),
        ("Merge branch main into something else", ""),
        ("wip", ""),
    ],
)
def test_only_telling_messages_are_kept(line, expected):
    """Only informative commit messages are kept."""
    assert expected == subject(line)


def test_a_commit_meets_the_function_that_it_changed(tmp_path):
    """A commit's message is paired with what it changed."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    for text, message in (
        (ELIXIR, "first"),
        (ELIXIR.replace("list, 0", "list, 1"), "Start to count all numbers at one"),
    ):
        (tmp_path / "a.ex").write_text(text)
        for command in (["init", "-q"], ["add", "."], ["commit", "-qm", message]):
            subprocess.run([*git, *command], check=True)

    pairs = [(message, function.name) for message, function in commit_pairs(tmp_path / ".git")]

    assert pairs == [("Start to count all numbers at one", "sum_all")]
