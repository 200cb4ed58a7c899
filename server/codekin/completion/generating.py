"""A generator and the repository together: the repository proposes, drafts and lends its kin; the generator weighs.

Where the repository is sure, it answers alone. Else the generator scores its guesses, writes one of its own, and the
best by both wins. It knows generators by their face alone, never their tensors.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codekin.completion.corpus import Corpus
from codekin.completion.drafting import repository_draft
from codekin.completion.gap import Gap
from codekin.completion.repository import Guess, guesses
from codekin.completion.snippets import commented, snippets_for

if TYPE_CHECKING:
    from codekin.models.generation import Generator

SURE, SURE_BY_TRUST = 0.3, 0.4
"""Confidence from which the repository answers without the generator; more where the generator is trusted."""

SCORED = 5
GENERATOR_WEIGHT = 0.25
"""The power of the generator's mean chance of a token beside the repository's chance of the line."""

LEAST_TRUST, MOST_TRUST = 0.05, 0.9
SMALLEST, TRUST_BY_SIZE = 1.35e8, 0.43
"""Trust grows by so much for each factor of ten in parameters; measured for the smallest alone."""


@dataclass(frozen=True, slots=True)
class Generation:
    """How a generator is used: the prompt's and the answer's most tokens, and which helpers it gets."""

    prompt_tokens: int = 1024
    max_tokens: int = 48
    has_snippets: bool = True
    has_guesses: bool = True
    has_drafts: bool = True


@dataclass(frozen=True, slots=True)
class Prompt:
    """Ids to continue, and the blank before the cursor that the continuation begins with."""

    ids: list[int]
    blank: str = ""


def generated_guesses(
    generator: "Generator", corpus: Corpus, gap: Gap, generation: Generation, limit: int
) -> Iterator[list[Guess]]:
    """The rests of the line by both, best first; yields often, so that it can be withdrawn, the last value counts."""
    found = guesses(corpus, gap, limit=max(limit, SCORED)) if generation.has_guesses else []
    yield found
    if found and found[0].confidence >= SURE + SURE_BY_TRUST * trust_in(generator):
        return
    prompt = prompt_for(generator, corpus, gap, generation)
    own = ""
    for line in _own_line(generator, corpus, gap, prompt, generation):
        own = line
        yield found
    texts = list(dict.fromkeys([*(guess.text for guess in found), *([own] if own.strip() else [])]))
    for scores in _scores(generator, prompt, texts):
        yield found
        known = scores
    if texts:
        yield _weighed(found, texts, known, trust_in(generator))[:limit]


def prompt_for(generator: "Generator", corpus: Corpus, gap: Gap, generation: Generation) -> Prompt:
    """The ids of a prompt: kin as comments, the code before the cursor, and where the model infills that behind it."""
    kin = commented(gap.language, snippets_for(corpus, gap)) if generation.has_snippets else ""
    if generator.model.infill:
        return Prompt(generator.infill(kin + gap.prefix, gap.suffix, generation.prompt_tokens))
    # A blank belongs to the word behind it: left at the prompt's end it would make an unlikely token.
    settled = gap.prefix.removesuffix(" ")
    head = generator.prompt(kin) if kin else []
    tail = generator.vocabulary.encode(settled)[-max(64, generation.prompt_tokens - len(head)) :]
    return Prompt([*head, *tail] or generator.prompt(""), gap.prefix[len(settled) :])


def trust_in(generator: "Generator") -> float:
    """The part of the chance that no guess is right which the generator's own line gets."""
    parameters = generator.model.parameters or generator.device_bytes / 2
    grown = LEAST_TRUST + TRUST_BY_SIZE * math.log10(max(parameters, SMALLEST) / SMALLEST)
    return min(grown, MOST_TRUST)


def _own_line(
    generator: "Generator", corpus: Corpus, gap: Gap, prompt: Prompt, generation: Generation
) -> Iterator[str]:
    """The generator's own rest of the line, last."""
    from codekin.models.sampling import Sampling  # noqa: PLC0415 - brings torch, which a generator has loaded

    draft = repository_draft(corpus, gap, generator.vocabulary, len(prompt.ids)) if generation.has_drafts else None
    sampling = Sampling(max_tokens=generation.max_tokens, stop=("\n",))
    text = ""
    for step in generator.steps(prompt.ids, sampling, draft):
        text = step.text  # the last one holds the whole
        yield ""
    yield text.removeprefix(prompt.blank) if text.startswith(prompt.blank) else text.lstrip(" \t")


def _scores(generator: "Generator", prompt: Prompt, texts: list[str]) -> Iterator[list[float]]:
    """The mean log-probability of a token of each text, as the whole rest of the line."""
    from codekin.models.scoring import log_probabilities  # noqa: PLC0415 - brings torch

    lines = [generator.vocabulary.encode_inside(f"{prompt.blank}{text}\n") for text in texts]
    for scores in log_probabilities(generator, prompt.ids, lines):
        yield [sum(tokens) / max(1, len(tokens)) for tokens in scores]


def _weighed(found: list[Guess], texts: list[str], scores: list[float], trust: float) -> list[Guess]:
    """The texts by the product of the repository's chance and a power of the generator's, as chances anew."""
    chances = {guess.text: guess.confidence for guess in found}
    nothing = max(0.02, 1 - sum(chances.values()))
    worth = [
        math.log(max(chances.get(text, trust * nothing), 1e-4)) + GENERATOR_WEIGHT * score
        for text, score in zip(texts, scores, strict=True)
    ]
    best = max(worth)
    shares = [math.exp(one - best) for one in worth]
    held = sum(shares) + nothing
    ranked = sorted(zip(texts, shares, strict=True), key=lambda pair: -pair[1])
    return [Guess(text, share / held) for text, share in ranked]
