"""Questions in words: abbreviations in names, helpers below what they help, and answers that share no word."""

from pathlib import Path

import pytest

from codekin import parsing
from codekin.models.loading import load_embedder
from codekin.ranking import search_code
from codekin.ranking.expansion import expand_words, forms_of, spell_out, synonyms_of
from codekin.ranking.names import helped_by
from codekin.storage import ChunkIndex, FileState
from codekin.types import SearchRequest

CONVERT = """defmodule Shop.Convert do
  def mph_to_kmh(nil), do: nil
  def mph_to_kmh(speed), do: round(speed / @factor)

  def miles_to_km(nil), do: nil
  def miles_to_km(length), do: round(length / @factor)
end
"""

PUBLISHER = """defmodule Shop.Publisher do
  # Publishes a value to the broker and waits for the broker.
  defp do_publish(broker, topic, value) do
    publish_to_broker(broker, topic, value)
    wait_for_broker(broker)
  end

  def publish(topic, value) do
    GenServer.call(__MODULE__, {:publish, topic, value})
  end
end
"""


@pytest.mark.parametrize(
    ("abbreviation", "question", "words"),
    [
        ("mph", "convert miles per hour to kilometres", ("miles", "per", "hour")),
        ("kmh", "kilometres per hour", ("kilometres", "hour")),
        ("fs", "read the file system", ("file", "system")),
        ("btn", "press a button", ("button",)),
        ("my", "how many", ()),
        ("stop", "stages of a pipeline", ()),
        ("mph", "mph in miles per hour", ()),
        ("mph", "", ()),
        ("lru", "evict the least recently used entry", ("least", "recently", "used")),
        ("lru", "lists of users", ()),
    ],
)
def test_an_abbreviation_means_the_words_of_the_question_that_it_is_made_of(
    abbreviation: str, question: str, words: tuple[str, ...]
) -> None:
    """Initials of consecutive words and contractions are read; words with vowels are words."""
    assert spell_out(abbreviation, tuple(question.split())) == words


@pytest.mark.parametrize(
    ("helper", "helped"),
    [
        ("Shop.Publisher.do_publish/3", ("Shop", "Publisher", "publish")),
        ("parse_all_impl", ("parse_all",)),
        ("json::parseValueImpl", ("json", "parseValue")),
        ("Shop.do", ()),
        ("Shop.document/1", ()),
        ("impl", ()),
    ],
)
def test_a_helper_is_known_by_its_name(helper: str, helped: tuple[str, ...]) -> None:
    """What it helps has the same name without the word that says so."""
    assert helped_by(helper) == helped


def _answers(folder: Path, files: dict[str, str], text: str) -> list[str]:
    with ChunkIndex.open(folder, write=True) as index:
        for path, code in files.items():
            chunks, _ = parsing.cut_chunks(path, code)
            index.replace_file(path, FileState(len(code), 1, 1, path, chunks[0].language), chunks)
        index.flush(force=True)
        return [hit.name for hit in search_code(index, None, SearchRequest(text))]


ERROR = """defmodule Shop.Error do
  @secret ["token"]

  def redacted(error) do
    cleaned = Map.drop(error.env, @secret)
    %{error | env: cleaned}
  end

  def retry_later(error, seconds) do
    Process.send_after(self(), error, seconds)
    :ok
  end
end
"""

ERROR_TEST = """defmodule Shop.ErrorTest do
  use ExUnit.Case

  test "redacts what nobody may read before it reaches the journal" do
    error = Shop.Error.redacted(%{env: %{}})
    assert error
  end
end
"""


def test_a_test_says_what_the_tested_function_does(tmp_path: Path) -> None:
    """The function's own text has no word of the question; the name of its test has most of them."""
    files = {"lib/error.ex": ERROR, "test/error_test.exs": ERROR_TEST, "lib/publisher.ex": PUBLISHER}
    question = "what nobody may read must not reach the journal"
    assert "Shop.Error.redacted/1" in _answers(tmp_path / "with", files, question)[:2]
    del files["test/error_test.exs"]
    assert "Shop.Error.redacted/1" not in _answers(tmp_path / "without", files, question)


