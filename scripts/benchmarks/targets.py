"""Every bar of the product beside what was measured: `scripts/bench [NAME …] [--quick]`.

Each benchmark is a program of its own, so that none disturbs another; this one runs them in turn
and prints their figures with the command that repeats each. Times tell little on a busy machine:
what is paired in one run (a ratio, a yardstick beside it) does.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import Figure, read, show

HERE = Path(__file__).parent
CODEKIN = Path(sys.executable).with_name("codekin")
FULL_SIZE = "full-size"
RETRIEVAL = {
    "fused": {"elixir->elixir": 0.65, "cpp->cpp": 0.63, "elixir->cpp": 0.53, "cpp->elixir": 0.54},
    "dense": {"elixir->elixir": 0.60, "cpp->cpp": 0.58, "elixir->cpp": 0.44, "cpp->elixir": 0.46},
}


class Skipped(Exception):  # noqa: N818 - it says what happened
    """A benchmark that cannot be run; the message says why, and what it needs."""


@dataclass(frozen=True)
class Benchmark:
    """What is measured, and the function that measures it."""

    about: str
    measure: Callable[[argparse.Namespace], list[Figure]]


def main() -> int:
    options = read_arguments()
    names = options.names or [name for name in BENCHMARKS if name != FULL_SIZE or options.full_size]
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    print(f"{os.cpu_count()} processors" + (f", already {load:.1f} times taken: trust ratios only" if load > 1 else ""))
    missed = 0
    for name in names:
        print(f"\n{name}: {BENCHMARKS[name].about}\n  repeat with: {repeat(name, options)}", flush=True)
        try:
            figures = BENCHMARKS[name].measure(options)
        except Skipped as reason:
            print(f"  skipped: {reason}")
            continue
        show(figures)
        missed += sum(figure.verdict == "MISSED" for figure in figures)
    print(f"\n{missed} missed" if missed else "\nall that was measured is met")
    return 0


def read_arguments() -> argparse.Namespace:
    listed = "\n".join(f"  {name:<14} {benchmark.about}" for name, benchmark in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=f"{(__doc__ or '').strip()}\n\nnames:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="all, where none is named")
    parser.add_argument(
        "--quick", action="store_true", help="smaller repositories and fewer rounds; bars are for the full size"
    )
    parser.add_argument(
        "--full-size", action="store_true", help="a step of a large model with random weights too, which takes 10 GB"
    )
    parser.add_argument("--data", type=Path, help="labelled rows {id, task, lang, code} for `retrieval`")
    parser.add_argument(
        "--completion-data", type=Path, help="rows for `completion`, as scripts/build_completion_cases.py makes them"
    )
    parser.add_argument("--repository", type=Path, help="the checkout that the rows for `completion` were taken from")
    parser.add_argument("--repos", type=Path, help="a folder of checkouts: `names`, `search`, `shown`, `nextedit`")
    parser.add_argument("--gguf", type=Path, help="a GGUF file for `engines`")
    parser.add_argument("--checkpoint", type=Path, help="a folder for the file's weights in bfloat16, for `engines`")
    parser.add_argument("--questions", type=Path, help="a file of questions with their answers, which `search` asks")
    parser.add_argument("--semble", type=Path, help="a checkout of semble, whose questions `search` asks")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    return options


def repeat(name: str, options: argparse.Namespace) -> str:
    """The command that measures one thing again."""
    words = ["scripts/bench", name, *(["--quick"] if options.quick else [])]
    given = {
        "names": ("repos",),
        "search": ("semble", "repos"),
        "retrieval": ("data",),
        "nextedit": ("repos",),
        "shown": ("repos",),
        "engines": ("gguf", "checkpoint"),
        "completion": ("completion_data", "repository"),
    }.get(name, ())
    for key in given:
        value = getattr(options, key)
        words += [f"--{key.replace('_', '-')}", str(value) if value else "FILE" if "data" in key else "DIR"]
    return " ".join(words)


def retrieval(options: argparse.Namespace) -> list[Figure]:
    """MAP of each direction, fused and by the encoder alone, beside BM25's words alone."""
    if options.data is None:
        raise Skipped("no labelled rows were given: name a file of {id, task, lang, code} with --data")
    found = {mode: evaluated(options.data, mode) for mode in ("text", "fused", "dense")}
    return [
        Figure(
            f"MAP {direction}, {mode}",
            found[mode][direction]["map"],
            at_least=target,
            beside=f"words alone {found['text'][direction]['map']:.3f}; {found[mode][direction]['queries']} queries",
        )
        for mode, targets in RETRIEVAL.items()
        for direction, target in targets.items()
        if direction in found[mode]
    ]


