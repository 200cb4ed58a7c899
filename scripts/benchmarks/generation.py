"""A real small generator beside the repository: how much drafts help, and what a further key costs.

    python scripts/benchmarks/generation.py drafting|keystroke [--repository DIR] [--quick] [--json]

SmolLM2-135M in 8 bits, on places in the files of a checkout (this repository's own where none is named). Both sides
of a ratio run in turns, in one process. Text is compared token by token in float32.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import public_models
import torch
from figures import Figure, show

from codekin.completion.context import CursorPosition
from codekin.completion.corpus_snapshot import Corpus, build_corpus
from codekin.completion.evaluation import read_sources
from codekin.completion.generation import (
    GenerationCache,
    GenerationConfig,
    HybridModel,
    build_prompt,
    generated_guesses,
    run_to_end,
)
from codekin.completion.prompt import find_snippets
from codekin.completion.suggestions import repository_draft
from codekin.models.generation.generator import LocalGenerator
from codekin.models.loading import LoadOptions, load_generator
from codekin.parsing import detect_language
from codekin.protocols import DraftFunction, Sampling

OWN = Path(__file__).parents[2] / "server"
TOKENS, TURNS = 48, 3
PLACES, QUICK_PLACES = 8, 3
PROMPT, KEYED_PROMPT = 512, 1536
"""Ids of a prompt; for the cost of keys a long one, as editors make them."""

LEAST_BEFORE = 1_500
"""Characters before a place, so that there is a file to speak of."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("--repository", type=Path, default=OWN)
    parser.add_argument("--quick", action="store_true", help="fewer places")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    show(MEASURES[options.what](options.repository, options.quick), as_json=options.json)


@dataclass(frozen=True)
class BenchmarkPosition:
    """A gap at the start of a line, and how the line goes on."""

    cursor: CursorPosition
    line: str


def positions_in(texts: Mapping[str, str], count: int, seed: int = 7) -> list[BenchmarkPosition]:
    """Starts of code lines all over the files, each in a file of its own."""
    chance = random.Random(seed)
    paths = sorted(path for path, text in texts.items() if len(text) > 2 * LEAST_BEFORE)
    chance.shuffle(paths)
    return [_position(path, texts[path], chance) for path in paths[:count]]


