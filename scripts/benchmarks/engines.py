"""Our decoder, transformers and llama.cpp on the same weights: first token, decoding, a further key, lines, memory.

    python scripts/benchmarks/engines.py --checkpoint FOLDER --gguf FILE [--kept FILE] [--prompts 200 1500] [--rounds 3]

`--convert` writes the GGUF file's weights to FOLDER first. Each engine runs in a process of its own with one thread;
times are its processor seconds, the best of some rounds, so a busy machine does not show. What is in the kept file is
not measured again.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar, cast

import torch
import transformers
from figures import Figure, show

from codekin.models.generation.generator import LocalGenerator
from codekin.models.generation.gguf import GGUFGenerator
from codekin.models.loading import LoadOptions, load_generator
from codekin.protocols import GeneratedText, Sampling

T = TypeVar("T")
ENGINES = ("ours int8", "ours float32", "transformers float32", "transformers bfloat16", "llama.cpp")
TOKENS, LINES = 24, 32
SOURCE = Path(__file__).parents[2] / "server" / "codekin"
COLUMNS = ("load", "first token", "token", "further key", "32 lines", "drafted", "MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--convert", action="store_true")
    parser.add_argument("--kept", type=Path, default=Path("engines.jsonl"))
    parser.add_argument("--prompts", type=int, nargs="+", default=[200, 1500])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        torch.set_num_threads(1)
        print(json.dumps(measure(options.engine, options)), flush=True)
        return
    if options.convert and not (options.checkpoint / "model.safetensors").exists():
        convert(options.gguf, options.checkpoint)
    for engine in options.engines:
        if engine not in kept(options.kept):
            run_apart(engine, options.kept)
        print(table(kept(options.kept)), flush=True)
    if options.json:
        show(list(figures(kept(options.kept))), as_json=True)


def convert(gguf: Path, folder: Path) -> None:
    """The weights of a GGUF file as a checkpoint in bfloat16."""
    model = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


def kept(file: Path) -> dict[str, dict[str, dict[str, float]]]:
    """What was measured, by engine and by the prompt's length."""
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return {row["engine"]: row["figures"] for row in rows}


def run_apart(engine: str, file: Path) -> None:
    done = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--engine", engine], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode == 0:
        with file.open("a") as out:
            out.write(json.dumps({"engine": engine, "figures": json.loads(done.stdout.splitlines()[-1])}) + "\n")


def measure(engine: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Figures by the prompt's length."""
    before = resident()
    seconds, runner = busy(lambda: RUNNERS[engine.partition(" ")[0]](engine, options))
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(SOURCE.rglob("*.py"))[:20])
    found = {}
    for length in options.prompts:
        figures = min_by_column([dict(runner(text, length, turn)) for turn in range(options.rounds)])
        found[str(length)] = {"load": seconds, **figures, "MB": resident() - before}
    return found


Runner = Callable[[str, int, int], Iterator[tuple[str, float]]]
"""Takes a text, the prompt's length in tokens and the turn; gives processor seconds by column."""


def ours(engine: str, options: argparse.Namespace) -> Runner:
    generator = load_generator(str(options.checkpoint), LoadOptions(dtype=engine.split()[1], device="cpu"))
    assert isinstance(generator, LocalGenerator)

    def run(text: str, length: int, turn: int) -> Iterator[tuple[str, float]]:
        ids, lines = prompt_of(generator, text, length, turn), lines_of(generator, text)
        generator.clear_caches()
        yield "first token", busy(lambda: generator.generate(ids, Sampling(max_tokens=1)))[0]
        seconds, plain = busy(lambda: generator.generate(ids, Sampling(max_tokens=TOKENS)))
        yield "token", seconds / max(1, len(plain.tokens))
        yield "further key", busy(lambda: generator.generate([*ids, *lines[0][:2]], Sampling(max_tokens=1)))[0]
        yield "32 lines", busy(lambda: list(generator.log_probabilities(ids, lines)))[0]
        generator.generate(ids, Sampling(max_tokens=1))
        right = lambda known: list(plain.tokens[len(known) - len(ids) :][:7])  # noqa: E731
        seconds, _ = busy(lambda: generator.generate(ids, Sampling(max_tokens=TOKENS), right))
        yield "drafted", seconds / max(1, len(plain.tokens))

    return run