def names(options: argparse.Namespace) -> list[Figure]:
    """Random functions of each checkout, searched by their names."""
    if options.repos is None:
        raise Skipped("no checkouts were given: name their folder with --repos")
    folders = [str(folder) for folder in sorted(options.repos.iterdir()) if folder.is_dir()]
    return read(python("names.py", *folders, "--json"))


def search(options: argparse.Namespace) -> list[Figure]:
    """Questions about the checkouts at hand: semble's, or those of a file."""
    asked = ("--questions", options.questions) if options.questions else ("--semble", options.semble)
    if asked[1] is None or options.repos is None:
        raise Skipped("no questions were given: name them with --semble or --questions, the repositories with --repos")
    return read(python("search.py", asked[0], str(asked[1]), "--repos", str(options.repos), "--json"))


def nextedit(options: argparse.Namespace) -> list[Figure]:
    """The other edits of commits of which the first is given."""
    if options.repos is None:
        raise Skipped("no histories were given: name a folder of repositories with --repos")
    size = ["--cases", "10"] if options.quick else []
    return read(python("nextedit.py", "--repos", str(options.repos), *size, "--json"))


def shown(options: argparse.Namespace) -> list[Figure]:
    """Ghost text that comes by itself, at random places of checkouts."""
    if options.repos is None:
        raise Skipped("no checkouts were given: name their folder with --repos")
    size = ["--places", "20"] if options.quick else []
    return read(python("shown.py", "--repos", str(options.repos), *size, "--json"))


def engines(options: argparse.Namespace) -> list[Figure]:
    """Our decoder, transformers and llama.cpp on the same weights."""
    if options.gguf is None or options.checkpoint is None:
        raise Skipped("no weights were given: name a GGUF file with --gguf, and with --checkpoint where to convert it")
    given = ["--gguf", str(options.gguf), "--checkpoint", str(options.checkpoint), "--convert"]
    kept = ["--kept", str(options.checkpoint / "engines.jsonl")]
    return read(python("engines.py", *given, *kept, *(["--rounds", "1"] if options.quick else []), "--json"))


def evaluated(data: Path, mode: str) -> Any:
    return json.loads(run([CODEKIN, "eval", "retrieval", "--data", data, "--mode", mode, "--json"]))


def encoding(options: argparse.Namespace) -> list[Figure]:
    """Texts a second beside sentence-transformers."""
    size = ["--texts", "128", "--rounds", "1"] if options.quick else []
    found = json.loads(python("encoding.py", *size, "--json"))
    engines = found["engines"]
    ours = f"{engines['codekin']['texts_per_second']:.0f} texts/s, kernel {found['kernel']}"
    return [
        Figure(
            f"encoding / {name}",
            engine["codekin_is_faster_by"],
            "x",
            at_least=4.0 if "float32" in name else 2.2,
            beside=ours,
        )
        for name, engine in engines.items()
        if name != "codekin"
    ]


def decoding(options: argparse.Namespace) -> list[Figure]:
    """Tokens a second beside transformers.generate."""
    size = ["--tokens", "16", "--rounds", "1", "--prompt", "256"] if options.quick else []
    found = {
        model: json.loads(python("decoding.py", "--model", model, *size, "--json"))
        for model in ("smollm2", "starcoder")
    }
    real, shape = found["smollm2"], found["starcoder"]
    beside = f"transformers {1 / real['transformers_token']:.0f} tokens/s in {real['dtype']}"
    return [
        Figure(
            "decoding SmolLM2 in int8 / transformers.generate", real["int8_ratio"], "x", at_least=1.8, beside=beside
        ),
        Figure("the same without int8", real["plain_ratio"], "x", at_least=1.0),
        Figure("agreement of int8, share of tokens", real["int8_agreement"]),
        Figure("decoding SmolLM2 in int4 / transformers.generate", real["int4_ratio"], "x"),
        Figure("agreement of int4, share of tokens", real["int4_agreement"]),
        Figure("eight texts side by side, sooner by", real["together_ratio"], "x"),
        Figure(
            "decoding StarCoder's shape in int8 / transformers",
            shape["int8_ratio"],
            "x",
            at_least=1.5,
            beside=shape["model"],
        ),
        Figure("the same without int8", shape["plain_ratio"], "x", at_least=1.0),
        Figure("first token after a shared prefix of 1,500, sooner by", real["shared_prefix_ratio"], "x", at_least=8),
    ]


