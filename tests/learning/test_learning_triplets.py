"""Triplets are of kin and strangers, keep their shares, and never straddle what is held out."""

import numpy as np
import pytest
from learning_samples import application

from codekin.errors import LearningError
from codekin.learning.kinship import kinship, near_copies, strangers
from codekin.learning.material import _without_copies
from codekin.learning.pieces import Piece, bare_code, pieces_of, split
from codekin.learning.queries import questions
from codekin.learning.triplets import Mix, analyze_triplets, mine_some, mine_triplets, spelled_out
from codekin.syntax import fragments
from fakes import FakeEmbedder


def pieces(**texts: str) -> list[Piece]:
    """The functions of files whose names have `__` for the dot."""
    return pieces_of(
        fragment for name, text in texts.items() for fragment in fragments(name.replace("__", "."), text)[0]
    )


def by_name(found: list[Piece], end: str) -> Piece:
    return next(piece for piece in found if piece.fragment.name.endswith(end))


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
def test_kin_share_a_pattern_by_evidence(one, other, kind):
    """A role, a role under another name, the same calls and control: each is told from the others."""
    found = pieces(a__ex=one, b__ex=other)
    first, second = (
        next(p for p in found if p.fragment.path == path and "init" not in p.role) for path in ("a.ex", "b.ex")
    )
    assert kinship(first, second) == kind
    assert not strangers(first, second)


def test_a_callback_is_of_one_behaviour():
    """`init/1` of two servers is the same pattern, `init/1` of a plug is another."""
    found = pieces(a__ex=server("A", "x_y", state="s"), b__ex=server("B", "z_w", state="t"), c__ex=PLUG)
    a, b, c = (by_name(found, f"{name}.init/1") for name in "ABC")
    assert kinship(a, b) == "callback"
    assert kinship(a, c) == ""
    assert not strangers(a, c)


def test_documentation_twins():
    """Two functions whose documentations say the same are kin, whatever they are called."""
    doc = '@doc "Counts unread messages of a mailbox by sender."'
    text = f"defmodule {{0}} do\n  {doc}\n  def {{1}}(a) do\n    {{2}}(a)\n  end\nend\n"
    found = pieces(a__ex=text.format("A", "tally", "Enum.count"), b__ex=text.format("B", "sum", "Repo.one"))
    assert kinship(*found) == "documentation"


def test_a_function_and_its_helper_are_no_strangers():
    """A caller and what it calls are neither kin nor a pair to tell apart."""
    found = pieces(
        a__ex="defmodule A do\n  def total(x) do\n    B.weigh(x)\n  end\nend\n",
        b__ex="defmodule B do\n  def weigh(x) do\n    x * 2\n  end\nend\n",
    )
    assert kinship(*found) == ""
    assert not strangers(*found)


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


def vectors_of(found: list[Piece]) -> np.ndarray:
    return FakeEmbedder().embed([piece.code for piece in found])


def elixir() -> dict[str, str]:
    return {path.replace(".", "__").replace("/", "_"): text for path, text in application(30).items()}


@pytest.mark.parametrize(("beam", "across"), [(0.7, 0.3), (0.5, 0.0), (1.0, 0.1), (0.25, 0.5)])
def test_the_shares_are_kept(beam, across):
    """Even where one language has little: its triplets repeat, and the note says so."""
    cpp = {f"f{at}__cc": CPP.format(at, "run") if at % 2 else OTHER_CPP.format(at, "tidy_up") for at in range(6)}
    found = pieces(**elixir(), **cpp)
    vectors = vectors_of(found)
    mined = mine_triplets(found, vectors, Mix(200, beam, across))
    told = analyze_triplets(spelled_out(found, vectors, mined))
    assert told["total"] == 200
    if told["cross_language_ratio"]:
        assert told["cross_language_ratio"] == pytest.approx(across, abs=0.01)
    assert told["beam_ratio"] == pytest.approx(beam, abs=0.01)
    assert told["beam_ratio"] + told["cpp_ratio"] == pytest.approx(1)
    if beam < 1:
        assert "C++" in mined.note


