"""What is shown by itself at random places of repositories: how often, how often it is right, and what should not be.

    python scripts/benchmarks/shown.py --repos DIR [REPOSITORY …] [--places 100] [--threshold 0.1] [--json]

A place is a random line of a random file, comments too, cut at its start, before a token or within a word; what stands
there is hidden. Counted as faults: a bare lower-case name that neither the file nor its header has, names that the
repository does not know (words joined from pieces), a line that stands within five lines, code in comments, prose in
code, licence texts, and calls of the repository's functions with a number of arguments that none of them takes.
"""

import argparse
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from figures import Figure, show

from codekin.completion.context import CursorPosition
from codekin.completion.corpus_snapshot import Corpus, build_corpus
from codekin.completion.evaluation import read_sources
from codekin.completion.gate import place_of
from codekin.completion.ranking import rank_guesses
from codekin.completion.suggestions import CompletionOptions, Suggestion, context_at_cursor, make_suggestions
from codekin.parsing import LANGUAGES, cut_chunks, detect_language, tokenize
from codekin.settings import CompletionSettings

NEARBY = 5
SHORTEST_LINE, SHORTEST_TRUTH = 8, 4
LARGEST_FILE = 200_000
WORD = re.compile(r"[^\W\d]\w*[?!]?")
CALL = re.compile(r"\b([A-Z]\w*)\.([a-z_]\w*[?!]?)\(([^()\[\]{}]*)\)")
LICENCE = re.compile(
    r"copyright|licen[cs]e|warrant(y|ies)|redistribut|hereby granted|all rights reserved", re.IGNORECASE
)
CODE = re.compile(r"[{}\[\]=;<>|]|\w\(|::|->")


@dataclass(frozen=True)
class Place:
    cursor: CursorPosition
    truth: str
    kind: str

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(WORD.findall(self.cursor.prefix + " " + self.cursor.suffix))


@dataclass
class Repository:
    name: str
    texts: dict[str, str]
    corpus: Corpus

    @classmethod
    def read(cls, folder: Path) -> "Repository":
        texts = {path: text.replace("\r\n", "\n") for path, text in read_sources(folder)}
        return cls(folder.name, texts, build_corpus(texts.items()))

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(word for text in self.texts.values() for word in WORD.findall(text))

    @cached_property
    def arities(self) -> dict[tuple[str, str], set[int]]:
        """Arities of Elixir's functions by the last part of the module and the name."""
        found: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        for path, text in self.texts.items():
            for chunk in cut_chunks(path, text)[0] if path.endswith((".ex", ".exs")) else ():
                if match := re.fullmatch(r"(?:.*\.)?(\w+)\.([a-z_]\w*[?!]?)/(\d+)", chunk.name):
                    arguments = chunk.text.partition("\n")[0].count("\\\\")
                    found[match[1], match[2]] |= set(range(int(match[3]) - arguments, int(match[3]) + 1))
        return found

    def places(self, count: int, seed: int) -> Iterator[Place]:
        generator = random.Random(seed)
        paths = sorted(path for path, text in self.texts.items() if 0 < len(text) <= LARGEST_FILE)
        for _ in range(count):
            place = None
            while place is None:
                path = generator.choice(paths)
                place = draw(path, self.texts[path], generator)
            yield place


def draw(path: str, text: str, generator: random.Random) -> Place | None:
    starts = [match.start() for match in re.finditer(rf"^[^\n]{{{SHORTEST_LINE},}}$", text, re.MULTILINE)]
    if not starts or not (language := detect_language(path, text)):
        return None
    start = generator.choice(starts)
    line = text[start:].partition("\n")[0]
    indent = len(line) - len(line.lstrip())
    words = [match for match in re.finditer(r"\w+|[^\w\s]+", line) if match.start() > indent]
    columns = [indent] if generator.random() < 0.5 or not words else [match.start() for match in words]
    if generator.random() < 0.15:
        columns = [match.start() + 2 for match in words if match[0][0].isalpha() and len(match[0]) > 3] or columns
    columns = [column for column in columns if len(line[column:].strip()) >= SHORTEST_TRUTH]
    if not columns:
        return None
    at, end = start + generator.choice(columns), start + len(line)
    cursor = CursorPosition(path, language, text[:at], text[end:])
    return Place(cursor, text[at:end], place_of(cursor, context_at_cursor(cursor).kind))