def completion(options: argparse.Namespace) -> list[Figure]:
    """The repository model beside plain copying of the longest match, on the same cases."""
    if options.completion_data is None or options.repository is None:
        raise Skipped("no cases were given: name them with --completion-data, and their checkout with --repository")
    measured = parsed(python("completion.py", "--pair", str(options.repository), str(options.completion_data)))
    ours, plain = measured["repository", "all"], measured["longest match", "all"]
    copied = f"plain copying {plain['exact']:g} and {plain['similarity']:g} on {ours['n']:g} cases"
    worst = min(
        measured[key]["exact"] - measured["longest match", key[1]]["exact"]
        for key in measured
        if key[0] == "repository"
    )
    return [
        Figure("repository model alone, exact", ours["exact"], at_least=0.30, beside=copied),
        Figure("the same, similarity", ours["similarity"], at_least=0.58),
        Figure("the worst group, exact above plain copying", worst, at_least=0),
        Figure("a completion, p50", ours["ms_p50"], "ms", at_most=15),
        Figure("a completion, p99", ours["ms_p99"], "ms", at_most=60),
        Figure("shown by itself, share of cases", ours["shown"], at_least=0.5),
        Figure("of these exact", ours["shown_exact"], at_least=0.45),
        Figure("memory of the repository model", measured["bytes", ""]["token"], "B", at_most=150, beside="a token"),
    ]


def parsed(text: str) -> dict[tuple[str, str], dict[str, float]]:
    """What completion.py prints: figures by title and group, and the bytes of a token."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for line in text.splitlines():
        if line.startswith("bytes a token"):
            found["bytes", ""] = {"token": float(line.split()[-1])}
        elif "similarity" in line and " n " in line:
            words = line[34:].split()
            found[line[:16].strip(), line[17:33].strip()] = dict(zip(words[::2], map(float, words[1::2]), strict=True))
    return found


def figures_of_program(program: str, *arguments: str) -> Callable[[argparse.Namespace], list[Figure]]:
    """A program of this folder that prints its figures itself."""

    def measure(options: argparse.Namespace) -> list[Figure]:
        return read(python(program, *arguments, *(["--quick"] if options.quick else []), "--json"))

    return measure


def python(program: str, *arguments: str) -> str:
    """What a program of this folder prints."""
    return run([sys.executable, HERE / program, *arguments])


def run(command: Sequence[str | Path]) -> str:
    """What a command prints; its standard error goes to ours only when it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it gave no reason"]
        raise Skipped(f"{Path(command[-len(command)]).name} failed: {lines[-1]}")
    return done.stdout


PROGRAMS = (
    ("opening", "large_repository.py", "an unchanged repository of 50,000 chunks"),
    ("saving", "large_repository.py", "from save to searchable at 50,000 chunks"),
    ("similar", "large_repository.py", "codekin/similar through LSP at 50,000 chunks"),
    ("memory", "large_repository.py", "memory of the processes at 50,000 chunks"),
    ("start", "lsp_latency.py", "the start of a window"),
    ("echo", "lsp_latency.py", "a window's answers while a repository is indexed"),
    ("ghost", "lsp_latency.py", "from a key to ghost text while a repository is indexed"),
    ("finetune-echo", "lsp_latency.py", "a window's answers during fine-tuning"),
    ("drafting", "generation.py", "drafts from the repository, beside plain decoding"),
    ("keystroke", "generation.py", "a further key with a generator, beside a first request"),
    ("steps", "finetune_speed.py", "training, beside sentence-transformers' own loop"),
    ("finetune", "finetune_speed.py", "a fine-tuning run"),
    ("apply-head", "finetune_speed.py", "an index re-embedded through a new head"),
    (FULL_SIZE, "finetune_speed.py", "a LoRA step of a full-size model, 10 GB"),
)
"""Name, program and subject of the benchmarks whose program takes the name and prints the figures itself."""

BENCHMARKS = {
    "retrieval": Benchmark("the same task in other hands and languages, ranked", retrieval),
    "search": Benchmark("questions in words, from semble's public benchmark or a file", search),
    "names": Benchmark("functions searched by their names", names),
    "questions": Benchmark("processor time of search and similar", figures_of_program("query_time.py")),
    "completion": Benchmark("the repository model, beside plain copying", completion),
    "shown": Benchmark("ghost text that comes by itself: right, and free of faults", shown),
    "nextedit": Benchmark("next edits, from the histories of repositories", nextedit),
    "engines": Benchmark("our decoder, transformers and llama.cpp on the same weights", engines),
    "encoding": Benchmark("texts to vectors, beside sentence-transformers", encoding),
    "decoding": Benchmark("generators, beside transformers.generate", decoding),
    "padding": Benchmark("large encoders, beside naive padding", figures_of_program("padding.py")),
    "gpu": Benchmark("training, embedding and decoding on a GPU, on random weights", figures_of_program("gpu.py")),
    "team": Benchmark("a team's index on Postgres: loading, recall, times", figures_of_program("team.py")),
    "imports": Benchmark("what the start-up boundaries spare", figures_of_program("imports.py")),
    **{name: Benchmark(about, figures_of_program(program, name)) for name, program, about in PROGRAMS},
}

if __name__ == "__main__":
    raise SystemExit(main())
