"""Builds the development sets out of held-out puzzles and held-out repositories.

    python training/dev_set.py --clones FOLDER --out .training

puzzles.jsonl: solutions of puzzles that training never sees, by several hands, in Elixir and C++;
at most three files a puzzle and language. functions.jsonl: Elixir functions of repositories that
training never sees; two functions are of one task if their names are the same two or more words
and they come from different repositories (a name is a weak witness, so figures stay low). In both,
comments are removed and strings masked; a function's own name is masked too. Rows are
{id, task, lang, code}, as `codekin eval retrieval` reads them.
"""

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from corpus import Source, SourceFile, files, load_sources
from functions import Function, bare, functions_of
from mine import held_out, words_of
from views import drop_preamble, mask_name, mask_strings, strip_comments

Row = dict[str, str]
MOST_HANDS = 3
MOST_PUZZLES = 70
COMMON = 8
"""A name in more places than this (init, handle_call) is a callback, no task."""


def puzzles(sources: list[Source], clones: Path) -> Iterator[Row]:
    """Solutions of held-out puzzles that have both Elixir and C++ ones, then of C++-only ones."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for source in sources:
        for file in files(source, clones) if source.puzzle else ():
            if held_out(file.task):
                code = mask_strings(strip_comments(file.text, file.language))
                found[file.task][file.language].append(drop_preamble(code))
    both = [task for task, sides in found.items() if sides["elixir"] and sides["cpp"]]
    for task in both[:MOST_PUZZLES]:
        for language in ("elixir", "cpp"):
            for at, code in enumerate(found[task][language][:MOST_HANDS]):
                yield {"id": f"{task}/{language}/{at}", "task": task, "lang": language, "code": code[:6000]}


def shared_functions(sources: list[Source], clones: Path) -> Iterator[Row]:
    """Elixir functions of held-out repositories whose name another of them also has."""
    places: dict[str, list[tuple[str, Function]]] = defaultdict(list)
    for source in sources:
        for file in files(source, clones) if source.held_out else ():
            for function in functions_of(file) if _is_library(file) else ():
                places[" ".join(words_of(function.name))].append((source.repository, function))
    for name, found in sorted(places.items()):
        one_each = dict(found)
        if len(one_each) > 1 and len(found) <= COMMON and " " in name:
            for repository, function in one_each.items():
                code = mask_strings(mask_name(bare(function), function.name))
                yield {"id": f"{repository}/{function.name}", "task": name, "lang": "elixir", "code": code}


def _is_library(file: SourceFile) -> bool:
    return file.path.endswith(".ex") and "/test" not in f"/{file.path}"


def distractors(sources: list[Source], clones: Path, count: int) -> Iterator[Row]:
    """Other functions of the same repositories, each a task of its own."""
    found = [
        (f"{source.repository}/{file.path}/{function.name}", function)
        for source in sources
        if source.held_out
        for file in files(source, clones)
        if _is_library(file)
        for function in functions_of(file)
    ]
    for place, function in random.Random(0).sample(found, min(count, len(found))):
        code = mask_strings(mask_name(bare(function), function.name))
        yield {"id": f"other/{place}", "task": place, "lang": "elixir", "code": code}


def main() -> None:
    """Write both sets and count their rows."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--clones", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--only", choices=("puzzles", "functions"))
    chosen = options.parse_args()
    sources = load_sources()
    if chosen.only != "functions":
        _write(chosen.out / "puzzles.jsonl", list(puzzles(sources, chosen.clones)))
    if chosen.only != "puzzles":
        tasks = list(shared_functions(sources, chosen.clones))
        _write(chosen.out / "functions.jsonl", tasks + list(distractors(sources, chosen.clones, 300)))


def _write(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"{path}: {len(rows)} rows, {len({row['task'] for row in rows})} tasks")


if __name__ == "__main__":
    main()
