"""The repository model: what a codebase says comes back, fitted to the place; what must stay unseen does."""

import numpy as np
import pytest

from codekin.completion import features
from codekin.completion.context import CursorPosition, read_context
from codekin.completion.corpus_snapshot import build_corpus, load_corpus, save_corpus
from codekin.completion.evaluation import (
    evaluate_completion,
    match_row_paths,
    repository_completer,
    row_cursor,
    summarize_cases,
    validate_rows,
)
from codekin.completion.ngrams import ngram_hash, ngram_hashes, split_partial_token
from codekin.completion.ranking import rank_guesses
from codekin.completion.variants import continue_series
from codekin.errors import UsageError

HANDLER = """defmodule App.{name}Controller do
  use App, :controller

  def show(conn, %{{"id" => id}}) do
    {word} = Repo.get!({name}, id)
    render(conn, "show.html", {word}: {word})
  end

  def delete(conn, %{{"id" => id}}) do
    {word} = Repo.get!({name}, id)
    Repo.delete!({word})
    redirect(conn, to: "/{word}s")
  end
end
"""
NAMES = ("User", "Account", "Invoice", "Order")


def handler(name: str) -> str:
    return HANDLER.format(name=name, word=name.lower())


@pytest.fixture(scope="module")
def corpus():
    return build_corpus([(f"lib/{name.lower()}_controller.ex", handler(name)) for name in NAMES])


def best(corpus, source: str, path: str = "lib/ticket_controller.ex") -> str:
    prefix, _, suffix = source.partition("│")
    found = rank_guesses(corpus, CursorPosition(path, "elixir", prefix, suffix))
    return found[0].text if found else ""


def test_an_idiom_of_the_codebase_comes_back(corpus):
    """An idiom of the codebase is suggested."""
    source = "defmodule App.TicketController do\n  │\nend\n"
    assert best(corpus, source) == "use App, :controller"


def test_names_are_adapted_to_the_scope(corpus):
    """Names in a suggestion are adapted to the scope."""
    written = handler("Ticket")
    at = written.index("    Repo.delete!")
    source = written[:at] + "    │" + written[written.index("\n", at) :]
    assert best(corpus, source) == "Repo.delete!(ticket)"


SERIES = [
    ("int a1_;\n  int a2_;\n  │\n", "int a3_;"),
    ("case 3: return three;\n  │\n  case 5: return five;\n", "case 4: return three;"),
    ("TEST(Plus, Takes08) {\n  }\n  TEST(Plus, Takes│\n", "09) {"),
    ("f(x, 1, 11);\n  f(x, 2, │\n", "12);"),
    ("│\n", None),
]


@pytest.mark.parametrize(("source", "expected"), SERIES)
def test_a_series_is_counted_on(source, expected):
    """A numbered series of lines is continued."""
    prefix, _, suffix = f"class A {{\n  {source}".partition("│")
    corpus = build_corpus(())
    context = read_context(corpus.vocabulary, CursorPosition("a.cc", "cpp", prefix, suffix))
    found = [corpus.vocabulary.join(line)[len(context.typed) :] for line in continue_series(corpus.vocabulary, context)]
    assert (expected in found) if expected else not found


def test_the_edited_file_counts_as_it_is_in_the_editor(corpus):
    """The edited file counts as it is in the editor, not on the disk."""
    secret = corpus.with_file("lib/secret.ex", "defmodule S do\n  unheard_of(:line, 17)\n  other(1)\nend\n")
    inside = "defmodule S do\n  │\n  other(1)\nend\n"
    assert "unheard_of(:line, 17)" in best(secret, inside, "lib/elsewhere.ex")
    assert "unheard_of" not in best(secret, inside, "lib/secret.ex")


def test_words_that_other_windows_type_meanwhile_break_no_answer(corpus, monkeypatch):
    """The vocabulary grows while lines are ranked, whichever of its tokens were counted before."""
    words_in = features._words_in

    def count_and_grow(vocabulary, parts):
        found = words_in(vocabulary, parts)
        vocabulary.number(f"word{len(vocabulary)}")
        return found

    monkeypatch.setattr(features, "_words_in", count_and_grow)
    source = "defmodule App.TicketController do\n  │\nend\n"
    assert best(corpus, source) == "use App, :controller"


def test_counts_after_changes_equal_those_of_a_fresh_build(corpus):
    """Counts after edits equal those of a fresh build."""
    changed = corpus.with_file("lib/user_controller.ex", handler("Person")).with_file("lib/order_controller.ex", None)
    fresh = build_corpus(
        [("lib/user_controller.ex", handler("Person"))]
        + [(f"lib/{name.lower()}_controller.ex", handler(name)) for name in ("Account", "Invoice")]
    )
    for text in (" Repo", ".get!(", "person", "Order"):
        for length in (1, 2):
            counts = []
            for one in (changed, fresh):
                tokens, _ = one.vocabulary.encode(text)
                if len(tokens) >= length:
                    key = ngram_hashes(tokens, length)[length - 1][-1:]
                    counts.append(float(one.counts(length, key)[0]))
            assert len(set(counts)) <= 1


def test_one_run_has_the_same_hash_alone_and_in_a_row():
    """An n-gram has the same hash alone and in a row."""
    tokens = np.array([5, 900, 12, 7, 7, 1 << 20], np.uint32)
    for length in range(1, 7):
        assert ngram_hash(tokens[-length:]) == ngram_hashes(tokens, length)[length - 1][-1]


