"""A made-up Elixir application that is large enough to learn from, and an embedder that has something to learn."""

import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codekin.parsing import cut_chunks
from codekin.storage import ChunkIndex, FileState
from fakes import FakeEmbedder

WORDS = tuple(
    first + second
    for first in ("bar", "cor", "del", "fen", "gal", "hos", "jun", "kel", "lim", "mor", "nav", "pol")
    for second in ("ado", "ent", "ica", "one", "ush", "ert", "ing", "olo", "ava", "ist", "umn", "eck")
)


@dataclass(frozen=True, slots=True)
class NoisyEmbedder(FakeEmbedder):
    """Words count, but a few directions hold noise that drowns them: what a head can learn to leave out."""

    space: str = "noisy-1"
    noise: float = 0.5

    def _embed(self, text: str) -> np.ndarray:
        words = FakeEmbedder._embed(self, " ".join(re.findall("[a-z]+", text)))
        seed = zlib.crc32(text.encode("utf-8", "replace"))
        words[:4] += self.noise * np.random.default_rng(seed).standard_normal(4).astype(np.float32)
        return (words / np.linalg.norm(words)).astype(np.float32)


def module(number: int) -> str:
    """A module of two functions with words of their own, and one that has the same role in every other module."""
    choose = np.random.default_rng(number)
    a, b, c, d, e, f, g, h = choose.choice(WORDS, 8, replace=False)
    functions = "\n".join(function(choose.choice(WORDS, 8, replace=False)) for _ in range(2))
    return f"""defmodule App.{a.title()}{number} do
  @behaviour App.Step

{functions}
  @impl true
  def run(%{{{b}: pending}} = state, options) do
    limit = Keyword.get(options, :{c}, 10)
    chosen = pending |> Enum.take(limit) |> Enum.map(&{d}_{e}/1)
    {f} = Map.get(state, :{g}, {h}())
    %{{state | {b}: chosen, {f}: {f}}}
  end
end
"""


def function(words: Sequence[str]) -> str:
    """A documented function out of eight words."""
    a, b, c, d, e, f, g, h = words
    return f"""  @doc "Takes {a} and {b} of a {c}, and gives the {d} by {e} with {f}."
  def {a}_{b}({c}, {d}) do
    {e} = {f}({c}, :{g})
    {h} = Map.put({e}, :{a}, {d})

    case {b}_{g}({h}) do
      {{:ok, {c}_{f}}} -> {c}_{f}
      :error -> raise "{a} has no {g}"
    end
  end
"""


def application(count: int = 80) -> dict[str, str]:
    """Texts by path."""
    return {f"lib/part{number}.ex": module(number) for number in range(count)}


def write_files(index: ChunkIndex, texts: Mapping[str, str], embedder: FakeEmbedder) -> None:
    """Puts files with their vectors into an index, as the indexer does."""
    index.ensure_space(embedder.space, embedder.name, embedder.dimensions)
    for path, text in texts.items():
        found, _ = cut_chunks(path, text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        state = FileState(len(text), 0, 0, digest, "elixir", "", False)
        vectors = dict(zip((f.digest for f in found), embedder.embed([f.text for f in found]), strict=True))
        index.replace_file(path, state, found, vectors, embedder.space)


def built_index(folder: Path, embedder: FakeEmbedder, texts: Mapping[str, str] | None = None) -> ChunkIndex:
    """A reader of a fresh index of the application."""
    with ChunkIndex.open(folder, write=True) as index:
        write_files(index, application() if texts is None else texts, embedder)
    return ChunkIndex.open(folder)


def no_progress(*_: object) -> None:
    """Nobody listens."""
