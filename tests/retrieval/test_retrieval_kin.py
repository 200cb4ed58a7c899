"""Similar code, search, lenses and duplicates on a small made-up workspace."""

from pathlib import Path

import pytest

from codekin import syntax
from codekin.index import FileState, Index
from codekin.records import Filters, Fragment, Hit
from codekin.retrieval import duplicates, lens, search, similar
from codekin.retrieval.hits import hit_of, worth_showing
from codekin.retrieval.snippets import is_code, read_snippet
from fakes import FakeEmbedder

EMBEDDER = FakeEmbedder()

FILES = {
    "lib/counter.ex": """
defmodule Counter do
  use GenServer

  @impl true
  def handle_call(:value, _from, count) do
    Logger.debug("counter value read")
    {:reply, count, count}
  end

  def retry(fun, attempts) do
    case fun.() do
      {:ok, value} -> {:ok, value}
      {:error, _} when attempts > 0 -> retry_after_backoff(fun, attempts - 1)
    end
  end
end
""",
    "lib/stack.ex": """
defmodule Stack do
  use GenServer

  @impl true
  def handle_call(:pop, _from, [head | tail]) do
    Logger.debug("stack popped")
    {:reply, head, tail}
  end
end
""",
    "deps/counter/lib/counter.ex": "",
    "src/retry.cpp": """
#include <functional>

int retry_with_backoff(std::function<bool()> attempt, int attempts) {
  for (int tried = 0; tried < attempts; ++tried) {
    if (attempt()) return tried;
    sleep_for_backoff(tried);
  }
  return -1;
}

double circle_area(double radius) {
  const double pi = 3.14159;
  double squared = radius * radius;
  return pi * squared;
}
""",
}
FILES["deps/counter/lib/counter.ex"] = FILES["lib/counter.ex"]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """A reader of FILES."""
    folder = tmp_path_factory.mktemp("index")
    with Index.open(folder, write=True) as writer:
        writer.ensure_space(EMBEDDER.space, EMBEDDER.name, EMBEDDER.dimensions)
        for path, text in FILES.items():
            _put(writer, path, text)
    return Index.open(folder)


def _put(writer: Index, path: str, text: str) -> None:
    language = syntax.language_of(path, text) or ""
    parts, _ = syntax.fragments(path, text, language)
    vectors = EMBEDDER.embed([part.text for part in parts])
    by_digest = {part.digest: vector for part, vector in zip(parts, vectors, strict=True)}
    writer.replace_file(path, FileState(len(text), 1, 1, path, language), parts, by_digest)


def _named(index: Index, path: str, name: str) -> Fragment:
    return next(one for one in index.fragments(path) if name in one.name)


def test_kin_come_with_reasons_and_without_the_query_itself(index: Index) -> None:
    """The first answer would be the code under the cursor, and nobody would know why the others are there."""
    query = _named(index, "lib/counter.ex", "handle_call")
    hits = similar(index, EMBEDDER, query)
    assert all((hit.path, hit.start_line) != (query.path, query.start_line) for hit in hits)
    copy, kin = hits[0], next(hit for hit in hits if hit.path == "lib/stack.ex" and "handle_call" in hit.name)
    assert (copy.path, copy.score) == ("deps/counter/lib/counter.ex", 1.0)
    assert "identical copy" in copy.reasons
    assert any("GenServer.handle_call/3" in reason for reason in kin.reasons)
    assert "same name" in kin.reasons
    assert hits == sorted(hits, key=lambda hit: -hit.score)


def test_scores_above_the_least_only(index: Index) -> None:
    """`--min-score` would show what it should not."""
    query = _named(index, "lib/counter.ex", "handle_call")
    hits = similar(index, EMBEDDER, query)
    least = hits[1].score
    assert similar(index, EMBEDDER, query, Filters(min_score=least)) == [hit for hit in hits if hit.score >= least]


def test_nonsense_finds_nothing(index: Index) -> None:
    """Whoever asks for what is not there would be shown noise."""
    assert search(index, EMBEDDER, "zxqv wobble") == []
    assert search(index, None, "zxqv wobble") == []


def test_without_a_model_stored_vectors_and_words_answer(index: Index) -> None:
    """While the model loads, the editor would get nothing."""
    query = _named(index, "lib/counter.ex", "retry")
    assert similar(index, None, query) == similar(index, EMBEDDER, query)
    assert search(index, None, "retry backoff attempts")


def test_a_model_of_another_space_is_not_asked(index: Index) -> None:
    """Vectors of two models would be compared."""

    class Stranger(FakeEmbedder):
        def embed(self, texts: object, kind: object = "passage") -> None:
            raise AssertionError

    assert search(index, Stranger(space="fake-2"), "retry with backoff")


def test_words_find_code_in_both_languages(index: Index) -> None:
    """A search by words would stay within one language."""
    paths = [hit.path for hit in search(index, EMBEDDER, "retry with backoff attempts", limit=4)]
    assert "src/retry.cpp" in paths
    assert "lib/counter.ex" in paths


def test_a_pasted_snippet_is_searched_as_code(index: Index) -> None:
    """A pasted function would be taken for words."""
    text = FILES["src/retry.cpp"].split("\n\n")[2].strip()
    (first, *_) = search(index, EMBEDDER, text)
    assert (first.path, first.score) == ("src/retry.cpp", 1.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("retry with backoff", False),
        ("how is a session (cookie) renewed?", False),
        ("Enum.map(list, &double/1)", True),
        ("a |> b", True),
        ("int x = 1;", True),
        ("parse HTTP header, then sign it", False),
    ],
)
def test_words_are_told_from_code(text: str, expected: bool) -> None:
    """Words would be parsed, or code embedded as a question."""
    assert is_code(text) is expected


