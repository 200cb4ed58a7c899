"""Searches as people type them: filters among the words, and a regular expression beside them."""

import pytest

from codekin import parsing
from codekin.errors import UsageError
from codekin.ranking import search_code
from codekin.ranking.query import SearchQuery, parse_query
from codekin.storage import ChunkIndex, FileState
from codekin.types import Filters, Hit, SearchRequest

FUNCTION = """def retry_{name}(attempts) do
  # tries again with a pause
  pause = attempts * {name}_delay()
  sleep_before_retry(pause)
end
"""
FILES = {
    "lib/http/client.ex": "http",
    "lib/queue.ex": "queue",
    "test/queue_test.exs": "test",
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ChunkIndex:
    """A reader of FILES and of a C++ file like them."""
    folder = tmp_path_factory.mktemp("index")
    with ChunkIndex.open(folder, write=True) as writer:
        for path, name in FILES.items():
            _put(writer, path, FUNCTION.format(name=name))
        _put(writer, "src/retry.cpp", "int retry_cpp(int attempts) {\n  int pause = attempts;\n  sleep(pause);\n}\n")
        writer.flush(force=True)
    return ChunkIndex.open(folder)


def _put(writer: ChunkIndex, path: str, text: str) -> None:
    chunks, _ = parsing.cut_chunks(path, text)
    writer.replace_file(path, FileState(len(text), 1, 1, path, chunks[0].language), chunks)


def _search(index: ChunkIndex, text: str, grep: str = "") -> list[Hit]:
    return search_code(index, None, SearchRequest(text, grep=grep))


@pytest.mark.parametrize(
    ("text", "words", "filters"),
    [
        ("lang:elixir path:lib/ retry", "retry", Filters(languages=("elixir",), paths=("lib/",))),
        ("lang:c++ retry", "retry", Filters(languages=("cpp",))),
        ("retry kind:function -kind:test", "retry", Filters(kinds=("function",), excluded_kinds=("test",))),
        ("retry -test", "retry", Filters(excluded_words=("test",))),
        ('-path:"my lib/*" retry', "retry", Filters(excluded_paths=("my lib/*",))),
        ("std::sort lang:cpp", "std::sort", Filters(languages=("cpp",))),
        ("how is a session renewed?", "how is a session renewed?", Filters()),
        ("a-b -1 x - y", "a-b -1 x - y", Filters()),
        ("Map.put(a, kind: :b)", "Map.put(a, kind: :b)", Filters()),
        ("x = -offset;", "x = -offset;", Filters()),
        ("first line\nlang:elixir", "first line\nlang:elixir", Filters()),
    ],
)
def test_filters_are_read_from_among_the_words(text: str, words: str, filters: Filters) -> None:
    """Filters narrow the search and are no words of it; code is left as it is."""
    assert parse_query(text, Filters()) == SearchQuery(words, filters)


@pytest.mark.parametrize("text", ["lang:cobol retry", "kind:thing retry"])
def test_an_unknown_language_or_kind_is_refused_with_the_known_ones(text: str) -> None:
    """A typing error in a filter is said, with what there is."""
    with pytest.raises(UsageError, match="there are "):
        parse_query(text, Filters())


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("retry pause", {"lib/http/client.ex", "lib/queue.ex", "test/queue_test.exs", "src/retry.cpp"}),
        ("retry pause -test", {"lib/http/client.ex", "lib/queue.ex", "src/retry.cpp"}),
        ("retry pause lang:elixir path:lib", {"lib/http/client.ex", "lib/queue.ex"}),
        ("retry pause -lang:elixir", {"src/retry.cpp"}),
        ("retry pause -path:lib/http", {"lib/queue.ex", "test/queue_test.exs", "src/retry.cpp"}),
    ],
)
def test_filters_in_the_query_narrow_the_answer(index: ChunkIndex, text: str, paths: set[str]) -> None:
    """What the filters leave out is not found."""
    assert {hit.path for hit in _search(index, text)} == paths


def test_tests_come_after_code_unless_they_are_requested(index: ChunkIndex) -> None:
    """A search finds code first; a search for tests finds tests."""
    paths = [hit.path for hit in _search(index, "retry with a pause lang:elixir")]
    assert paths.index("test/queue_test.exs") == len(paths) - 1


def test_a_regular_expression_must_match_a_line_of_every_hit(index: ChunkIndex) -> None:
    """Meaning orders what the expression lets through, and the matching lines are told."""
    hits = _search(index, "retry", grep=r"(http|queue)_delay\(\)")
    assert {hit.path for hit in hits} == {"lib/http/client.ex", "lib/queue.ex"}
    assert all(hit.lines == (3,) for hit in hits)
    assert [hit.path for hit in _search(index, "", grep=r"int pause = \w+;")] == ["src/retry.cpp"]


def test_a_broken_regular_expression_is_refused(index: ChunkIndex) -> None:
    """A typing error in an expression is said in a sentence."""
    with pytest.raises(UsageError, match="is not a regular expression"):
        _search(index, "retry", grep="(")
