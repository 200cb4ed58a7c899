"""Questions that name a topic are answered by the file, module or class that is about it."""

from pathlib import Path

import pytest

from codekin import parsing
from codekin.ranking import search_code
from codekin.ranking.priors import support_of_files
from codekin.ranking.query import asks_about_topic
from codekin.storage import ChunkIndex, FileState
from codekin.types import Hit, SearchRequest

COOKIE = """defmodule Shop.Cookie do
  def attributes(cookie) do
    Enum.map(cookie.parts, &part/1)
  end

  def encode(cookie) do
    Enum.join(attributes(cookie), "; ")
  end

  def expire(cookie) do
    %{cookie | parts: ["max-age=0" | cookie.parts]}
  end
end
"""

LOGGER = """defmodule Shop.AccessLog do
  def log_cookie_attributes(request) do
    Logger.info(request.cookie_attributes)
    request
  end

  def log_path(request) do
    Logger.info(request.path)
    request
  end
end
"""


@pytest.mark.parametrize(
    ("question", "names_topic"),
    [
        ("cookie formatting and attributes", True),
        ("LRU cache implementation", True),
        ("how libuv implements the event loop", True),
        ("Router", True),
        ("parse command line arguments", False),
        ("undo last change", False),
        ("how do the nodes agree on a leader", False),
        ("how long to wait between polls", False),
        ("which class holds all loggers by name", False),
        ("two identical keys in the same map", False),
        ("file name for a notebook that was never saved", False),
        ("how", False),
        ("", False),
    ],
)
def test_a_topic_starts_with_no_verb_and_has_no_clause(question: str, names_topic: bool) -> None:
    """What says what is done is no topic."""
    assert asks_about_topic(question) is names_topic


def _answers(folder: Path, text: str) -> list[Hit]:
    with ChunkIndex.open(folder, write=True) as index:
        for path, code in {"lib/access_log.ex": LOGGER, "lib/cookie.ex": COOKIE}.items():
            chunks, _ = parsing.cut_chunks(path, code)
            index.replace_file(path, FileState(len(code), 1, 1, path, "elixir"), chunks)
        index.flush(force=True)
        return search_code(index, None, SearchRequest(text))


def test_a_topic_is_answered_by_the_file_that_is_about_it(tmp_path: Path) -> None:
    """A question that says what is done is answered by the function that does it, in a file of another name."""
    assert _answers(tmp_path / "topic", "cookie formatting and attributes")[0].path == "lib/cookie.ex"
    assert (
        _answers(tmp_path / "deed", "log the attributes of a cookie")[0].name
        == "Shop.AccessLog.log_cookie_attributes/1"
    )


def test_the_best_of_each_file_is_supported_by_what_else_the_file_has() -> None:
    """Only the best few count, and a score below nothing takes nothing away."""
    assert support_of_files([7, 9, 7, 9], [0.5, 0.6, 0.5, -1.0], 4) == [1.0, 0.6, 0.0, 0.0]
    assert support_of_files([7, 9], [0.0, 0.0], 2) == [0.0, 0.0]
    assert support_of_files([], [], 2) == []
