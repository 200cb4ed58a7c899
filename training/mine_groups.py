"""Mines training groups: texts that mean the same, by kind and language.

    python training/mine_groups.py --clones FOLDER --out .training/groups

A row is {"kind", "key", "sides": {side: [text, ...]}}; a side is a language or "words".
    task       solutions of one puzzle by several hands, in one or more languages
    title      a puzzle's title and solutions that do not spell it
    role       functions of one name in several repositories
    across     functions of one name in Elixir or Erlang and in C++, whose vocabularies agree
    docstring  a function and what its documentation says
    name       a function without its name, and the name in words
    commit     a function and the message of the commit that made it so
    native     a native function and the Erlang or Elixir stub and callers that its table names
`place` is the repository of a function's group. Held-out repositories and held-out puzzles (see `held_out`)
give no row.
"""

import argparse
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

from codekin.models.embedding.local import split_code_words
from commits import commit_pairs
from corpus import Source, clone_of, files, git, load_sources, read_all
from functions import Function, bare, functions_of
from natives import BEAM, native_pairs
from views import mask_name, strip_comments

Group = dict[str, Any]
FILES_A_REPOSITORY = {
    "elixir": 350,
    "erlang": 120,
    "cpp": 80,
    "c": 80,
    "python": 80,
    "go": 60,
    "rust": 60,
    "javascript": 80,
}
MOST_OF_A_KIND = {"docstring": 500, "name": 250, "commit": 200}
"""How many groups a repository may give, that no large one outweighs the rest."""
MOST_TEXTS = 8
MOST_PLACES = 60
PARTS = ("tasks", "functions", "natives", "history")
LANGUAGES = ("elixir", "erlang", "cpp", "c", "python", "go", "rust", "javascript")
TITLED = ("leetcode-", "sample-", "archive-")


def held_out(task: str) -> bool:
    """Whether a puzzle serves the development set: one in eight, by its name alone."""
    return crc32(task.encode()) % 8 == 0


def mine_tasks(sources: Iterable[Source], clones: Path, rng: random.Random) -> Iterator[Group]:
    """One group a puzzle; a puzzle with a telling title gives a second one, its words and the code."""
    sides: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for source in sources:
        for file in files(source, clones):
            if source.puzzle and not held_out(file.task):
                sides[file.task][file.language].append(file.text[:8000])
    for task, texts in sides.items():
        title = task.split("-")[1:] if task.startswith(TITLED) else []
        untitled = {language: [hide_title(text, title) for text in some] for language, some in texts.items()}
        if sum(map(len, texts.values())) > 1:
            shown = untitled if rng.random() < 0.6 else texts
            yield {"kind": "task", "key": task, "sides": shown}
        if len(title) > 1:
            yield {"kind": "title", "key": task, "sides": {"words": [" ".join(title)], **untitled}}


def hide_title(text: str, title: list[str]) -> str:
    """The code without the puzzle's title, however the language joins its words."""
    return re.sub(r"[_\W]?".join(map(re.escape, title)), "x", text, flags=re.IGNORECASE) if len(title) > 1 else text


def read_functions(sources: Iterable[Source], clones: Path, rng: random.Random) -> dict[str, list[Function]]:
    """Functions by repository, each text once, from a sample of each repository's files."""
    seen: set[str] = set()
    found: dict[str, list[Function]] = {}
    for source in sources:
        if source.puzzle or source.held_out:
            continue
        kept = []
        for file in _sample(files(source, clones), rng):
            for function in functions_of(file):
                digest = split_code_words(bare(function))
                if digest not in seen:
                    seen.add(digest)
                    kept.append(function)
        found[source.repository] = kept
        print(f"{source.repository}: {len(kept)} functions", flush=True)
    return found


_APART = re.compile(
    r"(^|/)(deps|third_party|vendor|extern|node_modules|tests?|spec|__tests?__|dist|generated)/|[._](test|min)[.]"
)
"""Folders of others' code, of tests and of generated code."""


def _sample(found: Iterable[Any], rng: random.Random) -> list[Any]:
    by_language = defaultdict(list)
    for file in found:
        if len(file.text) < 80_000 and not _APART.search(file.path):
            by_language[file.language].append(file)
    return [
        file
        for language, some in by_language.items()
        for file in rng.sample(some, min(len(some), FILES_A_REPOSITORY[language]))
    ]


def mine_words(functions: Iterable[Function], place: str = "") -> Iterator[Group]:
    """Docstring and name groups."""
    for function in functions:
        code = bare(function)
        if function.doc:
            yield {
                "kind": "docstring",
                "key": function.name,
                "place": place,
                "sides": {"words": [function.doc], function.language: [code]},
            }
        name = words_of(function.name)
        if len(name) > 1:
            hidden = mask_name(code, function.name)
            yield {
                "kind": "name",
                "key": function.name,
                "place": place,
                "sides": {"words": [" ".join(name)], function.language: [hidden]},
            }


def mine_history(source: Source, clones: Path) -> Iterator[Group]:
    """Commit groups of one repository, where its clone has a history."""
    folder = clone_of(source, clones)
    for said, function in commit_pairs(folder) if folder else ():
        sides = {"words": [said], function.language: [bare(function)]}
        yield {"kind": "commit", "key": function.name, "place": source.repository, "sides": sides}


