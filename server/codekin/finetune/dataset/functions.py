"""The samples: whole functions of a workspace, texts that mean the same, and the patterns that two functions share.

A sample is a function, method or macro with a body. Its other texts are its code without documentation, the first
sentence of that documentation, the words of its name, its code with renamed identifiers, and its two halves.

Reads shapes, names and documentation, never vectors.
"""

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256

from codekin.parsing import Token, read_local_names, rename_locals, tokenize
from codekin.storage.terms import shingles
from codekin.types import Chunk, split_identifier

FUNCTION_KINDS = frozenset({"function", "macro", "method", "constructor", "operator", "delegate"})
TEST_KINDS = frozenset({"test"})
TRAINED_LANGUAGES = frozenset({"elixir", "erlang", "cpp", "c"})
BEAM, CPP = "beam", "cpp"
"""The families of languages that triplets are mined in."""

MIN_FUNCTION_LINES = 3
MAX_SENTENCE_CHARS = 400
_DOC_ATTRIBUTES = frozenset({"@doc", "@moduledoc", "@typedoc", "@spec", "@impl", "@since", "@deprecated"})
_QUALIFIERS = frozenset({".", "->", "::"})
_ERLANG_QUALIFIERS = _QUALIFIERS | {":"}

FunctionKey = tuple[str, str]
"""By what a function is known from one version to the next: the path of its file and its qualified name."""

_PLACEHOLDER_NAMES = ("alpha", "beta", "gamma", "delta", "kappa", "sigma", "omega", "theta")


@dataclass(frozen=True)
class FunctionSample:
    """A function and its place; `code` is its text without documentation and comments.

    An `earlier` sample is a function before an edit; it has the place of today's function.
    """

    chunk: Chunk
    code: str
    earlier: bool = False

    @cached_property
    def role(self) -> str:
        """The name without its module, with its arity: what is the same in another module."""
        return re.split(r"\.(?=[^.]*$)|::?(?=[^:]*$)", self.chunk.name)[-1]

    @cached_property
    def sentence(self) -> str:
        """The first paragraph of the documentation; empty when there is none to speak of."""
        first = re.split(r"\n\s*\n", self.chunk.doc.strip().removeprefix("@doc "), maxsplit=1)[0]
        text = " ".join(first.split())[:MAX_SENTENCE_CHARS]
        return text if len(text.split()) >= 4 else ""

    @cached_property
    def words(self) -> str:
        """The words of the qualified name, in lower case."""
        name = re.sub(r"/\d+$", "", self.chunk.name)
        return " ".join(split_identifier(name)).lower()

    @cached_property
    def renamed(self) -> str:
        """The code with every name changed that its author chose: its own, its variables, the functions near it."""
        return rename_identifiers(self.chunk.language, self.code, self.bare_name)

    @cached_property
    def nameless(self) -> str:
        """The code without its own name."""
        return re.sub(rf"(?<![\w@:]){re.escape(self.bare_name)}(?!\w)", "f", self.code) if self.bare_name else self.code

    @cached_property
    def bare_name(self) -> str:
        """The name without module and arity."""
        return self.role.partition("/")[0]

    @cached_property
    def halves(self) -> tuple[str, str]:
        """The upper and the lower half of its lines."""
        lines = self.code.split("\n")
        middle = len(lines) // 2
        return "\n".join(lines[:middle]), "\n".join(lines[middle:])

    @cached_property
    def calls(self) -> frozenset[str]:
        """What it calls, as it is written."""
        return frozenset(self.chunk.shape.calls)

    @cached_property
    def called(self) -> frozenset[str]:
        """The names of what it calls, without modules and objects."""
        return frozenset(re.split(r"[.:]", call)[-1] for call in self.calls)

    @cached_property
    def shingle_set(self) -> frozenset[tuple[str, ...]]:
        """Its runs of tokens, by which texts are compared."""
        return shingles(self.code)

    @cached_property
    def split_position(self) -> float:
        """A number from 0 to 1 that the path alone decides: the same in every run, for all of a file."""
        return int(sha256(self.chunk.path.encode("utf-8", "replace")).hexdigest()[:8], 16) / 0xFFFFFFFF

    @property
    def function_key(self) -> FunctionKey:
        """By what it is known from one version to the next."""
        return self.chunk.path, self.chunk.name

    @property
    def place(self) -> str:
        """Its place, as `path:line`."""
        at = f"{self.chunk.path}:{self.chunk.start_line}"
        return f"{at} (earlier)" if self.earlier else at