def test_other_forms_and_other_words_are_found(tmp_path: Path) -> None:
    """`retrying` is found by `retry`, and `redacted` by `hide`."""
    files = {"lib/error.ex": ERROR, "lib/publisher.ex": PUBLISHER}
    assert _answers(tmp_path, files, "retrying after some seconds")[0] == "Shop.Error.retry_later/2"
    assert _answers(tmp_path, files, "hide errors")[0] == "Shop.Error.redacted/1"


@pytest.mark.parametrize(
    ("word", "form", "is_form"), [("polls", "polling", True), ("stopped", "stop", True), ("polls", "police", False)]
)
def test_forms_share_a_stem(word: str, form: str, is_form: bool) -> None:
    """Endings and doubled letters aside."""
    assert (form in forms_of(word)) == is_form


def test_synonyms_go_both_ways_and_never_repeat_the_question() -> None:
    """Each word of a group finds the others, and what the question says itself is no expansion."""
    assert "redact" in synonyms_of("masked")
    assert "mask" in synonyms_of("redacts")
    assert not synonyms_of("kumquat")
    assert "mask" not in expand_words(["mask", "redact"])


@pytest.mark.parametrize("text", ["zzqqxx", "flurbl", "xqj wibbled", "snorkelling grumpfs"])
def test_nonsense_finds_nothing(tmp_path: Path, text: str) -> None:
    """Nor do forms of it that no chunk has, or tests that have nothing of it."""
    files = {"lib/error.ex": ERROR, "test/error_test.exs": ERROR_TEST, "lib/publisher.ex": PUBLISHER, "a.ex": CONVERT}
    assert _answers(tmp_path, files, text) == []


@pytest.mark.parametrize("text", ["retry latr", "retry laterr", "rtery later"])
def test_a_name_in_words_with_a_letter_wrong_is_near_the_top(tmp_path: Path, text: str) -> None:
    """As with a name in one word."""
    assert "Shop.Error.retry_later/2" in _answers(tmp_path, {"lib/error.ex": ERROR}, text)[:2]


def test_a_function_comes_before_the_helper_that_does_its_work(tmp_path: Path) -> None:
    """The helper says more of the question; what a caller calls is above it all the same."""
    found = _answers(tmp_path, {"lib/publisher.ex": PUBLISHER}, "publish a value to the broker and wait")
    functions = [name for name in found if name.endswith(("publish/2", "publish/3"))]
    assert functions == ["Shop.Publisher.publish/2", "Shop.Publisher.do_publish/3"]


def test_a_name_of_abbreviations_is_found_by_their_words(tmp_path: Path) -> None:
    """A function is found though all that it shares with the question is an abbreviation in its name."""
    assert "Shop.Convert.mph_to_kmh/1" in _answers(tmp_path, {"lib/convert.ex": CONVERT}, "miles per hour")


@pytest.mark.slow
def test_an_answer_without_a_word_of_the_question_is_found_by_its_meaning(tmp_path: Path) -> None:
    """The bundled encoder finds what a question means, and nothing where the code has nothing to do with it."""
    erase = "def erase_everything(cache), do: :ets.delete_all_objects(cache.table)"
    code = f"{erase}\n\ndef count(entries), do: length(entries)\n"
    embedder = load_embedder("codekin_embed")
    with ChunkIndex.open(tmp_path, write=True) as index:
        index.ensure_space(embedder.space, embedder.name, embedder.dimensions)
        chunks, _ = parsing.cut_chunks("lib/cache.ex", code)
        vectors = {one.digest: embedder.embed([one.text])[0] for one in chunks}
        index.replace_file("lib/cache.ex", FileState(1, 1, 1, "h", "elixir"), chunks, vectors)
        index.flush(force=True)
        assert "erase_everything" in search_code(index, embedder, SearchRequest("remove all entries"))[0].name
        assert search_code(index, embedder, SearchRequest("boil eggs for breakfast")) == []
