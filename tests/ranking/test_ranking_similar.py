"""Similar code, search, lenses and duplicates on a small made-up workspace."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from codekin import parsing
from codekin.protocols import TextKind, Vectors
from codekin.ranking import count_similar, find_duplicates, find_similar, search_code
from codekin.ranking.hits import build_hit, drop_noise
from codekin.ranking.name_meaning import add_name_meaning, embed_frequent_words
from codekin.ranking.query import looks_like_code
from codekin.ranking.scoring import Ranking
from codekin.ranking.similar import parse_snippet
from codekin.storage import ChunkIndex, FileState
from codekin.storage.terms import split_subtokens
from codekin.types import Chunk, Filters, Hit, SearchRequest
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
def index(tmp_path_factory: pytest.TempPathFactory) -> ChunkIndex:
    """A reader of FILES."""
    folder = tmp_path_factory.mktemp("index")
    with ChunkIndex.open(folder, write=True) as writer:
        writer.ensure_space(EMBEDDER.space, EMBEDDER.name, EMBEDDER.dimensions)
        for path, text in FILES.items():
            _put(writer, path, text)
    return ChunkIndex.open(folder)


def _put(writer: ChunkIndex, path: str, text: str) -> None:
    language = parsing.detect_language(path, text) or ""
    parts, _ = parsing.cut_chunks(path, text, language)
    vectors = EMBEDDER.embed([part.text for part in parts])
    by_digest = {part.digest: vector for part, vector in zip(parts, vectors, strict=True)}
    writer.replace_file(path, FileState(len(text), 1, 1, path, language), parts, by_digest)


def _search(index: ChunkIndex, embedder: FakeEmbedder | None, text: str, limit: int = 10) -> list[Hit]:
    return search_code(index, embedder, SearchRequest(text, limit=limit))


def _named(index: ChunkIndex, path: str, name: str) -> Chunk:
    return next(one for one in index.chunks(path) if name in one.name)


def test_similar_code_comes_with_reasons_and_without_the_query_itself(index: ChunkIndex) -> None:
    """Similar code comes with reasons; the query's own chunk is left out."""
    query = _named(index, "lib/counter.ex", "handle_call")
    hits = find_similar(index, EMBEDDER, query)
    assert all((hit.path, hit.start_line) != (query.path, query.start_line) for hit in hits)
    copy, kin = hits[0], next(hit for hit in hits if hit.path == "lib/stack.ex" and "handle_call" in hit.name)
    assert (copy.path, copy.score) == ("deps/counter/lib/counter.ex", 1.0)
    assert "identical copy" in copy.reasons
    assert any("GenServer.handle_call/3" in reason for reason in kin.reasons)
    assert "same name" in kin.reasons
    assert hits == sorted(hits, key=lambda hit: -hit.score)


def test_scores_above_the_least_only(index: ChunkIndex) -> None:
    """Only results above the minimum score are returned."""
    query = _named(index, "lib/counter.ex", "handle_call")
    hits = find_similar(index, EMBEDDER, query)
    least = hits[1].score
    assert find_similar(index, EMBEDDER, query, Filters(min_score=least)) == [hit for hit in hits if hit.score >= least]


def test_nonsense_finds_nothing(index: ChunkIndex) -> None:
    """A nonsense query returns no results."""
    assert _search(index, EMBEDDER, "zxqv wobble") == []
    assert _search(index, None, "zxqv wobble") == []


class _Synonyms(FakeEmbedder):
    """Reads `area` where a text says `surface`."""

    def embed(self, texts: Sequence[str], kind: TextKind = "passage") -> Vectors:
        """Unit vectors (len(texts), dimensions)."""
        return super().embed([text.replace("surface", "area") for text in texts], kind)


def test_a_name_that_means_the_same_in_other_words_stands_higher(index: ChunkIndex) -> None:
    """Of two chunks that fit alike, the one whose name's words mean what the question says comes first."""
    view = index.view()
    rows = np.arange(len(view.snapshot))
    alike = np.zeros(len(rows), np.float32)
    ranking = Ranking(rows, alike, alike, alike)
    vector = _Synonyms(space="synonyms").embed(["surface"])[0]
    best = add_name_meaning(view.snapshot, ranking, vector, _Synonyms(space="synonyms"), 0.4).rows[0]
    assert "area" in view.snapshot.names.name(int(view.snapshot.columns.name[best]))


class _Remembering(_Synonyms):
    """Keeps what it was asked for."""

    def embed(self, texts: Sequence[str], kind: TextKind = "passage") -> Vectors:
        """Unit vectors (len(texts), dimensions)."""
        self.__dict__.setdefault("asked", []).extend(texts)
        return super().embed(texts, kind)


