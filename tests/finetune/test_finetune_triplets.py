"""Triplets hold positives and negatives, keep their shares, and never use held-out files."""

import numpy as np
import pytest
from finetune_samples import application

from codekin.errors import FinetuneError
from codekin.finetune.dataset.functions import (
    FunctionSample,
    is_near_duplicate,
    is_negative,
    select_samples,
    shared_pattern,
    split_by_file,
    strip_documentation,
)
from codekin.finetune.dataset.triplets import (
    TripletMix,
    analyze_triplets,
    mine_available_triplets,
    mine_triplets,
    triplets_with_text,
)
from codekin.finetune.dataset.workspace import without_near_duplicates
from codekin.finetune.evaluation import build_evaluation_queries
from codekin.parsing import cut_chunks
from fakes import FakeEmbedder


def samples(**texts: str) -> list[FunctionSample]:
    """The functions of files whose names have `__` for the dot."""
    return select_samples(
        chunk for name, text in texts.items() for chunk in cut_chunks(name.replace("__", "."), text)[0]
    )


def by_name(found: list[FunctionSample], end: str) -> FunctionSample:
    return next(sample for sample in found if sample.chunk.name.endswith(end))


SERVER = """defmodule {name} do
  use GenServer
  {doc}
  def {function}(id, opts) do
    conn = Registry.lookup(Names, id)
    case Store.query(conn, opts) do
      {{:ok, {row}}} -> Cache.put({row}, id)
      :error -> raise "gone"
    end
  end
  @impl true
  def init({state}) do
    Process.flag(:trap_exit, true)
    {{:ok, {state}}}
  end
end
"""
PLUG = """defmodule C do
  @behaviour Plug
  @impl true
  def init(options) do
    Keyword.validate!(options, [:only])
    options
  end
end
"""


def server(name: str, function: str, doc: str = "", row: str = "row", state: str = "state") -> str:
    return SERVER.format(name=name, function=function, doc=doc, row=row, state=state)


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (server("A", "fetch_user"), server("B", "fetch_user", row="user"), "role"),
        (server("A", "fetch_user"), server("B", "load_user", row="user"), "synonym"),
        (
            server("A", "one", '@doc "Takes a stored session and gives its owner."'),
            server("B", "two", '@doc "Gives the owner of a session that is stored."'),
            "documentation",
        ),
        (server("A", "alpha"), server("B", "omega", row="found"), "structure"),
    ],
)
def test_positives_share_a_pattern_by_evidence(one, other, kind):
    """A role, a role under another name, the same calls and control: each is told from the others."""
    found = samples(a__ex=one, b__ex=other)
    first, second = (
        next(p for p in found if p.chunk.path == path and "init" not in p.role) for path in ("a.ex", "b.ex")
    )
    assert shared_pattern(first, second) == kind
    assert not is_negative(first, second)


def test_a_callback_is_of_one_behaviour():
    """`init/1` of two servers is the same pattern, `init/1` of a plug is another."""
    found = samples(a__ex=server("A", "x_y", state="s"), b__ex=server("B", "z_w", state="t"), c__ex=PLUG)
    a, b, c = (by_name(found, f"{name}.init/1") for name in "ABC")
    assert shared_pattern(a, b) == "callback"
    assert shared_pattern(a, c) == ""
    assert not is_negative(a, c)


def test_functions_with_the_same_documentation_are_positives():
    """Two functions with the same documentation are positives, whatever their names."""
    doc = '@doc "Counts unread messages of a mailbox by sender."'
    text = f"defmodule {{0}} do\n  {doc}\n  def {{1}}(a) do\n    {{2}}(a)\n  end\nend\n"
    found = samples(a__ex=text.format("A", "tally", "Enum.count"), b__ex=text.format("B", "sum", "Repo.one"))
    assert shared_pattern(*found) == "documentation"


def test_a_function_and_its_helper_are_no_negatives():
    """A caller and what it calls are neither positives nor negatives."""
    found = samples(
        a__ex="defmodule A do\n  def total(x) do\n    B.weigh(x)\n  end\nend\n",
        b__ex="defmodule B do\n  def weigh(x) do\n    x * 2\n  end\nend\n",
    )
    assert shared_pattern(*found) == ""
    assert not is_negative(*found)


CPP = """namespace n{0} {{
int {1}(int count, int limit) {{
  if (count > limit) {{
    reset_{0}(count);
  }}
  return compute_{0}(limit);
}}
}}
"""
OTHER_CPP = """namespace n{0} {{
void {1}(std::vector<Node>& nodes) {{
  for (auto& node : nodes) node.visit{0}();
  std::sort(nodes.begin(), nodes.end());
  nodes.shrink_to_fit();
}}
}}
"""


def vectors_of(found: list[FunctionSample]) -> np.ndarray:
    return FakeEmbedder().embed([sample.code for sample in found])


def elixir() -> dict[str, str]:
    return {path.replace(".", "__").replace("/", "_"): text for path, text in application(30).items()}


