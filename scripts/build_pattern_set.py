"""Makes rows for `codekin eval beam` from Elixir repositories: functions labelled with the callback they implement.

    python scripts/build_pattern_set.py DIR [DIR …] --out FILE [--most 40]

A row is {id, task, lang, code, source}: the task is `Behaviour.callback/arity`, the function's own name is masked as
`callback` and its documentation is left out. Callbacks of fewer than two sources, and beyond `--most` of one callback
in one source, are left out.
"""

import argparse
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from codekin.parsing import cut_chunks
from codekin.ranking.beam_patterns import mask_own_name, pattern_of

LARGEST = 300_000
SKIPPED = frozenset({".git", "deps", "_build", "node_modules", "priv"})
Row = Mapping[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--most", type=int, default=40)
    options = parser.parse_args()
    rows = choose([row for folder in options.folders for row in rows_of(folder)], options.most)
    options.out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"{len(rows)} functions, {len({row['task'] for row in rows})} callbacks")


def rows_of(folder: Path) -> Iterator[Row]:
    """A row for each function of a repository that implements one callback of one behaviour."""
    for path in sorted(folder.rglob("*.ex")):
        name = path.relative_to(folder).as_posix()
        if SKIPPED & set(path.parts) or path.stat().st_size > LARGEST:
            continue
        for chunk in cut_chunks(name, path.read_text("utf-8", "replace"), "elixir")[0]:
            if task := pattern_of(chunk):
                place = f"{folder.name}/{name}:{chunk.start_line}"
                yield {"id": place, "task": task, "lang": "elixir", "code": mask_own_name(chunk), "source": folder.name}


def choose(rows: Sequence[Row], most: int) -> list[Row]:
    """The rows of callbacks that two sources or more implement, so many of each in one source."""
    sources: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        sources[row["task"]].add(row["source"])
    taken: Counter[tuple[str, str]] = Counter()
    chosen = []
    for row in random.Random(0).sample(rows, len(rows)):
        taken[row["task"], row["source"]] += 1
        if len(sources[row["task"]]) > 1 and taken[row["task"], row["source"]] <= most:
            chosen.append(row)
    return chosen


if __name__ == "__main__":
    main()