def _position(path: str, text: str, chance: random.Random) -> BenchmarkPosition:
    start = text.find("\n", chance.randrange(LEAST_BEFORE, len(text) - LEAST_BEFORE // 2)) + 1
    while len(text[start:].partition("\n")[0].strip()) < 12:
        start = text.find("\n", start) + 1
        if not start:
            return BenchmarkPosition(CursorPosition(path, detect_language(path, text) or "", text, ""), "")
    line = text[start:].partition("\n")[0]
    indented = start + len(line) - len(line.lstrip())
    cursor = CursorPosition(path, detect_language(path, text) or "", text[:indented], text[start + len(line) :])
    return BenchmarkPosition(cursor, line.lstrip())


def drafting(root: Path, quick: bool) -> list[Figure]:
    """Tokens a second with drafts beside plain greedy decoding, where there is similar code and where there is none."""
    texts = dict(read_sources(root))
    corpus, generator = build_corpus(texts.items()), load_generator(str(public_models.smollm2()), LoadOptions())
    found = positions_in(texts, QUICK_PLACES if quick else PLACES)
    similar = [place for place in found if find_snippets(corpus, place.cursor)]
    ratios = [_speed(generator, corpus, place.cursor, _repository_draft) for place in similar]
    empty = [_speed(generator, build_corpus(()), place.cursor, _repository_draft) for place in found]
    wrong = [_speed(generator, corpus, place.cursor, lambda *_: lambda _: [0, 0, 0]) for place in found[:QUICK_PLACES]]
    least = min(plain / drafted for plain, drafted in [*ratios, *empty, *wrong])
    return [
        Figure(
            "drafted / plain greedy decoding, with similar code",
            _mean_ratio(ratios),
            "x",
            at_least=1.9,
            beside=_spread(ratios),
        ),
        Figure("the same without a repository", _mean_ratio(empty), "x", at_least=0.95, beside=_spread(empty)),
        Figure("drafts that are always wrong / plain", _mean_ratio(wrong), "x", at_least=0.95, beside=_spread(wrong)),
        Figure("the least of all these places", least, "x", at_least=0.95),
        Figure("texts that differ in float32", _differing(corpus, found[:QUICK_PLACES]), at_most=0),
    ]


def _repository_draft(corpus: Corpus, cursor: CursorPosition, generator: LocalGenerator, length: int) -> DraftFunction:
    return repository_draft(corpus, cursor, generator.vocabulary, length)


def _speed(
    generator: LocalGenerator,
    corpus: Corpus,
    cursor: CursorPosition,
    draft_of: Callable[[Corpus, CursorPosition, LocalGenerator, int], DraftFunction],
) -> tuple[float, float]:
    """Processor seconds of plain and of drafted decoding of the same prompt, read before; the better of a few turns."""
    generator.model = replace(generator.model, stop_ids=(), end_id=None)
    ids = build_prompt(HybridModel(generator, corpus, GenerationConfig(prompt_tokens=PROMPT)), cursor).ids
    draft = draft_of(corpus, cursor, generator, len(ids))
    generator.generate(ids, Sampling(max_tokens=1))
    plain, drafted = [], []
    for _ in range(TURNS):
        plain.append(_busy(lambda: generator.generate(ids, Sampling(max_tokens=TOKENS))))
        drafted.append(_busy(lambda: generator.generate(ids, Sampling(max_tokens=TOKENS), draft)))
    return min(plain), min(drafted)


def _differing(corpus: Corpus, found: list[BenchmarkPosition]) -> int:
    generator = load_generator(str(public_models.smollm2()), LoadOptions(dtype="float32"))
    count = 0
    for place in found:
        ids = build_prompt(HybridModel(generator, corpus, GenerationConfig(prompt_tokens=PROMPT)), place.cursor).ids
        draft = _repository_draft(corpus, place.cursor, generator, len(ids))
        plain, drafted = (generator.generate(ids, Sampling(max_tokens=TOKENS), each).tokens for each in (None, draft))
        count += plain != drafted
    return count


def keystroke(root: Path, quick: bool) -> list[Figure]:
    """What a request costs that adds one character to the last, beside a first one, all that belongs to it counted."""
    texts = dict(read_sources(root))
    corpus, generator = build_corpus(texts.items()), load_generator(str(public_models.smollm2()), LoadOptions())
    first, further = [], []
    for place in positions_in(texts, QUICK_PLACES if quick else PLACES):
        generator.clear_caches()
        hybrid = HybridModel(
            generator, corpus, GenerationConfig(prompt_tokens=KEYED_PROMPT, generation_cache=GenerationCache())
        )
        first.append(_timed(lambda: run_to_end(generated_guesses(hybrid, place.cursor, 5))))  # noqa: B023 - called at once
        for typed in range(1, min(9, len(place.line))):
            cursor = replace(place.cursor, prefix=place.cursor.prefix + place.line[:typed])
            further.append(_timed(lambda: run_to_end(generated_guesses(hybrid, cursor, 5))))  # noqa: B023
    ratio = statistics.mean(further) / statistics.mean(first)
    beside = f"first {statistics.mean(first) * 1000:.0f} ms, then {statistics.mean(further) * 1000:.0f} ms"
    return [Figure("a further key / the first request", ratio, "x", at_most=1 / 8, beside=beside)]


def _mean_ratio(pairs: list[tuple[float, float]]) -> float:
    return sum(plain for plain, _ in pairs) / max(1e-9, sum(drafted for _, drafted in pairs))


def _spread(pairs: list[tuple[float, float]]) -> str:
    ratios = sorted(plain / drafted for plain, drafted in pairs)
    return f"{len(ratios)} places, from {ratios[0]:.2f} to {ratios[-1]:.2f}" if ratios else "no places"


def _busy(call: Callable[[], object]) -> float:
    """The processor's seconds: what else runs on the machine counts less than on the clock."""
    begun = time.process_time()
    call()
    return time.process_time() - begun


def _timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


MEASURES: Mapping[str, Callable[[Path, bool], list[Figure]]] = {"drafting": drafting, "keystroke": keystroke}

if __name__ == "__main__":
    main()
