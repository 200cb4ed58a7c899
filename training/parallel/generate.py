"""Writes generated parallel programs: one random program in Elixir, Erlang and C++, in several ways.

    python training/parallel/generate.py --count 3000 --seed 1 --out .training/generated/parallel.jsonl

A row is {"role", "elixir": [text, text], "erlang": [text], "cpp": [text, text]}. In half of the
rows all texts share their names; in the others each text has its own, so that only the structure
tells which belong together.
"""

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parents[1]))

from parallel import cpp, elixir, erlang
from parallel.naming import Names, random_names
from parallel.programs import Program, random_program

PRINTERS = {"elixir": (elixir.print_program, 2), "erlang": (erlang.print_program, 1), "cpp": (cpp.print_program, 2)}


def parallel_texts(program: Program, role: str, rng: random.Random) -> dict[str, Any]:
    """The program's texts by language, each way of saying it once."""
    shared = random_names(rng) if rng.random() < 0.5 else None

    def names() -> Names:
        return shared or random_names(rng)

    row: dict[str, Any] = {"role": role}
    for language, (say, ways) in PRINTERS.items():
        row[language] = list(dict.fromkeys(say(program, names(), rng) for _ in range(ways)))
    return row


def generate(count: int, seed: int) -> list[dict[str, Any]]:
    """Parallel texts of `count` different programs."""
    rng = random.Random(seed)
    programs: dict[Program, None] = {}
    while len(programs) < count:
        programs[random_program(rng)] = None
    return [parallel_texts(program, f"generated-{at}", rng) for at, program in enumerate(programs)]


def main() -> None:
    """Write the rows."""
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    options.add_argument("--count", type=int, default=3000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--out", type=Path, required=True)
    chosen = options.parse_args()
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    rows = generate(chosen.count, chosen.seed)
    chosen.out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"{chosen.out}: {len(rows)} programs")


if __name__ == "__main__":
    main()
