"""Drafts from the repository: what a generator writes stays the same, and what stood before is foreseen."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codekin.completion.context import CursorPosition
from codekin.completion.corpus_snapshot import build_corpus
from codekin.completion.generation import (
    GenerationCache,
    GenerationConfig,
    HybridModel,
    build_prompt,
    complete_with_generator,
    generated_guesses,
    run_to_end,
    score_candidates,
)
from codekin.completion.prompt import as_comments, find_definitions, find_snippets
from codekin.completion.ranking import (
    Guess,
    ScoredLine,
    WrittenLine,
    add_written_line,
    read_written_line,
    rerank,
    written_confidence,
)
from codekin.completion.suggestions import CompletionOptions, repository_draft
from codekin.models.loading import LoadOptions, load_generator
from codekin.protocols import Sampling, TokenChoice

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

import tiny_checkpoints

# The model of these tests is too small for more.
torch.set_num_threads(1)

TEXT = """defmodule App.{name} do
  def fetch(cache, key) do
    case Map.get(cache, key) do
      nil -> {{:error, :{word}_missing}}
      value -> {{:ok, decode_{word}(value)}}
    end
  end
end
"""


@pytest.fixture(scope="module")
def corpus():
    return build_corpus([(f"lib/{name}.ex", TEXT.format(name=name.title(), word=name)) for name in ("user", "order")])


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    folder = tiny_checkpoints.generator(tmp_path_factory.mktemp("models") / "tiny", "llama")
    return load_generator(str(folder), LoadOptions(dtype="float32"))


def cursor_in(source: str) -> CursorPosition:
    prefix, _, suffix = source.partition("│")
    return CursorPosition("lib/ticket.ex", "elixir", prefix, suffix)


class Letters:
    """A vocabulary of single characters."""

    def encode_continuation(self, text):
        return [ord(letter) for letter in text]

    def decode(self, ids):
        return "".join(map(chr, ids))


def test_a_draft_foresees_what_stood_before(corpus):
    """A draft continues with what followed the same text before."""
    cursor = cursor_in("defmodule App.Ticket do\n  def fetch(cache, key) do\n    │")
    draft = repository_draft(corpus, cursor, Letters(), 1)
    written = "case Map"
    foreseen = Letters().decode(draft([0, *map(ord, written)]))
    assert foreseen.startswith(".get(cache, key) do\n      nil")


def test_drafted_text_equals_plain_text(corpus, generator):
    """Drafting does not change the generated text."""
    cursor = cursor_in("defmodule App.Ticket do\n  def fetch(cache, key) do\n    │\n  end\nend\n")
    prompt = build_prompt(HybridModel(generator, corpus, GenerationConfig(has_snippets=False)), cursor)
    draft = repository_draft(corpus, cursor, generator.vocabulary, len(prompt.ids), len(prompt.begins))
    sampling = Sampling(max_tokens=40)
    plain = generator.generate(prompt.ids, sampling).tokens
    assert generator.generate(prompt.ids, sampling, draft).tokens == plain


def test_generator_and_repository_answer_together(corpus, generator):
    """The generator's and the repository's guesses are ranked together."""
    cursor = cursor_in("defmodule App.Ticket do\n  def fetch(cache, key) do\n    │\n  end\nend\n")
    last = list(
        complete_with_generator(
            HybridModel(generator, corpus, GenerationConfig(max_tokens=8)), cursor, CompletionOptions(3)
        )
    )[-1]
    assert last
    assert all("\n" not in guess.text for guess in last)
    assert 0 < sum(guess.confidence for guess in last) <= 1


def test_snippets_come_from_other_files(corpus):
    """Snippets are similar code of other files."""
    cursor = cursor_in("defmodule App.Ticket do\n  def fetch(cache, key) do\n    │\n  end\nend\n")
    found = find_snippets(corpus, cursor)
    assert {snippet.path for snippet in found} <= {"lib/user.ex", "lib/order.ex"}
    lines = as_comments("elixir", found).splitlines()
    assert all(line.startswith("#") for line in lines)
    assert find_snippets(build_corpus(()), cursor) == []


def test_a_sure_generator_wins_over_an_unsure_repository():
    """A confident generator wins over an unsure repository."""
    unsure = ScoredLine("guess()", 0.05, False, [-4.0, -5.0, -6.0], [-1.0])
    sure = ScoredLine("own()", 0.0, True, [-0.05, -0.05, -0.05], [-1.0])
    assert [guess.text for guess in rerank([unsure, sure], trust=0.0)] == ["own()", "guess()"]


def test_a_sure_repository_wins_over_an_unsure_generator():
    """A confident repository wins over an unsure generator."""
    known = ScoredLine("assert_issue()", 0.7, False, [-2.0, -1.0, -0.5], [-1.0])
    other = ScoredLine("assert(true)", 0.0, True, [-1.5, -1.5, -1.0], [-1.0])
    assert rerank([known, other], trust=0.0)[0].text == "assert_issue()"


def test_a_larger_generator_is_believed_more():
    """A larger generator has more weight."""
    known = ScoredLine("fetch(id)", 0.75, False, [-2.5, -1.5, -0.5], [-1.0])
    other = ScoredLine("find(id)", 0.0, True, [-0.3, -0.3, -0.3], [-1.5])
    by_trust = [rerank([known, other], trust) for trust in (0.0, 0.68)]
    assert [found[0].text for found in by_trust] == ["fetch(id)", "find(id)"]
    assert all(0 < sum(guess.confidence for guess in found) <= 1 for found in by_trust)


def test_a_prompt_stays_as_it_is_while_a_word_is_typed(corpus, generator):
    """The prompt is unchanged while a word is typed."""
    source = "defmodule App.Ticket do\n  def fetch(cache, key) do\n    case Map"
    writers = HybridModel(generator, corpus)
    prompts = [
        build_prompt(writers, CursorPosition("lib/ticket.ex", "elixir", source[:-keys] if keys else source, "\nend\n"))
        for keys in (2, 1, 0)
    ]
    assert len({tuple(prompt.ids) for prompt in prompts}) == 1
    assert [prompt.begins for prompt in prompts] == [" M", " Ma", " Map"]


def test_definitions_of_names_in_use_are_found(corpus):
    """The prompt has the definitions of the names in use."""
    users = corpus.with_file("lib/other.ex", None)
    found = find_definitions(
        users, cursor_in("defmodule App.Ticket do\n  def show(conn) do\n    fetch(│\n  end\nend\n")
    )
    assert {snippet.text for snippet in found} == {"def fetch(cache, key) do"}


def test_typing_along_does_not_call_the_generator(corpus, generator, monkeypatch):
    """Typing along a suggestion does not call the generator."""
    generation_cache = GenerationCache()
    writers = HybridModel(generator, corpus, GenerationConfig(generation_cache=generation_cache))
    cursor = cursor_in("defmodule App.Ticket do\n  def fetch(cache, key) do\n    │\n  end\nend\n")
    prompt, own = build_prompt(writers, cursor), "Map.get(cache, key)"
    line = generator.vocabulary.encode_continuation(f"{prompt.begins}{own}\n  end")
    generation_cache.record_line(prompt, WrittenLine(own))
    generation_cache.record_scores(prompt, line, [-float(at) for at in range(len(line))])
    monkeypatch.setattr(type(generator.decoder), "forward", None)
    for typed in ("M", "Map", "Map.ge", "Map.get(ca"):
        further = run_to_end(score_candidates(writers, replace(cursor, prefix=cursor.prefix + typed), []))
        assert [(one.text, one.is_generated) for one in further] == [(own.removeprefix(typed), True)]
        assert [*further[0].line, *further[0].following][-1] == 1.0 - len(line)


def choices_of(*pairs):
    return [TokenChoice(0, text, logprob) for text, logprob in pairs]


def test_a_written_line_carries_the_chances_of_its_tokens():
    """Tokens up to the end of the line count, those behind it do not; no text comes of what was typed."""
    choices = choices_of((" Ma", -2.0), ("p", -0.5), (".new", -0.25), ("()\n", -0.125), ("end", -9.0))
    line = read_written_line(" Map.new()", choices, begins=" Ma")
    assert line.text == "p.new()"
    assert [logprob for _, logprob in line.tokens] == [-0.5, -0.25, -0.125]
    assert line.rest(5) == WrittenLine("()", ((3, -0.125),))
    assert read_written_line("a\nb", []).tokens == ()


def test_a_token_that_goes_on_from_what_was_typed_is_weighed_among_its_like():
    """Half of the probability of all tokens that begin so is half, however unlikely the beginning was."""
    rivals = ((" Map", -5.0), (" Match", -5.0), (" Enum", -0.02))
    line = read_written_line(" Map", [TokenChoice(0, " Map", -5.0, rivals)], begins=" Ma")
    assert line.text == "p"
    assert line.tokens[0][1] == pytest.approx(-0.6931, abs=1e-3)


def test_sure_lines_come_before_unsure_ones():
    """A written line is ranked by its tokens' chances, and one that the repository has too rises."""
    found = [Guess("close()", 0.5), Guess("open()", 0.2)]
    sure, unsure = WrittenLine("read()", ((6, -0.05),)), WrittenLine("read()", ((6, -4.0),))
    assert add_written_line(found, sure)[0].text == "read()"
    assert add_written_line(found, unsure)[0].text == "close()"
    both = {guess.text: guess.confidence for guess in add_written_line(found, WrittenLine("open()", ((6, -1.0),)))}
    assert both["open()"] > 0.2
    assert 0 < written_confidence(WrittenLine("x"), 0.0) < written_confidence(WrittenLine("x"), 0.9) < 1