def select_samples(chunks: Iterable[Chunk], kinds: frozenset[str] = FUNCTION_KINDS) -> list[FunctionSample]:
    """The samples of these kinds among the chunks, each text once: a copy could be on both sides of a split.

    Of copies the one stays whose file has the lowest share, so that what is held out stays held out.
    """
    found: dict[str, FunctionSample] = {}
    for chunk in chunks:
        if chunk.kind not in kinds or chunk.part > 1 or chunk.language not in TRAINED_LANGUAGES:
            continue
        code = strip_documentation(chunk.language, chunk.text)
        if code.count("\n") + 1 >= MIN_FUNCTION_LINES:
            sample, essence = FunctionSample(chunk, code), normalize_layout(code)
            if essence not in found or sample.split_position < found[essence].split_position:
                found[essence] = sample
    return list(found.values())


def rename_identifiers(language: str, code: str, own: str) -> str:
    """The code with the name `own`, the names that it binds and those that it calls without a module replaced.

    Empty when fewer than two names could be.
    """
    found = tokenize(language, code)
    significant = [at for at, token in enumerate(found) if token.kind not in {"space", "newline", "comment"}]
    qualifiers = _ERLANG_QUALIFIERS if language == "erlang" else _QUALIFIERS
    calls = _unqualified_calls(found, significant, qualifiers)
    names = list(dict.fromkeys([own, *read_local_names(language, code), *calls]))
    neutral = {
        name: f"{_PLACEHOLDER_NAMES[at % len(_PLACEHOLDER_NAMES)]}{at // len(_PLACEHOLDER_NAMES) or ''}"
        for at, name in enumerate(names)
    }
    texts = [token.text for token in found]
    before = ""
    for at in significant:
        if found[at].kind == "name" and before not in qualifiers:
            texts[at] = neutral.get(texts[at], texts[at])
        elif found[at].kind == "string":
            texts[at] = rename_locals(texts[at], language, neutral)
        before = found[at].text
    return "".join(texts) if len(names) >= 2 else ""


def _unqualified_calls(found: Sequence[Token], significant: Sequence[int], qualifiers: frozenset[str]) -> Iterable[str]:
    """Names before an opening bracket without a module or object before them."""
    for before, at, after in zip([-1, *significant], significant, significant[1:], strict=False):
        token = found[at]
        called = token.kind == "name" and found[after].text == "(" and found[after].start == token.end
        if called and (before < 0 or found[before].text not in qualifiers):
            yield token.text


def strip_documentation(language: str, text: str) -> str:
    """The text without documentation, specifications and comments."""
    kept: list[str] = []
    skipping = False
    for token in tokenize(language, text):
        if language == "elixir" and token.kind == "attribute" and token.text in _DOC_ATTRIBUTES:
            skipping = True
        elif skipping and token.kind == "keyword" and token.text.startswith("def"):
            skipping = False
        if not skipping and token.kind != "comment":
            kept.append(token.text)
    lines = [line.rstrip() for line in "".join(kept).splitlines()]
    return "\n".join(line for line in lines if line).strip()


def split_by_file(
    samples: Sequence[FunctionSample], held_out: float
) -> tuple[list[FunctionSample], list[FunctionSample]]:
    """(to train on, held out): whole files go to one side, by the hash of their path."""
    train_samples = [sample for sample in samples if sample.split_position >= held_out]
    return train_samples, [sample for sample in samples if sample.split_position < held_out]