def test_without_cpp_the_triplets_are_of_beam_alone():
    """It is said, and the count is kept."""
    found = pieces(**elixir())
    mined = mine_triplets(found, vectors_of(found), Mix(50))
    assert len(mined.rows) == 50
    assert "Too little C++ (0 functions)" in mined.note


def test_too_little_elixir_is_refused():
    """Three functions and 500 lines are the least."""
    found = pieces(a__ex=server("A", "fetch"))
    with pytest.raises(LearningError, match="Not enough BEAM code: 2 Elixir functions"):
        mine_triplets(found, vectors_of(found), Mix(10))


def test_negatives_are_strangers_and_positives_no_copies():
    """Of all three sides of every triplet."""
    found = pieces(**elixir())
    rows = mine_some(found, vectors_of(found), Mix(300)).rows
    assert rows
    for _, anchor, positive, negative in rows:
        assert strangers(found[anchor], found[negative])
        assert not kinship(found[positive], found[negative])
        assert not near_copies(found[anchor], found[positive])


def test_a_fork_of_a_file_gives_no_negatives():
    """Functions of a changed copy of the anchor's file are neither told apart from it nor learned from."""
    name = "lib_part1__ex"
    fork = elixir()[name].replace("limit", "most").replace("pending", "waiting").replace("chosen", "some")
    found = pieces(**elixir(), fork__ex=fork.replace("App.", "Fork."))
    rows = mine_some(found, vectors_of(found), Mix(300)).rows
    pairs = {frozenset((found[a].fragment.path, found[n].fragment.path)) for _, a, _, n in rows}
    assert frozenset(("lib_part1.ex", "fork.ex")) not in pairs


def test_what_changed_is_asked_first_and_the_rest_replayed():
    """With few triplets to give, changed functions have half of them at least, if there are so many."""
    found = pieces(**elixir())
    changed = frozenset(piece.fragment.name for piece in found[:12])
    rows = mine_some(found, vectors_of(found), Mix(20), changed).rows
    asked = [found[anchor].fragment.name in changed for _, anchor, _, _ in rows]
    assert 0.3 <= np.mean(asked) < 1


def test_an_earlier_text_is_a_positive_of_todays():
    """It is never an anchor or a negative."""
    found = pieces(**elixir())
    now = found[3]
    old = Piece(now.fragment, now.code.replace("Map", "Keyword"), earlier=True)
    both = [*found, old]
    rows = mine_some(both, vectors_of(both), Mix(500), frozenset({now.fragment.name})).rows
    assert any(kind == "version" and positive == len(found) for kind, _, positive, _ in rows)
    assert all(len(found) not in {anchor, negative} for _, anchor, _, negative in rows)


def test_near_copies_of_what_is_held_out_are_not_learned():
    """A copy with a few changes would let training see the answers."""
    found = pieces(**elixir())
    learned, held = split(found, 0.2)
    twin = Piece(learned[0].fragment, held[0].code + "\n# a remark that was added", earlier=False)
    both = [*learned, twin]
    kept, vectors = _without_copies(both, vectors_of(both), held, vectors_of(held))
    assert twin not in kept
    assert len(kept) == len(vectors) == len(learned)


def test_the_split_is_stable_and_a_copy_stays_with_what_is_held_out():
    """Files come and go, and no function changes its side for it."""
    found = pieces(**elixir())
    held = {piece.fragment.path for piece in split(found, 0.2)[1]}
    assert held
    path = min(held)
    text = elixir()[path.replace(".", "__")]
    more = pieces(**elixir(), a_copy__ex=text, zz_copy__ex=text)
    assert {piece.fragment.path for piece in split(more, 0.2)[1]} >= held


def test_a_renamed_function_has_no_name_of_its_author_left():
    """Its own name, its variables and the functions near it change; modules, atoms and operators stay."""
    found = pieces(a__ex=server("A", "fetch_user"))
    asked = {q.kind: q.text for q in questions(found, [0])}
    assert "fetch_user" not in asked["renamed"]
    assert "conn" not in asked["renamed"]
    assert "Registry.lookup(Names" in asked["renamed"]
    assert bare_code("elixir", asked["renamed"]) == asked["renamed"]