def test_a_gguf_file_completes(corpus, tmp_path, monkeypatch):
    """Its line competes with the repository's guesses; typing along calls it no more and makes it surer."""
    pytest.importorskip("xllamacpp")
    file = tiny_checkpoints.gguf_generator(tmp_path / "tiny")
    generator = load_generator(str(file), LoadOptions(threads=1))
    cache = GenerationCache()
    settings = GenerationConfig(generation_cache=cache, has_guesses=False, prompt_tokens=128, max_tokens=8)
    cursor = cursor_in("defmodule App.Ticket do\n  def fetch(cache, key) do\n    │\n  end\nend\n")
    hybrid = HybridModel(generator, corpus, settings)
    assert all(0 <= guess.confidence <= 1 for guess in run_to_end(generated_guesses(hybrid, cursor, 3)))
    cache.record_line(build_prompt(hybrid, cursor), WrittenLine("Map.get()", ((3, -1.0), (7, -0.5), (9, -0.1))))
    monkeypatch.setattr(type(generator), "steps", None)
    chances = []
    for typed in ("M", "Map", "Map.get"):
        (guess,) = run_to_end(generated_guesses(hybrid, replace(cursor, prefix=cursor.prefix + typed), 3))
        assert typed + guess.text == "Map.get()"
        chances.append(guess.confidence)
    assert chances == sorted(set(chances))