def changed_code(sample: FunctionSample, text: str) -> str:
    """The bare code of another text of a sample; empty where it is the same, or empty."""
    code = strip_documentation(sample.chunk.language, text)
    return code if normalize_layout(code) != normalize_layout(sample.code) else ""


def normalize_layout(code: str) -> str:
    """The code without blanks and signs: the same where only the layout differs."""
    return re.sub(r"\W+", "", code)


NEAR_DUPLICATE_OVERLAP = 0.8
"""Token runs in common from which on two texts are the same text in a training set."""

MAX_NEGATIVE_CALL_OVERLAP = 0.1
"""Negatives have a smaller part than this of their calls in common."""

MAX_NEGATIVE_TEXT_OVERLAP = 0.15
"""And less than this of their token runs: similar text does similar things."""

LANGUAGE_FAMILIES = {"elixir": BEAM, "erlang": BEAM, "cpp": CPP, "c": CPP}
_STOP_WORDS = frozenset({"get", "set", "do", "is", "to", "of", "the", "and", "for", "with", "from", "this", "that"})
_VERB_SYNONYMS = (
    "get fetch load read find lookup take",
    "create new build make generate construct",
    "delete remove drop clear erase unset pop",
    "update put set change replace modify assign",
    "validate check verify ensure assert",
    "parse decode deserialize cast load",
    "encode serialize dump render format print",
    "start init open setup begin connect",
    "stop close terminate finish shutdown disconnect",
    "send dispatch publish notify emit broadcast push",
    "process run execute perform call",
    "add append insert register",
    "list all each",
)
"""Verbs that name one role; after each other on a line they are used for one another."""


def shared_pattern(one: FunctionSample, other: FunctionSample) -> str:
    """Why two samples share a pattern; empty when they do not.

    version, callback, role, synonym, documentation, structure or uses; across languages vocabulary.
    """
    if one is other or is_earlier_version(one, other):
        return "" if one is other else "version"
    if one.earlier or other.earlier or one.chunk.path == other.chunk.path:
        return ""
    if language_family(one) != language_family(other):
        return "vocabulary" if _same_vocabulary(one, other) else ""
    return next((kind for kind, holds in _PATTERNS if holds(one, other)), "")


def is_earlier_version(one: FunctionSample, other: FunctionSample) -> bool:
    """Whether the other is an earlier text of the same function."""
    a, b = one.chunk, other.chunk
    return other.earlier and not one.earlier and (a.path, a.name) == (b.path, b.name)


def is_negative(one: FunctionSample, other: FunctionSample) -> bool:
    """Whether two samples of two files share no pattern by any sign."""
    return one.chunk.path != other.chunk.path and is_dissimilar(one, other)


def is_dissimilar(one: FunctionSample, other: FunctionSample) -> bool:
    """Whether two samples, of one file or two, differ in role, words of the name, calls, callbacks and text."""
    a, b = one.chunk, other.chunk
    if other.earlier or shared_pattern(one, other) or shared_pattern(other, one):
        return False
    if (
        informative_words(one.role) & informative_words(other.role)
        or _calls_by_name(one, other)
        or _calls_by_name(other, one)
    ):
        return False
    if (
        a.shape.callbacks
        and b.shape.callbacks
        and (_callback_owners(one) & _callback_owners(other) or one.role == other.role)
    ):
        return False
    return (
        _jaccard(one.calls, other.calls) < MAX_NEGATIVE_CALL_OVERLAP
        and _jaccard(one.shingle_set, other.shingle_set) < MAX_NEGATIVE_TEXT_OVERLAP
    )


def is_near_duplicate(one: FunctionSample, other: FunctionSample) -> bool:
    """Whether two samples are nearly the same text."""
    return _jaccard(one.shingle_set, other.shingle_set) >= NEAR_DUPLICATE_OVERLAP


def language_family(sample: FunctionSample) -> str:
    """BEAM for Elixir and Erlang, CPP for C and C++, which share their headers."""
    return LANGUAGE_FAMILIES.get(sample.chunk.language, sample.chunk.language)


