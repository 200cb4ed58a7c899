"""The miner, on small repositories made here."""

import json
import random
import subprocess

import pytest

from batches import Drawer
from corpus import FORBIDDEN, Source, SourceFile, files, load_sources, slug, task_of
from functions import functions_of
from mine import Function, agreement, held_out, hide_title, mine_roles, mine_tasks, mine_words, read_twins, words_of

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
    """Unlicensed code, a forbidden benchmark or binary text would be trained on."""
    found = {(file.path, file.task) for file in files(SOURCE, clones)}

    assert {("elixir/day4_2015.ex", "advent-2015-4"), ("elixir/day4_2015.cpp", "advent-2015-4")} == found
    assert list(files(Source("me/tasks", "Apache-2.0"), clones)) == []
    assert list(files(Source("me/absent", "MIT"), clones)) == []


def test_the_table_names_permissive_licences_only():
    """A source under another licence would slip in."""
    sources = load_sources()

    assert len({source.repository for source in sources}) == len(sources)
    assert {source.licence for source in sources} <= {"MIT", "Apache-2.0", "ISC", "BSD-3-Clause", "BSL-1.0"}
    assert not [source for source in sources if FORBIDDEN.search(source.repository)]


@pytest.mark.parametrize(
    ("title", "expected"), [("Two Sum", "two-sum"), ("two_sum", "two-sum"), ("007", "7"), ("Pascal's", "pascals")]
)
def test_titles_of_different_repositories_meet(title, expected):
    """Two solutions of one puzzle would not be paired."""
    assert expected == slug(title)


def test_files_that_solve_nothing_are_left_out():
    """A helper file would be taken for a solution."""
    assert task_of(SOURCE, "lib/helper.ex") is None
    assert task_of(Source("a/b", "MIT"), "lib/helper.ex") == ""


def test_groups_solutions_by_puzzle(clones):
    """Solutions in two languages would not be learned as the same."""
    groups = list(mine_tasks([SOURCE], clones, random.Random(0)))

    assert [("task", {"cpp", "elixir"})] == [(group["kind"], set(group["sides"])) for group in groups]


def test_held_out_puzzles_are_never_trained_on(clones, monkeypatch):
    """The development set would flatter the encoder."""
    monkeypatch.setattr("mine.held_out", lambda task: task == "advent-2015-4")

    assert list(mine_tasks([SOURCE], clones, random.Random(0))) == []
    assert any(held_out(f"advent-2015-{day}") for day in range(1, 26))


def test_a_puzzles_title_is_hidden_however_it_is_joined():
    """Solutions would be paired by the method's name."""
    assert hide_title("twoSum(a); two_sum(b); TwoSum", ["two", "sum"]) == "x(a); x(b); x"


def test_cuts_functions_with_their_documentation():
    """Docstring pairs would lack their code or their prose."""
    (elixir,) = functions_of(SourceFile("a.ex", "elixir", ELIXIR))
    (erlang,) = functions_of(SourceFile("a.erl", "erlang", ERLANG))

    assert (elixir.name, elixir.doc) == ("sum_all", "Adds all the numbers of a list together.")
    assert (erlang.name, erlang.doc) == ("sum_all", "Adds all the numbers of a list.")
    assert erlang.text.startswith("sum_all([])")


def test_words_never_hold_the_code_and_code_never_the_words():
    """The encoder would match a docstring with itself."""
    groups = {group["kind"]: group["sides"] for group in mine_words(functions_of(SourceFile("a.ex", "elixir", ELIXIR)))}

    assert "Adds all" not in groups["docstring"]["elixir"][0]
    assert groups["name"]["words"] == ["sum all"]
    assert "sum_all" not in groups["name"]["elixir"][0]


def test_roles_join_repositories_and_languages():
    """Functions of one name in two repositories would not be learned as kin."""
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


def test_written_twins_of_one_role_become_one_group(tmp_path):
    """Two ways of saying one role would be taught as opposites."""
    rows = [{"role": "sum", "elixir": "a", "cpp": "b"}, {"role": "sum", "elixir": "c", "cpp": "b"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")

    assert list(read_twins(tmp_path)) == [{"kind": "twin", "key": "sum", "sides": {"elixir": ["a", "c"], "cpp": ["b"]}}]


def test_a_batch_never_holds_a_group_twice():
    """A text's own partner would be taught to be far from it."""
    groups = [{"kind": "task", "key": str(n), "sides": {"elixir": [f"A{n}"], "cpp": [f"B{n}"]}} for n in range(40)]
    drawer = Drawer(groups, size=24, seed=1, mixture={"task": 1.0})

    for _ in range(20):
        label, pairs = drawer.draw()
        assert label == "task cpp-elixir"
        assert len({left for left, _ in pairs}) == len(pairs) == 24
        assert all(left[1:] == right[1:] for left, right in pairs)
