"""Decoding speed against `transformers.generate`, paired in one run: ratios of medians.

Usage: python scripts/benchmarks/decoding.py [--model smollm2|starcoder] [--tokens 48] [--prompt 512]
       [--rounds 3] [--threads 1] [--json]

Both sides generate the same number of tokens greedily from the same prompt; transformers in
bfloat16 (float32 where that is the faster one), ours in 8 bits, in 4 and without. The time of the
prefill is taken off both. `starcoder` is the true shape with random weights and four layers,
which is said in the output; SmolLM2 is real, so what 8 bits cost in agreement is measured too.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import public_models
import torch
import transformers

from codekin.models.generation.generator import LocalGenerator, generate_many
from codekin.models.linear import fastest_kernel
from codekin.models.loading import LoadOptions, load_generator
from codekin.protocols import Sampling

SHARED_PREFIX = 1500


@dataclass(frozen=True)
class Report:
    """Seconds a token and to the first token, and what follows from them; agreement is a share of tokens."""

    model: str
    dtype: str
    transformers_token: float
    int8_token: float
    plain_token: float
    int4_token: float
    int8_ratio: float
    plain_ratio: float
    int4_ratio: float
    together_ratio: float
    first_token_fresh: float
    first_token_shared: float
    shared_prefix_ratio: float
    int8_agreement: float
    int4_agreement: float


def main() -> None:
    arguments = read_arguments()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = public_models.smollm2() if arguments.model == "smollm2" else starcoder(Path(temporary))
        report = measure(folder, arguments)
    if arguments.json:
        print(json.dumps(asdict(report)))
        return
    for key, value in asdict(report).items():
        print(f"  {key:24} {value:.4f}" if isinstance(value, float) else f"  {key:24} {value}")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=["smollm2", "starcoder"], default="smollm2")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def measure(folder: Path, arguments: argparse.Namespace) -> Report:
    dtype = fastest_kernel().dtype
    name = str(dtype).removeprefix("torch.")
    int8, plain, int4 = (
        endless(load_generator(str(folder), LoadOptions(dtype=each))) for each in ("int8", name, "int4")
    )
    reference = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    ids = prompt(int8, arguments.prompt)
    calls: dict[str, Callable[[int], object]] = {
        "transformers": lambda count: theirs(reference, ids, count),
        "int8": lambda count: ours(int8, ids, count),
        "plain": lambda count: ours(plain, ids, count),
        "int4": lambda count: ours(int4, ids, count),
    }
    token = seconds_a_token(calls, arguments.tokens, arguments.rounds)
    fresh, shared = first_tokens(int8, arguments.rounds)
    return Report(
        model=arguments.model if arguments.model == "smollm2" else "starcoder shape, 4 of 24 layers, random weights",
        dtype=name,
        transformers_token=token["transformers"],
        int8_token=token["int8"],
        plain_token=token["plain"],
        int4_token=token["int4"],
        int8_ratio=token["transformers"] / token["int8"],
        plain_ratio=token["transformers"] / token["plain"],
        int4_ratio=token["transformers"] / token["int4"],
        together_ratio=together(int8, arguments.tokens),
        first_token_fresh=fresh,
        first_token_shared=shared,
        shared_prefix_ratio=fresh / shared,
        int8_agreement=agreement(int8, plain, ids),
        int4_agreement=agreement(int4, plain, ids),
    )


def seconds_a_token(calls: dict[str, Callable[[int], object]], count: int, rounds: int) -> dict[str, float]:
    """A long generation less a short one, so that the prefill falls out; in turns, medians, one round to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            seconds = (timed(lambda: call(count + 1)) - timed(lambda: call(1))) / count  # noqa: B023 - called at once
            if number:
                taken[name].append(seconds)
    return {name: statistics.median(values) for name, values in taken.items()}


def first_tokens(generator: LocalGenerator, rounds: int) -> tuple[float, float]:
    """Seconds to the first token of a fresh prompt, and of one that shares all but its last tokens with it."""
    fresh, shared = [], []
    ids = prompt(generator, SHARED_PREFIX + 4)
    for number in range(rounds):
        generator.clear_caches()
        fresh.append(timed(lambda: ours(generator, ids, 1)))
        other = [*ids[:-4], *(10 + number, 11, 12, 13)]
        shared.append(timed(lambda: generator.generate(other, Sampling(max_tokens=1))))  # noqa: B023 - called at once
    return statistics.median(fresh), statistics.median(shared)


def together(generator: LocalGenerator, count: int) -> float:
    """How much sooner eight texts are written side by side than one after the other."""
    prompts = [prompt(generator, 40 + number) for number in range(8)]
    sampling = Sampling(max_tokens=count)
    alone = timed(lambda: [(generator.clear_caches(), generator.generate(ids, sampling)) for ids in prompts])
    generator.clear_caches()
    return alone / timed(lambda: list(generate_many(generator, [(ids, sampling, None) for ids in prompts])))


def agreement(int8: LocalGenerator, plain: LocalGenerator, ids: list[int]) -> float:
    """The share of the prompt's places where both would go on with the same token."""
    first, second = (each.decoder.forward(ids, each.decoder.new_cache(), every=True) for each in (int8, plain))
    return float((first.argmax(1) == second.argmax(1)).float().mean())


def prompt(generator: LocalGenerator, count: int) -> list[int]:
    """So many ids of this program's own text."""
    text = Path(__file__).read_text(encoding="utf-8") * 4
    return generator.vocabulary.encode(text)[:count]


def endless(generator: LocalGenerator) -> LocalGenerator:
    """The same without a token that ends a text, so that all generate equally many."""
    generator.model = replace(generator.model, stop_ids=(), end_id=None)
    return generator


def starcoder(folder: Path) -> Path:
    """The shape of StarCoderBase-1B with four of its layers and random weights, and SmolLM2's tokenizer."""
    config = transformers.GPTBigCodeConfig(
        n_layer=4, n_embd=2048, n_head=16, n_inner=8192, n_positions=8192, vocab_size=49152
    )
    transformers.GPTBigCodeForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes((public_models.smollm2() / "tokenizer.json").read_bytes())
    return folder


def ours(generator: LocalGenerator, ids: list[int], count: int) -> object:
    generator.clear_caches()
    return generator.generate(ids, Sampling(max_tokens=count))


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def theirs(model: Any, ids: list[int], count: int) -> object:
    with torch.inference_mode():
        return model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=count,
            min_new_tokens=count,
            do_sample=False,
            pad_token_id=0,
        )


if __name__ == "__main__":
    main()
