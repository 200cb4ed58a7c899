"""Sources of training pairs beside triplets: two texts of a repository that mean the same without being alike.

| source | the one text | the other |
|---|---|---|
| `docs` | the first sentence of a documentation | its function |
| `tests` | a test's body | the function that it calls |
| `calls` | the lines around a call | the function that is called, without its name |
| `commits` | the subject of a commit | a function that it changed |
| `changed_together` | a function | another one that the same small commit changed |
| `natives` | the words of a function without a body | the C or C++ function behind it |

Every pair is of files that train. Names are resolved only where a single function bears them.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from random import Random

from codekin.errors import FinetuneError
from codekin.finetune.dataset.functions import FunctionKey, FunctionSample, informative_words
from codekin.types import split_identifier

SourcePair = tuple[str, str]

MAX_COMMIT_FUNCTIONS = 6
"""A commit that changes more functions is about no single one."""

MIN_SUBJECT_WORDS = 3
MAX_CALLERS = 8
"""Call sites of one function at most: more would teach the commonest helper only."""

CALL_CONTEXT_LINES = 3
_DULL_SUBJECT = re.compile(
    r"^(merge|bump|release|version|revert|prepare|update (deps|dependencies|changelog|readme)|format|mix format|"
    r"fix typo|typo|wip|lint|v?\d+\.\d+)",
    re.IGNORECASE,
)
_SUBJECT_NOISE = re.compile(r"\(?#\d+\)?|^\w+(\([^)]*\))?!?:\s*|\[[^\]]*\]")
_NIF_ROW = re.compile(r'\{\s*"(\w+[?!]?)"\s*,\s*(\d+)\s*,\s*(\w+)')


@dataclass(frozen=True, slots=True)
class ChangedFunctions:
    """A commit's subject, and the functions it changed that are still there."""

    subject: str
    functions: tuple[FunctionKey, ...]


@dataclass(frozen=True, slots=True)
class SourceMaterial:
    """What pairs are made of: functions and tests that train, commits, and rows of native tables.

    `natives` has (name, arity, C function) as ErlNifFunc tables list them.
    """

    samples: Sequence[FunctionSample]
    tests: Sequence[FunctionSample] = ()
    commits: Sequence[ChangedFunctions] = ()
    natives: Sequence[tuple[str, int, str]] = ()
    _by_name: dict[str, list[FunctionSample]] = field(default_factory=dict)

    def only_bearer(self, name: str) -> FunctionSample | None:
        """The function of a bare name, where there is one alone and its name says something."""
        if not self._by_name:
            for sample in self.samples:
                self._by_name.setdefault(sample.bare_name, []).append(sample)
        found = self._by_name.get(name, ())
        return found[0] if len(found) == 1 and informative_words(name) else None


def _documented(material: SourceMaterial) -> Iterator[SourcePair]:
    for sample in material.samples:
        if sample.sentence:
            yield sample.sentence, sample.code


def _tested(material: SourceMaterial) -> Iterator[SourcePair]:
    for test in material.tests:
        for name in sorted(test.called):
            if target := material.only_bearer(name):
                yield test.code, target.code


def _called(material: SourceMaterial) -> Iterator[SourcePair]:
    callers: dict[str, int] = defaultdict(int)
    for caller in material.samples:
        for name in sorted(caller.called):
            target = material.only_bearer(name)
            if target is None or target is caller or callers[name] >= MAX_CALLERS:
                continue
            if around := call_context(caller.code, name):
                callers[name] += 1
                yield around, target.nameless


def call_context(code: str, name: str) -> str:
    """The lines around the first call of a name; empty where they are the whole function."""
    lines = code.split("\n")
    pattern = re.compile(rf"(?<!\w){re.escape(name)}\s*\(")
    at = next((row for row, line in enumerate(lines) if row and pattern.search(line)), None)
    if at is None:
        return ""
    found = lines[max(1, at - CALL_CONTEXT_LINES) : at + CALL_CONTEXT_LINES + 1]
    return "\n".join(found) if len(found) > 1 else ""


def _committed(material: SourceMaterial) -> Iterator[SourcePair]:
    code = _codes(material)
    for commit in material.commits:
        subject = readable_subject(commit.subject)
        known = [key for key in commit.functions if key in code]
        if subject and 1 <= len(commit.functions) <= MAX_COMMIT_FUNCTIONS:
            yield from ((subject, code[key]) for key in known)


def _changed_together(material: SourceMaterial) -> Iterator[SourcePair]:
    code = _codes(material)
    for commit in material.commits:
        if 2 <= len(commit.functions) <= MAX_COMMIT_FUNCTIONS:
            known = [key for key in commit.functions if key in code]
            yield from ((code[one], code[other]) for one, other in combinations(known, 2))


def _native(material: SourceMaterial) -> Iterator[SourcePair]:
    bodies = {sample.bare_name: sample for sample in material.samples if sample.chunk.language in {"c", "cpp"}}
    for name, _, function in material.natives:
        if function in bodies and len(words := split_identifier(name)) > 1:
            yield " ".join(words).lower(), bodies[function].nameless


def _codes(material: SourceMaterial) -> dict[FunctionKey, str]:
    return {sample.function_key: sample.code for sample in material.samples}


def readable_subject(subject: str) -> str:
    """A commit's subject without numbers and prefixes; empty where it says too little."""
    text = " ".join(_SUBJECT_NOISE.sub(" ", subject).split())
    if _DULL_SUBJECT.match(text) or len(informative_words(text)) < MIN_SUBJECT_WORDS:
        return ""
    return text


def native_rows(text: str) -> list[tuple[str, int, str]]:
    """The rows `{"name", arity, function}` of the ErlNifFunc tables in a C or C++ text."""
    return [(name, int(arity), function) for name, arity, function in _NIF_ROW.findall(text)]


SOURCES: Mapping[str, Callable[[SourceMaterial], Iterator[SourcePair]]] = {
    "docs": _documented,
    "tests": _tested,
    "calls": _called,
    "commits": _committed,
    "changed_together": _changed_together,
    "natives": _native,
}
"""By the name that `finetune.sources` lists."""


def require_sources(names: Sequence[str]) -> tuple[str, ...]:
    """The names of `finetune.sources`, each once. Raises FinetuneError for one that there is not."""
    wanted = tuple(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in SOURCES]:
        raise FinetuneError(f"finetune.sources has {unknown[0]!r}; there are {', '.join(SOURCES)}.")
    return wanted


def sample_source_pairs(
    material: SourceMaterial, names: Sequence[str], count: int, rng: Random
) -> dict[str, list[SourcePair]]:
    """`count` different pairs at most of each source, the same for the same seed."""
    found = {}
    for name in names:
        pairs = list(dict.fromkeys(pair for pair in SOURCES[name](material) if pair[0].strip() and pair[1].strip()))
        rng.shuffle(pairs)
        found[name] = pairs[:count]
    return found