def test_a_question_waits_for_no_word_that_was_embedded_before(index: ChunkIndex) -> None:
    """The words of a repository's names are embedded once, before anybody asks."""
    view, embedder = index.view(), _Remembering(space="remembering")
    rows = np.arange(len(view.snapshot))
    alike = np.zeros(len(rows), np.float32)
    embed_frequent_words(view.snapshot, embedder)
    before = len(embedder.asked)
    assert "area" in embedder.asked
    embed_frequent_words(view.snapshot, embedder)
    vector = _Synonyms(space="synonyms").embed(["surface"])[0]
    add_name_meaning(view.snapshot, Ranking(rows, alike, alike, alike), vector, embedder, 0.4)
    paths = {word for path in view.snapshot.paths.values() for word in split_subtokens(path)}
    assert set(embedder.asked[before:]) <= paths


def test_a_large_encoder_is_not_asked_for_single_words(index: ChunkIndex) -> None:
    """A question would wait for seconds."""
    rows = np.arange(len(index.view().snapshot))
    alike = np.zeros(len(rows), np.float32)
    ranking = Ranking(rows, alike, alike, alike)
    large = _Synonyms(dimensions=1536, space="large")
    assert add_name_meaning(index.view().snapshot, ranking, np.ones(1536, np.float32), large, 0.4) is ranking


def test_without_a_model_stored_vectors_and_words_answer(index: ChunkIndex) -> None:
    """Without a model, stored vectors and words give the results."""
    query = _named(index, "lib/counter.ex", "retry")
    assert find_similar(index, None, query) == find_similar(index, EMBEDDER, query)
    assert _search(index, None, "retry backoff attempts")


def test_a_model_of_another_space_is_not_used(index: ChunkIndex) -> None:
    """A model whose space differs from the index's is not used."""

    class Stranger(FakeEmbedder):
        def embed(self, texts: object, kind: object = "passage") -> None:
            raise AssertionError

    assert _search(index, Stranger(space="fake-2"), "retry with backoff")


def test_words_find_code_in_both_languages(index: ChunkIndex) -> None:
    """A search by words finds code in both languages."""
    paths = [hit.path for hit in _search(index, EMBEDDER, "retry with backoff attempts", limit=4)]
    assert "src/retry.cpp" in paths
    assert "lib/counter.ex" in paths


def test_a_pasted_snippet_is_searched_as_code(index: ChunkIndex) -> None:
    """A pasted snippet is searched as code."""
    text = FILES["src/retry.cpp"].split("\n\n")[2].strip()
    (first, *_) = _search(index, EMBEDDER, text)
    assert (first.path, first.score) == ("src/retry.cpp", 1.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("retry with backoff", False),
        ("how is a session (cookie) renewed?", False),
        ("Enum.map(list, &double/1)", True),
        ("a |> b", True),
        ("int x = 1;", True),
        ("how fmt::format and fmt::print format strings at runtime", False),
        ("who calls close_month() when a month is over", False),
        ("std::sort(a.begin(), a.end())", True),
        ("if not user then return nil end; done", True),
        ("parse HTTP header, then sign it", False),
    ],
)
def test_words_are_distinguished_from_code(text: str, expected: bool) -> None:
    """Words and code are recognised as what they are."""
    assert looks_like_code(text) is expected


def test_a_snippet_gets_its_language_and_shape() -> None:
    """A snippet gets its language and its shape."""
    found = parse_snippet("def f(x) do\n  Enum.map(x, &g/1)\nend", ["cpp", "elixir"])
    assert found.language == "elixir"
    assert any("Enum.map" in call for call in found.shape.calls)
    assert parse_snippet("no idea what this is;;; ) {", ["cpp", "elixir"]).language == ""


def test_parts_of_one_function_are_one_hit(tmp_path: Path) -> None:
    """Several parts of one function are one result."""
    with ChunkIndex.open(tmp_path, write=True) as index:
        parts = [
            Chunk("a.ex", "elixir", "function", "A.long/1", n * 10, n * 10 + 9, f"def long word{n} shared thing", "", n)
            for n in (1, 2, 3)
        ]
        other = Chunk("b.ex", "elixir", "function", "B.f/0", 1, 2, "def f shared thing")
        index.replace_file("a.ex", FileState(1, 1, 1, "a", "elixir"), parts)
        index.replace_file("b.ex", FileState(1, 1, 1, "b", "elixir"), [other])
        index.flush(force=True)
        names = [hit.name for hit in _search(index, None, "shared thing word2")]
        assert sorted(names) == ["A.long/1", "B.f/0"]
        assert "A.long/1" not in [hit.name for hit in find_similar(index, None, parts[0])]


