"""Mines training groups: texts that mean the same, by kind and language.

    python training/mine.py --clones FOLDER --out .training/groups.jsonl

A row is {"kind", "key", "sides": {side: [text, ...]}}; a side is a language or "words".
    task       solutions of one puzzle by several hands, in one or more languages
    title      a puzzle's title and solutions that do not spell it
    role       functions of one name in several repositories
    across     functions of one name in Elixir or Erlang and in C++, whose vocabularies agree
    docstring  a function and what its documentation says
    name       a function without its name, and the name in words
Held-out repositories and held-out puzzles (see `held_out`) give no row.
"""

import argparse
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

from codekin.models.preparation import prepare
from corpus import Source, files, load_sources
from functions import Function, bare, functions_of
from views import mask_name, strip_comments

Group = dict[str, Any]
FILES_A_REPOSITORY = {"elixir": 200, "erlang": 100, "cpp": 70}
MOST_TEXTS = 8
MOST_PLACES = 60
LANGUAGES = ("elixir", "erlang", "cpp")


def held_out(task: str) -> bool:
    """Whether a puzzle serves the development set: one in eight, by its name alone."""
    return crc32(task.encode()) % 8 == 0


def mine_tasks(sources: Iterable[Source], clones: Path, chance: random.Random) -> Iterator[Group]:
    """One group a puzzle; a puzzle with a telling title gives a second one, its words and the code."""
    sides: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for source in sources:
        for file in files(source, clones):
            if source.puzzle and not held_out(file.task):
                sides[file.task][file.language].append(file.text[:8000])
    for task, texts in sides.items():
        title = task.split("-")[1:] if task.startswith("leetcode-") else []
        untitled = {language: [hide_title(text, title) for text in some] for language, some in texts.items()}
        if sum(map(len, texts.values())) > 1:
            shown = untitled if chance.random() < 0.6 else texts
            yield {"kind": "task", "key": task, "sides": shown}
        if len(title) > 1:
            yield {"kind": "title", "key": task, "sides": {"words": [" ".join(title)], **untitled}}


def hide_title(text: str, title: list[str]) -> str:
    """The code without the puzzle's title, however the language joins its words."""
    return re.sub(r"[_\W]?".join(map(re.escape, title)), "x", text, flags=re.IGNORECASE) if len(title) > 1 else text


def read_functions(sources: Iterable[Source], clones: Path, chance: random.Random) -> dict[str, list[Function]]:
    """Functions by repository, each text once, from a sample of each repository's files."""
    seen: set[str] = set()
    found: dict[str, list[Function]] = {}
    for source in sources:
        if source.puzzle or source.held_out:
            continue
        kept = []
        for file in _sample(files(source, clones), chance):
            for function in functions_of(file):
                digest = prepare(bare(function))
                if digest not in seen:
                    seen.add(digest)
                    kept.append(function)
        found[source.repository] = kept
        print(f"{source.repository}: {len(kept)} functions", flush=True)
    return found


def _sample(found: Iterable[Any], chance: random.Random) -> list[Any]:
    by_language = defaultdict(list)
    for file in found:
        if len(file.text) < 80_000 and not re.search(r"(^|/)(deps|third_party|vendor|extern)/", file.path):
            by_language[file.language].append(file)
    return [
        file
        for language, some in by_language.items()
        for file in chance.sample(some, min(len(some), FILES_A_REPOSITORY[language]))
    ]


def mine_words(functions: Iterable[Function]) -> Iterator[Group]:
    """Docstring and name groups."""
    for function in functions:
        code = bare(function)
        if function.doc:
            yield {
                "kind": "docstring",
                "key": function.name,
                "sides": {"words": [function.doc], function.language: [code]},
            }
        name = words_of(function.name)
        if len(name) > 1:
            hidden = mask_name(code, function.name)
            yield {
                "kind": "name",
                "key": function.name,
                "sides": {"words": [" ".join(name)], function.language: [hidden]},
            }