@lru_cache(maxsize=100_000)
def informative_words(name: str) -> frozenset[str]:
    """The informative words of a name or a sentence, in lower case."""
    words = (word.lower() for word in split_identifier(name) if len(word) > 1 and word.isalpha())
    return frozenset(words) - _STOP_WORDS


def _same_callback(one: FunctionSample, other: FunctionSample) -> bool:
    """The same callback of one behaviour: `init/1` of a server and of a plug are two."""
    shared = set(one.chunk.shape.callbacks) & set(other.chunk.shape.callbacks)
    return one.role == other.role and bool(shared) and bool(_callback_owners(one) & _callback_owners(other))


def _callback_owners(sample: FunctionSample) -> set[str]:
    """What a callback may belong to: the behaviours and the used modules around it."""
    return {*sample.chunk.shape.behaviours, *sample.chunk.shape.uses}


def _same_role(one: FunctionSample, other: FunctionSample) -> bool:
    """The same name and arity in another module; a name of one word needs calls in common as well."""
    if one.role != other.role or not informative_words(one.role):
        return False
    return len(informative_words(one.role)) > 1 or bool(_shared_calls(one, other))


def _same_role_by_synonym(one: FunctionSample, other: FunctionSample) -> bool:
    """`fetch_user/1` and `load_user/1`: verbs for one another, the other words the same."""
    a, b = informative_words(one.role), informative_words(other.role)
    verbs = a ^ b
    renamed = len(a & b) >= 1 and len(verbs) == 2 and len(a) == len(b) and any(verbs <= each for each in _VERB_SETS)
    return renamed and bool(_shared_calls(one, other))


def _same_documentation(one: FunctionSample, other: FunctionSample) -> bool:
    a, b = informative_words(one.sentence), informative_words(other.sentence)
    return len(a & b) >= 4 and _jaccard(a, b) >= 0.6


def _same_structure(one: FunctionSample, other: FunctionSample) -> bool:
    a, b = one.chunk.shape, other.chunk.shape
    same = len(a.control) >= 2 and a.control == b.control
    return same and len(_shared_calls(one, other)) >= 2 and _jaccard(one.calls, other.calls) >= 0.3


def _same_uses(one: FunctionSample, other: FunctionSample) -> bool:
    a, b = one.chunk.shape, other.chunk.shape
    enough = len(_shared_calls(one, other)) >= 3 and _jaccard(one.calls, other.calls) >= 0.5
    return enough and bool(set(a.uses) & set(b.uses))


_PATTERNS = (
    ("callback", _same_callback),
    ("role", _same_role),
    ("synonym", _same_role_by_synonym),
    ("documentation", _same_documentation),
    ("structure", _same_structure),
    ("uses", _same_uses),
)
_VERB_SETS = tuple(frozenset(line.split()) for line in _VERB_SYNONYMS)


def _same_vocabulary(one: FunctionSample, other: FunctionSample) -> bool:
    """Across languages: the same words in the name, or a word of the name and several of the calls."""
    names = informative_words(one.role) & informative_words(other.role)
    if len(names) >= 2 or (names and informative_words(one.role) == informative_words(other.role)):
        return True
    return bool(names) and len(_words_of_calls(one.calls) & _words_of_calls(other.calls)) >= 3


def _calls_by_name(one: FunctionSample, other: FunctionSample) -> bool:
    """Whether one calls the other by its name: a function and its helper are no negatives."""
    return other.bare_name in one.called


@lru_cache(maxsize=100_000)
def _words_of_calls(calls: frozenset[str]) -> frozenset[str]:
    return frozenset(word for call in calls for word in informative_words(call))


def _shared_calls(one: FunctionSample, other: FunctionSample) -> frozenset[str]:
    return one.calls & other.calls


def _jaccard(one: AbstractSet[object], other: AbstractSet[object]) -> float:
    """Jaccard similarity of two sets."""
    common = len(one & other)
    return common / (len(one) + len(other) - common) if common else 0.0
