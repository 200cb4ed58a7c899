"""Drafts from the repository: what a generator writes stays the same, and what stood before is foreseen."""

import sys
from pathlib import Path

import pytest
import torch

from codekin.completion.corpus import corpus_of
from codekin.completion.drafting import repository_draft
from codekin.completion.gap import Gap
from codekin.completion.generating import Generation, Writers, answers, prompt_of
from codekin.completion.snippets import commented, snippets_for
from codekin.completion.suggest import Wish
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