@pytest.mark.parametrize(("beam", "across"), [(0.7, 0.3), (0.5, 0.0), (1.0, 0.1), (0.25, 0.5)])
def test_the_shares_are_kept(beam, across):
    """Where one language has little code its triplets repeat, and a note reports it."""
    cpp = {f"f{at}__cc": CPP.format(at, "run") if at % 2 else OTHER_CPP.format(at, "tidy_up") for at in range(6)}
    found = samples(**elixir(), **cpp)
    vectors = vectors_of(found)
    mined = mine_triplets(found, vectors, TripletMix(200, beam, across))
    statistics = analyze_triplets(triplets_with_text(found, vectors, mined))
    assert statistics["total"] == 200
    if statistics["cross_language_ratio"]:
        assert statistics["cross_language_ratio"] == pytest.approx(across, abs=0.01)
    assert statistics["beam_ratio"] == pytest.approx(beam, abs=0.01)
    assert statistics["beam_ratio"] + statistics["cpp_ratio"] == pytest.approx(1)
    if beam < 1:
        assert "C++" in mined.note


def test_without_cpp_the_triplets_are_of_beam_alone():
    """It is said, and the count is kept."""
    found = samples(**elixir())
    mined = mine_triplets(found, vectors_of(found), TripletMix(50))
    assert len(mined.rows) == 50
    assert "Too little C++ (0 functions)" in mined.note


def test_too_little_elixir_is_refused():
    """Three functions and 500 lines are the least."""
    found = samples(a__ex=server("A", "fetch"))
    with pytest.raises(FinetuneError, match="Not enough BEAM code: 2 Elixir or Erlang functions"):
        mine_triplets(found, vectors_of(found), TripletMix(10))


def test_negatives_are_unrelated_and_positives_no_copies():
    """Of all three sides of every triplet."""
    found = samples(**elixir())
    rows = mine_available_triplets(found, vectors_of(found), TripletMix(300)).rows
    assert rows
    for _, anchor, positive, negative in rows:
        assert is_negative(found[anchor], found[negative])
        assert not shared_pattern(found[positive], found[negative])
        assert not is_near_duplicate(found[anchor], found[positive])


def test_a_fork_of_a_file_gives_no_negatives():
    """Functions of a changed copy of the anchor's file are neither negatives nor positives."""
    name = "lib_part1__ex"
    fork = elixir()[name].replace("limit", "most").replace("pending", "waiting").replace("chosen", "some")
    found = samples(**elixir(), fork__ex=fork.replace("App.", "Fork."))
    rows = mine_available_triplets(found, vectors_of(found), TripletMix(300)).rows
    pairs = {frozenset((found[a].chunk.path, found[n].chunk.path)) for _, a, _, n in rows}
    assert frozenset(("lib_part1.ex", "fork.ex")) not in pairs


def test_changed_functions_are_anchors_first_and_the_rest_replayed():
    """With few triplets to give, changed functions have half of them at least, if there are so many."""
    found = samples(**elixir())
    changed = frozenset(sample.chunk.name for sample in found[:12])
    rows = mine_available_triplets(found, vectors_of(found), TripletMix(20), changed).rows
    is_changed = [found[anchor].chunk.name in changed for _, anchor, _, _ in rows]
    assert 0.3 <= np.mean(is_changed) < 1


def test_an_earlier_text_is_a_positive_of_todays():
    """It is never an anchor or a negative."""
    found = samples(**elixir())
    now = found[3]
    old = FunctionSample(now.chunk, now.code.replace("Map", "Keyword"), earlier=True)
    both = [*found, old]
    rows = mine_available_triplets(both, vectors_of(both), TripletMix(500), frozenset({now.chunk.name})).rows
    assert any(kind == "version" and positive == len(found) for kind, _, positive, _ in rows)
    assert all(len(found) not in {anchor, negative} for _, anchor, _, negative in rows)


def test_near_copies_of_held_out_functions_are_not_trained_on():
    """Training has no near-copy of a held-out function."""
    found = samples(**elixir())
    train_samples, held_out = split_by_file(found, 0.2)
    twin = FunctionSample(train_samples[0].chunk, held_out[0].code + "\n# a remark that was added", earlier=False)
    both = [*train_samples, twin]
    kept, vectors = without_near_duplicates(both, vectors_of(both), held_out, vectors_of(held_out))
    assert twin not in kept
    assert len(kept) == len(vectors) == len(train_samples)


def test_the_split_is_stable_and_a_copy_stays_with_what_is_held_out():
    """Files come and go, and no function changes its side for it."""
    found = samples(**elixir())
    held_out = {sample.chunk.path for sample in split_by_file(found, 0.2)[1]}
    assert held_out
    path = min(held_out)
    text = elixir()[path.replace(".", "__")]
    more = samples(**elixir(), a_copy__ex=text, zz_copy__ex=text)
    assert {sample.chunk.path for sample in split_by_file(more, 0.2)[1]} >= held_out


def test_a_renamed_function_has_no_name_of_its_author_left():
    """Its own name, its variables and the functions near it change; modules, atoms and operators stay."""
    found = samples(a__ex=server("A", "fetch_user"))
    queries = {q.kind: q.text for q in build_evaluation_queries(found, [0])}
    assert "fetch_user" not in queries["renamed"]
    assert "conn" not in queries["renamed"]
    assert "Registry.lookup(Names" in queries["renamed"]
    assert strip_documentation("elixir", queries["renamed"]) == queries["renamed"]
