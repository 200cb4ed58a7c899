"""Builds the development sets out of held-out puzzles and held-out repositories.

    python training/dev_set.py --clones FOLDER --out .training

puzzles.jsonl: solutions of puzzles that training never sees, by several hands, in Elixir and C++;
at most three files a puzzle and language. functions.jsonl: Elixir functions of repositories that
training never sees, of one role by several hands (roles.py says by which witnesses), among others of
the same repositories. In both, comments are removed and strings masked; a function's own name is
masked too. questions.jsonl: what the documentation of functions of such repositories says first (lang `words`),
and the functions without it, among others without documentation. Rows are {id, task, lang, code}, as
`codekin eval retrieval` reads them; evaluate.py reads the third.
"""

import argparse
import itertools
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from corpus import Source, SourceFile, files, load_sources
from functions import bare, functions_of
from mine_groups import held_out
from roles import SHORTEST, Place, roles
from views import drop_preamble, mask_name, mask_strings, strip_comments

Row = dict[str, str]
MAX_AUTHORS = 3
MOST_PUZZLES = 70
MOST_FILES = 300
MOST_REPOSITORIES = 6
OTHERS = 600
QUESTIONS, STRANGERS = 400, 1200


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
            for at, code in enumerate(found[task][language][:MAX_AUTHORS]):
                yield {"id": f"{task}/{language}/{at}", "task": task, "lang": language, "code": code[:6000]}


def shared_functions(sources: list[Source], clones: Path) -> Iterator[Row]:
    """Elixir functions of one role in several held-out repositories, then others, each a task of its own."""
    places = held_out_places(sources, clones)
    groups = roles(places)
    used = {id(place) for group in groups for place in group}
    others = [place for place in places if id(place) not in used and len(bare(place.function)) >= SHORTEST]
    for number, group in enumerate([*groups, *([place] for place in random.Random(0).sample(others, OTHERS))]):
        for place in group[:MOST_REPOSITORIES]:
            code = mask_strings(mask_name(bare(place.function), place.function.name))
            key = f"{place.repository}/{place.path}/{place.function.name}"
            yield {"id": key, "task": f"{place.function.name}/{number}", "lang": "elixir", "code": code}


def held_out_places(sources: list[Source], clones: Path) -> list[Place]:
    """The Elixir functions of the libraries that training never sees."""
    return [
        Place(source.repository, file.path, function)
        for source in sources
        if source.held_out
        for file in itertools.islice(filter(_is_library, files(source, clones)), MOST_FILES)
        for function in functions_of(file)
    ]


def questions(sources: list[Source], clones: Path) -> Iterator[Row]:
    """What documentation says, and functions: the documented ones and strangers."""
    rng = random.Random(0)
    places = held_out_places(sources, clones)
    documented = [place for place in places if len(place.function.doc.split()) >= 5]
    asked = rng.sample(documented, min(QUESTIONS, len(documented)))
    rest = [place for place in places if place not in asked]
    for number, place in enumerate(asked + rng.sample(rest, min(STRANGERS, len(rest)))):
        task = {"id": f"{number}", "task": f"{place.repository}/{place.function.name}/{number}"}
        yield task | {"lang": "elixir", "code": bare(place.function)}
        if number < len(asked):
            yield task | {"lang": "words", "code": place.function.doc}


def _is_library(file: SourceFile) -> bool:
    return file.path.endswith(".ex") and not re.search(r"(^|/)(tests?|deps)", file.path)


def main() -> None:
    """Write the sets and count their rows."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--clones", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--only", choices=("puzzles", "functions", "questions"))
    chosen = options.parse_args()
    sources = load_sources()
    for name, rows in (("puzzles", puzzles), ("functions", shared_functions), ("questions", questions)):
        if chosen.only in (None, name):
            _write(chosen.out / f"{name}.jsonl", list(rows(sources, chosen.clones)))


def _write(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"{path}: {len(rows)} rows, {len({row['task'] for row in rows})} tasks")


if __name__ == "__main__":
    main()