def llama_cpp(engine: str, options: argparse.Namespace) -> Runner:  # noqa: ARG001 - there is one
    generator = load_generator(str(options.gguf), LoadOptions(threads=1))
    assert isinstance(generator, GGUFGenerator)

    def finish(ids: Sequence[int], tokens: int) -> GeneratedText:
        *_, last = generator.steps(ids, Sampling(max_tokens=tokens))
        return cast("GeneratedText", last)

    def run(text: str, length: int, turn: int) -> Iterator[tuple[str, float]]:
        ids, lines = prompt_of(generator, text, length, turn), lines_of(generator, text)
        yield "first token", busy(lambda: finish(ids, 1))[0]
        seconds, written = busy(lambda: finish(ids, TOKENS))
        yield "token", seconds / max(1, len(written.tokens))
        yield "further key", busy(lambda: finish([*ids, *lines[0][:2]], 1))[0]

    return run


def library(engine: str, options: argparse.Namespace) -> Runner:
    dtype = getattr(torch, engine.split()[1])
    model = transformers.AutoModelForCausalLM.from_pretrained(options.checkpoint, dtype=dtype).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(options.checkpoint)

    @torch.no_grad()
    def forward(ids: Sequence[int], past: object = None) -> object:
        return model(input_ids=torch.tensor([list(ids)]), past_key_values=past, logits_to_keep=1).past_key_values

    def decode(ids: list[int]) -> object:
        mask = torch.ones(1, len(ids), dtype=torch.long)
        return model.generate(torch.tensor([ids]), attention_mask=mask, max_new_tokens=TOKENS, do_sample=False)

    @torch.no_grad()
    def score(ids: list[int], lines: list[list[int]]) -> None:
        width = max(map(len, lines))
        past = transformers.DynamicCache()
        model(input_ids=torch.tensor([ids]), past_key_values=past, logits_to_keep=1)
        past.batch_repeat_interleave(len(lines))
        rows = torch.tensor([line + [0] * (width - len(line)) for line in lines])
        torch.log_softmax(model(input_ids=rows, past_key_values=past).logits.float(), -1)

    def run(text: str, length: int, turn: int) -> Iterator[tuple[str, float]]:
        ids = tokens(text[turn * 97 : 20 * length], add_special_tokens=False)["input_ids"][:length]
        first, past = busy(lambda: forward(ids))
        yield "first token", first
        yield "token", (busy(lambda: decode(ids))[0] - first) / TOKENS
        yield "further key", busy(lambda: forward(ids[:2], past))[0]
        lines = [tokens(line, add_special_tokens=False)["input_ids"] for line in line_texts(text)]
        yield "32 lines", busy(lambda: score(ids, lines))[0] - first

    return run


RUNNERS = {"ours": ours, "transformers": library, "llama.cpp": llama_cpp}


def prompt_of(generator: LocalGenerator | GGUFGenerator, text: str, length: int, turn: int) -> list[int]:
    """A prompt of so many tokens, another each turn."""
    return generator.prompt(text[turn * 97 : 20 * length])[:length]


def lines_of(generator: LocalGenerator, text: str) -> list[list[int]]:
    return [generator.vocabulary.encode_continuation(line) for line in line_texts(text)]


def line_texts(text: str) -> list[str]:
    lines = dict.fromkeys(line.strip() + "\n" for line in text.split("\n") if 20 < len(line.strip()) < 60)
    return list(lines)[:LINES]


def busy(work: Callable[[], T]) -> tuple[float, T]:
    """Processor seconds of all threads, and what came of it."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def min_by_column(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: min(row[name] for row in rows) for name in rows[0]}


def figures(found: dict[str, dict[str, dict[str, float]]]) -> Iterator[Figure]:
    """Processor seconds and megabytes, one engine after the other."""
    for engine, by_length in found.items():
        for length, row in by_length.items():
            for name, value in row.items():
                yield Figure(f"{engine}, {length} tokens: {name}", value, "MB" if name == "MB" else "s")


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = [f"| engine, prompt | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    for engine, by_length in found.items():
        for length, figures in by_length.items():
            cells = [f"{figures[name]:.3g}" if name in figures else "-" for name in COLUMNS]
            lines.append(f"| {engine}, {length} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