def test_a_snippet_gets_its_language_and_shape() -> None:
    """Centring and reasons would miss for pasted code."""
    found = read_snippet("def f(x) do\n  Enum.map(x, &g/1)\nend", ["cpp", "elixir"])
    assert found.language == "elixir"
    assert any("Enum.map" in call for call in found.shape.calls)
    assert read_snippet("no idea what this is;;; ) {", ["cpp", "elixir"]).language == ""


def test_parts_of_one_function_are_one_hit(tmp_path: Path) -> None:
    """One long function would fill the list of answers."""
    with Index.open(tmp_path, write=True) as index:
        parts = [
            Fragment(
                "a.ex", "elixir", "function", "A.long/1", n * 10, n * 10 + 9, f"def long word{n} shared thing", "", n
            )
            for n in (1, 2, 3)
        ]
        other = Fragment("b.ex", "elixir", "function", "B.f/0", 1, 2, "def f shared thing")
        index.replace_file("a.ex", FileState(1, 1, 1, "a", "elixir"), parts)
        index.replace_file("b.ex", FileState(1, 1, 1, "b", "elixir"), [other])
        index.flush(force=True)
        names = [hit.name for hit in search(index, None, "shared thing word2")]
        assert sorted(names) == ["A.long/1", "B.f/0"]
        assert "A.long/1" not in [hit.name for hit in similar(index, None, parts[0])]


def test_lenses_count_what_similar_shows(index: Index) -> None:
    """A lens would promise places that the list does not have."""
    parts = index.fragments("lib/counter.ex")
    counts = lens(index, EMBEDDER, parts, 0.3)
    assert counts == [len(similar(index, EMBEDDER, part, Filters(min_score=0.3), 50)) for part in parts]
    assert max(counts) >= 1


def test_duplicates_are_true_ones(tmp_path: Path) -> None:
    """Look-alikes and one-liners would hide the real repetitions."""
    body = "\n".join(f"  step_{n} = compute_{n}(input, {n}) + offset_{n}" for n in range(12))
    near = body.replace("offset_3", "shift_3")
    far = "\n".join(f"  other_{n} = unlike_{n}(value) * {n}" for n in range(12))
    with Index.open(tmp_path, write=True) as index:
        for path, text in (("a.ex", body), ("b.ex", near), ("c.ex", far), ("d.ex", "x"), ("e.ex", "x"), ("f.ex", body)):
            lines = text.count("\n") + 1
            one = Fragment(path, "elixir", "function", f"{path}.f/1", 1, lines, text)
            index.replace_file(path, FileState(1, 1, 1, path, "elixir"), [one])
        (group,) = duplicates(index)
        assert {hit.path for hit in group} == {"a.ex", "b.ex", "f.ex"}
        assert {hit.path: hit.score == 1.0 for hit in group} == {"a.ex": True, "b.ex": False, "f.ex": True}
        assert duplicates(index, Filters(paths=("c.ex",))) == []


def _with_files(folder: Path, *fragments: Fragment) -> Index:
    index = Index.open(folder, write=True)
    for path in sorted({fragment.path for fragment in fragments}):
        some = [fragment for fragment in fragments if fragment.path == path]
        index.replace_file(path, FileState(1, 1, 1, path, some[0].language), some)
    index.flush(force=True)
    return index


def test_the_rest_of_a_function_is_no_kin_of_it(tmp_path: Path) -> None:
    """A documented head, apart from its clauses, would be the best answer about them."""
    head = Fragment("a.ex", "elixir", "function", "A.verify/2", 1, 3, "def verify(token, age)  # checks a token")
    body = Fragment("a.ex", "elixir", "function", "A.verify/2", 9, 12, "def verify(token, age), do: check(token, age)")
    twin = Fragment(
        "b.ex", "elixir", "function", "B.verify/2", 1, 3, "def verify(token, age), do: check(token) and age"
    )
    with _with_files(tmp_path, head, body, twin) as index:
        assert [hit.name for hit in similar(index, None, body)] == ["B.verify/2"]


def test_what_is_left_of_a_namespace_comes_after_functions(tmp_path: Path) -> None:
    """Forward declarations of a whole file would stand above the one function that does it."""
    words = "bool take(Queue* queue, int wait);"
    asked = Fragment(
        "a.cc", "cpp", "function", "take", 1, 1, "bool take(Queue* queue, int wait) { return pop(queue, wait); }"
    )
    left = Fragment("b.h", "cpp", "namespace", "jobs", 1, 2, words)
    function = Fragment("c.cc", "cpp", "function", "jobs::take", 1, 2, words + " ")
    with _with_files(tmp_path, asked, left, function) as index:
        assert [hit.kind for hit in similar(index, None, asked)] == ["function", "namespace"]


def test_a_place_says_where_its_code_begins() -> None:
    """Who opens a place would land in its docs."""
    fragment = Fragment("a.ex", "elixir", "function", "A.go/0", 10, 12, "# Says\n# much.\ndef go, do: 1")
    assert hit_of(fragment, 0.5, ["same name"]).code_line == 12


def test_noise_beside_the_best_of_a_language_is_not_shown() -> None:
    """A peek sorts by file: what means nothing would stand before what was sought."""

    def hits(language: str, *scores: float) -> list[Hit]:
        return [Hit("a", "", "function", language, 1, 2, 1, score) for score in scores]

    assert worth_showing(hits("elixir", 0.81, 0.137, 0.113)) == hits("elixir", 0.81, 0.137)
    assert worth_showing(hits("elixir", 0.22, 0.1, 0.04)) == hits("elixir", 0.22, 0.1)
    across = [*hits("elixir", 1.0), *hits("cpp", 0.2, 0.06, 0.03)]
    assert worth_showing(across) == across[:3]
    assert worth_showing([]) == []