def test_lenses_count_what_similar_shows(index: ChunkIndex) -> None:
    """A code lens shows the number of results that `similar` lists."""
    parts = index.chunks("lib/counter.ex")
    counts = count_similar(index, EMBEDDER, parts, 0.3)
    assert counts == [len(find_similar(index, EMBEDDER, part, Filters(min_score=0.3), 50)) for part in parts]
    assert max(counts) >= 1


def test_duplicates_are_true_ones(tmp_path: Path) -> None:
    """Duplicates are repeated code; look-alikes and one-liners are left out."""
    body = "\n".join(f"  step_{n} = compute_{n}(input, {n}) + offset_{n}" for n in range(12))
    near = body.replace("offset_3", "shift_3")
    far = "\n".join(f"  other_{n} = unlike_{n}(value) * {n}" for n in range(12))
    with ChunkIndex.open(tmp_path, write=True) as index:
        for path, text in (("a.ex", body), ("b.ex", near), ("c.ex", far), ("d.ex", "x"), ("e.ex", "x"), ("f.ex", body)):
            lines = text.count("\n") + 1
            one = Chunk(path, "elixir", "function", f"{path}.f/1", 1, lines, text)
            index.replace_file(path, FileState(1, 1, 1, path, "elixir"), [one])
        (group,) = find_duplicates(index)
        assert {hit.path for hit in group} == {"a.ex", "b.ex", "f.ex"}
        assert {hit.path: hit.score == 1.0 for hit in group} == {"a.ex": True, "b.ex": False, "f.ex": True}
        assert find_duplicates(index, Filters(paths=("c.ex",))) == []


def _with_files(folder: Path, *chunks: Chunk) -> ChunkIndex:
    index = ChunkIndex.open(folder, write=True)
    for path in sorted({chunk.path for chunk in chunks}):
        some = [chunk for chunk in chunks if chunk.path == path]
        index.replace_file(path, FileState(1, 1, 1, path, some[0].language), some)
    index.flush(force=True)
    return index


def test_the_other_parts_of_a_function_are_no_hits(tmp_path: Path) -> None:
    """The other parts of a function are not results of a query for one of them."""
    head = Chunk("a.ex", "elixir", "function", "A.verify/2", 1, 3, "def verify(token, age)  # checks a token")
    body = Chunk("a.ex", "elixir", "function", "A.verify/2", 9, 12, "def verify(token, age), do: check(token, age)")
    twin = Chunk("b.ex", "elixir", "function", "B.verify/2", 1, 3, "def verify(token, age), do: check(token) and age")
    with _with_files(tmp_path, head, body, twin) as index:
        assert [hit.name for hit in find_similar(index, None, body)] == ["B.verify/2"]


def test_what_is_left_of_a_namespace_comes_after_functions(tmp_path: Path) -> None:
    """The remaining lines of a namespace rank below functions."""
    words = "bool take(Queue* queue, int wait);"
    query = Chunk(
        "a.cc", "cpp", "function", "take", 1, 1, "bool take(Queue* queue, int wait) { return pop(queue, wait); }"
    )
    left = Chunk("b.h", "cpp", "namespace", "jobs", 1, 2, words)
    function = Chunk("c.cc", "cpp", "function", "jobs::take", 1, 2, words + " ")
    with _with_files(tmp_path, query, left, function) as index:
        assert [hit.kind for hit in find_similar(index, None, query)] == ["function", "namespace"]


def test_a_place_says_where_its_code_begins() -> None:
    """A result gives the line at which its code begins, below the documentation."""
    chunk = Chunk("a.ex", "elixir", "function", "A.go/0", 10, 12, "# Says\n# much.\ndef go, do: 1")
    assert build_hit(chunk, 0.5, ["same name"]).code_line == 12


def test_noise_beside_the_best_of_a_language_is_not_shown() -> None:
    """Results far below the best one of their language are dropped."""

    def hits(language: str, *scores: float) -> list[Hit]:
        return [Hit("a", "", "function", language, 1, 2, 1, score) for score in scores]

    assert drop_noise(hits("elixir", 0.81, 0.137, 0.113)) == hits("elixir", 0.81, 0.137)
    assert drop_noise(hits("elixir", 0.22, 0.1, 0.04)) == hits("elixir", 0.22, 0.1)
    across = [*hits("elixir", 1.0), *hits("cpp", 0.2, 0.06, 0.03)]
    assert drop_noise(across) == across[:3]
    assert drop_noise([]) == []