def faults(repository: Repository, place: Place, text: str) -> Iterator[str]:
    """What should not have been shown, by name."""
    cursor, first = place.cursor, text.partition("\n")[0]
    line = cursor.line_before + first
    if LICENCE.search(first):
        yield "licence"
    if place.kind == "prose":
        if CODE.search(re.sub(r"`[^`]*`", "", first)):
            yield "code in comments"
        return
    near = [*cursor.prefix.split("\n")[-1 - NEARBY : -1], *cursor.suffix.split("\n")[1 : 1 + NEARBY]]
    if re.search(r"\w{3}.*\W.*\w", line) and line.strip() in {one.strip() for one in near}:
        yield "stands within five lines"
    names = [token for token in tokenize(cursor.language, line) if token.kind == "name"]
    own = [token.text for token in names if token.end > len(cursor.line_before)]
    if any(name not in repository.words and name not in place.words for name in own):
        yield "joined from pieces"
    if re.search(r"(?:^|\s)(?:[A-Za-z][a-z]+ ){4,}", line) and not re.search(r"[\"'(:,=]", line):
        yield "prose in code"
    if any(
        name not in known_names(repository, place) for name in unbound(cursor.language, line, len(cursor.line_before))
    ):
        yield "bound nowhere"
    for module, function, arguments in CALL.findall(line) if cursor.language == "elixir" else ():
        known = repository.arities.get((module, function))
        count = arguments.count(",") + 1 if arguments.strip() else 0
        if known and count not in known and count + 1 not in known:
            yield "wrong arity"


def known_names(repository: Repository, place: Place) -> frozenset[str]:
    """The words of the file and of files of its stem."""
    stem = f"/{place.cursor.path.rpartition('/')[2].partition('.')[0]}."
    partners = [text for path, text in repository.texts.items() if stem in f"/{path}" and path != place.cursor.path]
    return place.words.union(*(WORD.findall(text) for text in partners))


def unbound(language: str, line: str, start: int) -> Iterator[str]:
    """Bare lower-case names that are whole arguments."""
    keywords = LANGUAGES[language].keywords
    code = [token for token in tokenize(language, line) if token.kind not in {"space", "comment"}]
    bound = {one.text for one, after in pairwise(code) if after.text in {"=", "<-", "->", "in"}}
    for before, token, after in zip(code, code[1:], code[2:], strict=False):
        is_bare = before.text in {"(", ",", "=", "return"} and after.text in {")", ",", ";"}
        is_name = token.kind == "name" and bool(re.fullmatch(r"[a-z]\w*(?<!_t)", token.text))
        if is_name and is_bare and token.end > start and token.text not in keywords | bound:
            yield token.text


@dataclass
class Tally:
    places: int = 0
    shown: int = 0
    right: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    bins: defaultdict[int, list[bool]] = field(default_factory=lambda: defaultdict(list))

    def add(self, repository: Repository, place: Place, found: list[Suggestion]) -> None:
        self.places += 1
        if not found:
            return
        best = found[0]
        is_right = place.truth.strip() == best.text.partition("\n")[0].strip()
        self.shown += 1
        self.right += is_right
        self.bins[int(best.confidence * 5)].append(is_right)
        for fault in set(faults(repository, place, best.text)):
            self.faults[fault] += 1
            line = place.cursor.line_before.strip()
            self.examples.append(f"{fault}: {repository.name}/{place.cursor.path}: {line}‸{best.text.strip()}")

    def figures(self) -> list[Figure]:
        bins = "; ".join(f"{at / 5:.1f}: {sum(some)} of {len(some)}" for at, some in sorted(self.bins.items()))
        named = ", ".join(f"{name} {count}" for name, count in self.faults.most_common())
        return [
            Figure("shown by itself", self.shown / max(1, self.places), at_least=0.5, beside=f"{self.places} places"),
            Figure(
                "right of what is shown", self.right / max(1, self.shown), at_least=0.65, beside=f"by chance {bins}"
            ),
            Figure("faults in what is shown", self.faults.total(), at_most=0, beside=named),
        ]


def suggest(repository: Repository, place: Place, threshold: float) -> list[Suggestion]:
    found = rank_guesses(repository.corpus, place.cursor, limit=5)
    return make_suggestions(repository.corpus, place.cursor, CompletionOptions(threshold=threshold), found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repos", type=Path, required=True, help="a folder of checkouts")
    parser.add_argument("names", nargs="*", help="of these; all where none is named")
    parser.add_argument("--places", type=int, default=100, help="in each")
    parser.add_argument("--threshold", type=float, default=CompletionSettings().threshold)
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tally = Tally()
    for folder in sorted(options.repos.iterdir()):
        if not options.names or folder.name in options.names:
            repository = Repository.read(folder)
            for place in repository.places(options.places, options.seed):
                tally.add(repository, place, suggest(repository, place, options.threshold))
            print(f"{folder.name}: {tally.shown} shown, {tally.right} right so far", file=sys.stderr, flush=True)
    for example in tally.examples:
        print(example, file=sys.stderr)
    show(tally.figures(), as_json=options.json)


if __name__ == "__main__":
    main()