def mine_natives(source: Source, clones: Path, rng: random.Random) -> Iterator[Group]:
    """Native groups of one repository; the native function's own name is hidden in half of them."""
    folder = clone_of(source, clones)
    if not folder:
        return
    names = git(folder, "ls-tree", "-r", "--name-only", "HEAD").split("\n")
    tables = read_all(folder, [f"HEAD:{name}" for name in names if name.endswith("nifs.gperf")])
    for key, sides in native_pairs(files(source, clones), tables):
        _, own = key.split("/")
        shown = {
            side: texts if side in BEAM or rng.random() < 0.5 else [mask_name(text, own) for text in texts]
            for side, texts in sides.items()
        }
        yield {"kind": "native", "key": key, "place": source.repository, "sides": shown}


def limited(groups: Iterable[Group], rng: random.Random) -> list[Group]:
    """At most MOST_OF_A_KIND of each kind, drawn at random."""
    by_kind: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        by_kind[group["kind"]].append(group)
    return [
        group
        for kind, some in by_kind.items()
        for group in rng.sample(some, min(len(some), MOST_OF_A_KIND.get(kind, len(some))))
    ]


def mine_roles(by_repository: dict[str, list[Function]], rng: random.Random) -> Iterator[Group]:
    """Functions whose names are the same words, in several repositories or languages."""
    places: dict[str, list[tuple[str, Function]]] = defaultdict(list)
    for repository, functions in by_repository.items():
        for function in functions:
            places[" ".join(words_of(function.name))].append((repository, function))
    for name, found in places.items():
        if " " in name and len(found) > 1 and len({repository for repository, _ in found}) > 1:
            yield from _role_groups(name, found, rng)


def _role_groups(name: str, found: list[tuple[str, Function]], rng: random.Random) -> Iterator[Group]:
    sides = {language: [f for _, f in found if f.language == language] for language in LANGUAGES}
    for language, some in sides.items():
        if 1 < len(some) <= MOST_PLACES:
            kept = rng.sample(some, min(len(some), MOST_TEXTS))
            yield {"kind": "role", "key": name, "sides": {language: [_half_hidden(f, rng) for f in kept]}}
    beam = sides["elixir"] + sides["erlang"]
    for language, some in sides.items():
        if beam and some and language not in BEAM and len(beam) + len(some) <= 2 * MOST_PLACES:
            yield from _across(name, beam, some)


def _across(name: str, beam: list[Function], others: list[Function]) -> Iterator[Group]:
    """The pairs of a shared name whose bodies share the most words, if they share enough."""
    pairs = sorted(((agreement(a, b), i, j) for i, a in enumerate(beam) for j, b in enumerate(others)), reverse=True)
    for score, i, j in pairs[:3]:
        if score >= 0.12:
            sides = {beam[i].language: [bare(beam[i])], others[j].language: [bare(others[j])]}
            yield {"kind": "across", "key": name, "sides": sides}


def agreement(a: Function, b: Function) -> float:
    """Jaccard overlap of two bodies' words, between 0 and 1."""
    left, right = (set(re.findall(r"[a-z]{3,}", split_code_words(bare(f)).lower())) for f in (a, b))
    return len(left & right) / max(1, len(left | right))


def words_of(name: str) -> list[str]:
    """A name's words in lower case: `handleCall`, `handle_call` → handle, call."""
    return [word.lower() for word in split_code_words(name).split()]


def _half_hidden(function: Function, rng: random.Random) -> str:
    code = bare(function)
    return mask_name(code, function.name) if rng.random() < 0.6 else code


def read_parallel(folder: Path) -> Iterator[Group]:
    """Written and generated parallel programs, one group per role: rows with a role and texts by language."""
    sides: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("*.jsonl")):
        for line in filter(str.strip, path.read_text(encoding="utf-8").splitlines()):
            row = json.loads(line)
            for language in LANGUAGES:
                sides[row["role"]][language] += _listed(row.get(language) or [], language)
    for role, texts in sides.items():
        distinct = {language: list(dict.fromkeys(some)) for language, some in texts.items() if some}
        yield {"kind": "generated" if role.startswith("generated-") else "parallel", "key": role, "sides": distinct}


def _listed(texts: str | list[str], language: str) -> list[str]:
    return [strip_comments(text, language) for text in ([texts] if isinstance(texts, str) else texts)]


def mine(sources: list[Source], clones: Path, part: str, rng: random.Random) -> Iterator[Group]:
    """The groups of one part."""
    if part == "tasks":
        yield from mine_tasks(sources, clones, rng)
    if part == "functions":
        by_repository = read_functions(sources, clones, rng)
        yield from mine_roles(by_repository, rng)
        for place, functions in by_repository.items():
            yield from limited(mine_words(functions, place), rng)
    for source in sources:
        if not source.held_out and not source.puzzle:
            if part == "natives":
                yield from mine_natives(source, clones, rng)
            if part == "history":
                yield from limited(mine_history(source, clones), rng)


def main() -> None:
    """Write each part's groups and count them."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--clones", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True, help="a folder")
    options.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    chosen = options.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    sources = load_sources()
    for part in chosen.parts:
        groups = list(mine(sources, chosen.clones, part, random.Random(0)))
        (chosen.out / f"{part}.jsonl").write_text("".join(json.dumps(g) + "\n" for g in groups), encoding="utf-8")
        count = Counter(f"{group['kind']} {'-'.join(sorted(group['sides']))}" for group in groups)
        print(json.dumps(count, indent=1, sort_keys=True), flush=True)


if __name__ == "__main__":
    main()