def mine_roles(by_repository: dict[str, list[Function]], chance: random.Random) -> Iterator[Group]:
    """Functions whose names are the same words, in several repositories or languages."""
    places: dict[str, list[tuple[str, Function]]] = defaultdict(list)
    for repository, functions in by_repository.items():
        for function in functions:
            places[" ".join(words_of(function.name))].append((repository, function))
    for name, found in places.items():
        if " " in name and len(found) > 1 and len({repository for repository, _ in found}) > 1:
            yield from _role_groups(name, found, chance)


def _role_groups(name: str, found: list[tuple[str, Function]], chance: random.Random) -> Iterator[Group]:
    sides = {language: [f for _, f in found if f.language == language] for language in LANGUAGES}
    for language, some in sides.items():
        if 1 < len(some) <= MOST_PLACES:
            kept = chance.sample(some, min(len(some), MOST_TEXTS))
            yield {"kind": "role", "key": name, "sides": {language: [_half_hidden(f, chance) for f in kept]}}
    beam = sides["elixir"] + sides["erlang"]
    if beam and sides["cpp"] and len(found) <= 2 * MOST_PLACES:
        yield from _across(name, beam, sides["cpp"])


def _across(name: str, beam: list[Function], cpp: list[Function]) -> Iterator[Group]:
    """The pairs of a shared name whose bodies share the most words, if they share enough."""
    pairs = sorted(((agreement(a, b), i, j) for i, a in enumerate(beam) for j, b in enumerate(cpp)), reverse=True)
    for score, i, j in pairs[:3]:
        if score >= 0.12:
            yield {"kind": "across", "key": name, "sides": {beam[i].language: [bare(beam[i])], "cpp": [bare(cpp[j])]}}


def agreement(a: Function, b: Function) -> float:
    """Jaccard overlap of two bodies' words, between 0 and 1."""
    left, right = (set(re.findall(r"[a-z]{3,}", prepare(bare(f)).lower())) for f in (a, b))
    return len(left & right) / max(1, len(left | right))


def words_of(name: str) -> list[str]:
    """A name's words in lower case: `handleCall`, `handle_call` → handle, call."""
    return [word.lower() for word in prepare(name).split()]


def _half_hidden(function: Function, chance: random.Random) -> str:
    code = bare(function)
    return mask_name(code, function.name) if chance.random() < 0.6 else code


def read_twins(folder: Path) -> Iterator[Group]:
    """Written and generated twins, one group a role: rows with a role and texts by language."""
    sides: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("*.jsonl")):
        for line in filter(str.strip, path.read_text(encoding="utf-8").splitlines()):
            row = json.loads(line)
            for language in LANGUAGES:
                sides[row["role"]][language] += _listed(row.get(language) or [], language)
    for role, texts in sides.items():
        unlike = {language: list(dict.fromkeys(some)) for language, some in texts.items() if some}
        yield {"kind": "generated" if role.startswith("generated-") else "twin", "key": role, "sides": unlike}


def _listed(texts: str | list[str], language: str) -> list[str]:
    return [strip_comments(text, language) for text in ([texts] if isinstance(texts, str) else texts)]


def main() -> None:
    """Write the groups and count them."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--clones", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--only-tasks", action="store_true")
    chosen = options.parse_args()
    chance = random.Random(0)
    sources = load_sources()
    groups = list(mine_tasks(sources, chosen.clones, chance))
    if not chosen.only_tasks:
        by_repository = read_functions(sources, chosen.clones, chance)
        groups += mine_roles(by_repository, chance)
        for functions in by_repository.values():
            groups += mine_words(functions)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text("".join(json.dumps(group) + "\n" for group in groups), encoding="utf-8")
    count: dict[str, int] = defaultdict(int)
    for group in groups:
        count[f"{group['kind']} {'-'.join(sorted(group['sides']))}"] += 1
    print(json.dumps(count, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
