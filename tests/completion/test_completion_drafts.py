"""Drafts from the repository: what a generator writes stays the same, and what stood before is foreseen."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codekin.completion.corpus import corpus_of
from codekin.completion.definitions import definitions_for
from codekin.completion.drafting import repository_draft
from codekin.completion.gap import Gap
from codekin.completion.generating import Generation, Writers, answers, considered, finished, prompt_of
from codekin.completion.lately import Lately
from codekin.completion.snippets import commented, snippets_for
from codekin.completion.suggest import Wish
from codekin.completion.weighing import Weighed, weighed
from codekin.models import load_generator
from codekin.models.loading import Options
from codekin.models.sampling import Sampling

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
    return corpus_of([(f"lib/{name}.ex", TEXT.format(name=name.title(), word=name)) for name in ("user", "order")])


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    folder = tiny_checkpoints.generator(tmp_path_factory.mktemp("models") / "tiny", "llama")
    return load_generator(str(folder), Options(dtype="float32"))


def gap_in(source: str) -> Gap:
    prefix, _, suffix = source.partition("│")
    return Gap("lib/ticket.ex", "elixir", prefix, suffix)


class Letters:
    """A vocabulary of single characters."""

    def encode_inside(self, text):
        return [ord(letter) for letter in text]

    def decode(self, ids):
        return "".join(map(chr, ids))


def test_a_draft_foresees_what_stood_before(corpus):
    """Drafts would always fail, and cost time."""
    gap = gap_in("defmodule App.Ticket do\n  def fetch(cache, key) do\n    │")
    draft = repository_draft(corpus, gap, Letters(), 1)
    written = "case Map"
    foreseen = Letters().decode(draft([0, *map(ord, written)]))
    assert foreseen.startswith(".get(cache, key) do\n      nil")


def test_drafted_text_equals_plain_text(corpus, generator):
    """Drafting would change what the model says."""
    gap = gap_in("defmodule App.Ticket do\n  def fetch(cache, key) do\n    │\n  end\nend\n")
    prompt = prompt_of(Writers(generator, corpus, Generation(has_snippets=False)), gap)
    draft = repository_draft(corpus, gap, generator.vocabulary, len(prompt.ids), len(prompt.begins))
    sampling = Sampling(max_tokens=40)
    plain = generator.generate(prompt.ids, sampling).tokens
    assert generator.generate(prompt.ids, sampling, draft).tokens == plain


def test_generator_and_repository_answer_together(corpus, generator):
    """With a model loaded there would be no completion at all."""
    gap = gap_in("defmodule App.Ticket do\n  def fetch(cache, key) do\n    │\n  end\nend\n")
    last = list(answers(Writers(generator, corpus, Generation(max_tokens=8)), gap, Wish(3)))[-1]
    assert last
    assert all("\n" not in guess.text for guess in last)
    assert 0 < sum(guess.confidence for guess in last) <= 1


def test_snippets_are_kin_from_other_files(corpus):
    """The prompt would be filled with strangers, or with the file at hand."""
    gap = gap_in("defmodule App.Ticket do\n  def fetch(cache, key) do\n    │\n  end\nend\n")
    found = snippets_for(corpus, gap)
    assert {snippet.path for snippet in found} <= {"lib/user.ex", "lib/order.ex"}
    lines = commented("elixir", found).splitlines()
    assert all(line.startswith("#") for line in lines)
    assert snippets_for(corpus_of(()), gap) == []


def test_a_sure_generator_wins_over_an_unsure_repository():
    """The one of the two that knows less would decide."""
    unsure = Weighed("guess()", 0.05, False, [-4.0, -5.0, -6.0], [-1.0])
    sure = Weighed("own()", 0.0, True, [-0.05, -0.05, -0.05], [-1.0])
    assert [guess.text for guess in weighed([unsure, sure], trust=0.0)] == ["own()", "guess()"]


def test_a_sure_repository_wins_over_an_unsure_generator():
    """What this codebase always writes would give way to what a small model wrote elsewhere."""
    known = Weighed("assert_issue()", 0.7, False, [-2.0, -1.0, -0.5], [-1.0])
    other = Weighed("assert(true)", 0.0, True, [-1.5, -1.5, -1.0], [-1.0])
    assert weighed([known, other], trust=0.0)[0].text == "assert_issue()"


def test_a_larger_generator_is_believed_more():
    """A model fifty times as large would be held for as weak as the one that the weights are fitted with."""
    known = Weighed("fetch(id)", 0.75, False, [-2.5, -1.5, -0.5], [-1.0])
    other = Weighed("find(id)", 0.0, True, [-0.3, -0.3, -0.3], [-1.5])
    by_trust = [weighed([known, other], trust) for trust in (0.0, 0.68)]
    assert [found[0].text for found in by_trust] == ["fetch(id)", "find(id)"]
    assert all(0 < sum(guess.confidence for guess in found) <= 1 for found in by_trust)


def test_a_prompt_stays_as_it_is_while_a_word_is_typed(corpus, generator):
    """A generator would read the whole prompt again at each key."""
    source = "defmodule App.Ticket do\n  def fetch(cache, key) do\n    case Map"
    writers = Writers(generator, corpus)
    prompts = [
        prompt_of(writers, Gap("lib/ticket.ex", "elixir", source[:-keys] if keys else source, "\nend\n"))
        for keys in (2, 1, 0)
    ]
    assert len({tuple(prompt.ids) for prompt in prompts}) == 1
    assert [prompt.begins for prompt in prompts] == [" M", " Ma", " Map"]


def test_definitions_of_names_in_use_are_found(corpus):
    """The prompt would not say what the functions at hand take."""
    users = corpus.with_file("lib/other.ex", None)
    found = definitions_for(users, gap_in("defmodule App.Ticket do\n  def show(conn) do\n    fetch(│\n  end\nend\n"))
    assert {snippet.text for snippet in found} == {"def fetch(cache, key) do"}


def test_typing_along_asks_the_generator_nothing(corpus, generator, monkeypatch):
    """Every key would cost a generation, though the user writes what the generator wrote."""
    lately = Lately()
    writers = Writers(generator, corpus, Generation(lately=lately))
    gap = gap_in("defmodule App.Ticket do\n  def fetch(cache, key) do\n    │\n  end\nend\n")
    prompt, own = prompt_of(writers, gap), "Map.get(cache, key)"
    line = generator.vocabulary.encode_inside(f"{prompt.begins}{own}\n  end")
    lately.wrote(prompt, own)
    lately.weighed(prompt, line, [-float(at) for at in range(len(line))])
    monkeypatch.setattr(type(generator.decoder), "forward", None)
    for typed in ("M", "Map", "Map.ge", "Map.get(ca"):
        further = finished(considered(writers, replace(gap, prefix=gap.prefix + typed), []))
        assert [(one.text, one.is_own) for one in further] == [(own.removeprefix(typed), True)]
        assert [*further[0].line, *further[0].following][-1] == 1.0 - len(line)