def test_tokens_joined_are_the_line_again(corpus):
    """The tokens of a line, joined, are the line."""
    for line in handler("User").splitlines():
        tokens, _ = corpus.vocabulary.encode(line.strip())
        assert corpus.vocabulary.join(tokens.tolist()) == line.strip()


@pytest.mark.parametrize(
    ("prefix", "split"),
    [
        ("a\n  ", ("a\n  ", "")),
        ("a\n  foo", ("a\n  ", "foo")),
        ("x = ", ("x =", " ")),
        ("x = fo", ("x =", " fo")),
        ("f(", ("f(", "")),
        ("valid?", ("", "valid?")),
    ],
)
def test_what_is_being_typed(prefix, split):
    """The typed prefix is split off, neither repeated nor lost."""
    assert split_partial_token(prefix) == split


def test_completions_go_on_with_what_is_typed(corpus):
    """A completion continues the half-typed name."""
    written = handler("Ticket")
    prefix = written[: written.index("Repo.get!") + len("Repo.g")]
    found = rank_guesses(corpus, CursorPosition("lib/ticket_controller.ex", "elixir", prefix, "\n  end\nend\n"))
    assert found[0].text.startswith("et!(")


@pytest.mark.parametrize(
    ("prefix", "suffix"),
    [
        ("", ""),
        ("\n\n", "\n"),
        ("x" * 1_000_000, ""),
        ("\f\u2028\0", "\u0085"),
        ("a\n" * 50_000 + "  ", ""),
        ("\ud800", "\n\ud800"),
    ],
)
def test_strange_documents_are_survived(corpus, prefix, suffix):
    """Long lines and strange characters are completed without an error."""
    rank_guesses(corpus, CursorPosition("a.ex", "elixir", prefix, suffix))
    assert read_context(corpus.vocabulary, CursorPosition("a.ex", "elixir", prefix, suffix)).line_start >= 0


def test_a_stored_corpus_answers_as_before(corpus, tmp_path):
    """A stored corpus answers as before."""
    save_corpus(corpus, {"a": "1"}, tmp_path / "corpus")
    stored = load_corpus(tmp_path / "corpus")
    source = "defmodule App.TicketController do\n  │\nend\n"
    assert best(stored.corpus, source) == best(corpus, source)
    assert stored.hashes == {"a": "1"}


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_store_counts_as_absent(corpus, tmp_path, damage):
    """A damaged corpus file counts as absent."""
    folder = tmp_path / "corpus"
    save_corpus(corpus, {}, folder)
    file = folder / "run2.positions.npy"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    {"flip": lambda: file.write_bytes(content), "cut": lambda: file.write_bytes(content[:-9]), "gone": file.unlink}[
        damage
    ]()
    assert load_corpus(folder) is None


def test_figures_of_an_evaluation(corpus):
    """The summary counts the rows, the exact lines and their similarity; a row without a truth is refused."""
    written = handler("Ticket")
    at = written.index("use App")
    rows = [
        {"id": "1", "language": "elixir", "path": "lib/ticket_controller.ex", "kind": "line"}
        | {"prefix": written[:at], "suffix": written[at + len("use App, :controller") :], "truth": truth}
        for truth in ("use App, :controller", "never said")
    ]
    found = summarize_cases(evaluate_completion(validate_rows(rows), repository_completer(corpus)), threshold=0.0)
    assert (found["all"]["n"], found["elixir/line"]["exact"]) == (2, 0.5)
    assert 0.5 < found["all"]["similarity"] < 1
    with pytest.raises(UsageError, match=r"Row 1 .*truth"):
        validate_rows([{**rows[0], "truth": None}])


SECRET = "defmodule S do\n  unheard_of(:line, 17)\n  other(1)\nend\n"


@pytest.mark.parametrize(
    "path", ["lib/secret.ex", "./lib/secret.ex", "/checkouts/app/lib/secret.ex", "secret.ex", "app\\lib\\secret.ex"]
)
def test_no_row_sees_its_own_file_however_its_path_is_written(path):
    """However a row writes its path, its own file is excluded from the corpus."""
    texts = {"lib/secret.ex": SECRET, **{f"lib/{name}.ex": handler(name) for name in NAMES}}
    row = {"language": "elixir", "path": path, "kind": "line", "truth": "unheard_of(:line, 17)"}
    row |= {"prefix": "defmodule S do\n  ", "suffix": "\n  other(1)\nend\n"}
    (found,) = match_row_paths([row], texts)
    assert found["path"] == "lib/secret.ex"
    assert all("unheard_of" not in guess.text for guess in rank_guesses(build_corpus(texts.items()), row_cursor(found)))


def test_of_files_with_one_name_a_row_means_the_one_that_it_was_cut_from():
    """Among files of one name, the row's own is the one that holds its prefix and suffix."""
    texts = {"a/mix.exs": handler("User"), "b/mix.exs": SECRET}
    row = {"path": "mix.exs", "prefix": "defmodule S do\n  ", "suffix": "\n  other(1)\nend\n"}
    assert match_row_paths([row], texts)[0]["path"] == "b/mix.exs"
    assert match_row_paths([{**row, "path": "c/none.exs"}], texts)[0]["path"] == "c/none.exs"
