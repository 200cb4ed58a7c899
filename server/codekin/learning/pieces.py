"""The code that is learned from: whole functions of a workspace, and other ways to write each.

A piece is a function, method or macro with something in it. Its views are texts that mean the
same: its code without its documentation, the first sentence of that documentation, the words
of its name, its code under other names, its two halves. Knows nothing of vectors.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from codekin.index.tokens import shingles
from codekin.records import Fragment
from codekin.syntax import Token, local_names, rename_locals, tokens

KINDS = frozenset({"function", "macro", "method", "constructor", "operator", "delegate"})
TESTS = frozenset({"test"})
LANGUAGES = frozenset({"elixir", "cpp", "c"})
LEAST_LINES = 3
LONGEST_SENTENCE = 400
_DOC_ATTRIBUTES = frozenset({"@doc", "@moduledoc", "@typedoc", "@spec", "@impl", "@since", "@deprecated"})
_OF_A_MODULE = frozenset({".", "->", "::"})

Known = tuple[str, str]
"""By what a function is known from one version to the next: the path of its file and its qualified name."""

_NEUTRAL = ("alpha", "beta", "gamma", "delta", "kappa", "sigma", "omega", "theta")


@dataclass(frozen=True)
class Piece:
    """A function and where it stands; `code` is its text without documentation and comments.

    An `earlier` piece is what a function was before an edit: it stands where that one stands today.
    """

    fragment: Fragment
    code: str
    earlier: bool = False

    @cached_property
    def role(self) -> str:
        """The name without its module, with its arity: what is the same in another module."""
        return re.split(r"\.(?=[^.]*$)|::(?=[^:]*$)", self.fragment.name)[-1]

    @cached_property
    def sentence(self) -> str:
        """The first paragraph of the documentation; empty when there is none to speak of."""
        first = re.split(r"\n\s*\n", self.fragment.doc.strip(), maxsplit=1)[0]
        text = " ".join(first.split())[:LONGEST_SENTENCE]
        return text if len(text.split()) >= 4 else ""

    @cached_property
    def words(self) -> str:
        """The words of the qualified name, in lower case."""
        name = re.sub(r"/\d+$", "", self.fragment.name)
        return " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)).lower()

    @cached_property
    def renamed(self) -> str:
        """The code with every name changed that its author chose: its own, its variables, the functions near it."""
        return with_other_names(self.fragment.language, self.code, self.own_name)

    @cached_property
    def nameless(self) -> str:
        """The code without its own name."""
        return re.sub(rf"(?<![\w@:]){re.escape(self.own_name)}(?!\w)", "f", self.code) if self.own_name else self.code

    @cached_property
    def own_name(self) -> str:
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
        return frozenset(self.fragment.shape.calls)

    @cached_property
    def called(self) -> frozenset[str]:
        """The names of what it calls, without modules and objects."""
        return frozenset(re.split(r"[.:]", call)[-1] for call in self.calls)

    @cached_property
    def runs(self) -> frozenset[tuple[str, ...]]:
        """Its runs of tokens, by which texts are compared."""
        return shingles(self.code)

    @cached_property
    def share(self) -> float:
        """A number from 0 to 1 that the path alone decides: the same every night, for all of a file."""
        return int(sha256(self.fragment.path.encode("utf-8", "replace")).hexdigest()[:8], 16) / 0xFFFFFFFF

    @property
    def known(self) -> Known:
        """By what it is known from one version to the next."""
        return self.fragment.path, self.fragment.name

    @property
    def place(self) -> str:
        """Where it stands, as `path:line`."""
        at = f"{self.fragment.path}:{self.fragment.start_line}"
        return f"{at} (earlier)" if self.earlier else at


def pieces_of(fragments: Iterable[Fragment], kinds: frozenset[str] = KINDS) -> list[Piece]:
    """The pieces of these kinds among the fragments, each text once: a copy would stand on both sides of a split.

    Of copies the one stays whose file has the lowest share, so that what is held out stays held out.
    """
    found: dict[str, Piece] = {}
    for fragment in fragments:
        if fragment.kind not in kinds or fragment.part > 1 or fragment.language not in LANGUAGES:
            continue
        code = bare_code(fragment.language, fragment.text)
        if code.count("\n") + 1 >= LEAST_LINES:
            piece, essence = Piece(fragment, code), letters(code)
            if essence not in found or piece.share < found[essence].share:
                found[essence] = piece
    return list(found.values())


def with_other_names(language: str, code: str, own: str) -> str:
    """The code with the name `own`, the names that it binds and those that it calls without a module replaced.

    Empty when fewer than two names could be.
    """
    found = tokens(language, code)
    telling = [at for at, token in enumerate(found) if token.kind not in {"space", "newline", "comment"}]
    names = list(dict.fromkeys([own, *local_names(language, code), *_called(found, telling)]))
    neutral = {name: f"{_NEUTRAL[at % len(_NEUTRAL)]}{at // len(_NEUTRAL) or ''}" for at, name in enumerate(names)}
    texts = [token.text for token in found]
    before = ""
    for at in telling:
        if found[at].kind == "name" and before not in _OF_A_MODULE:
            texts[at] = neutral.get(texts[at], texts[at])
        elif found[at].kind == "string":
            texts[at] = rename_locals(texts[at], language, neutral)
        before = found[at].text
    return "".join(texts) if len(names) >= 2 else ""


def _called(found: Sequence[Token], telling: Sequence[int]) -> Iterable[str]:
    """Names before an opening bracket that no module or object stands before."""
    for before, at, after in zip([-1, *telling], telling, telling[1:], strict=False):
        token = found[at]
        called = token.kind == "name" and found[after].text == "(" and found[after].start == token.end
        if called and (before < 0 or found[before].text not in _OF_A_MODULE):
            yield token.text


def bare_code(language: str, text: str) -> str:
    """The text without documentation, specifications and comments."""
    kept: list[str] = []
    skipping = False
    for token in tokens(language, text):
        if language == "elixir" and token.kind == "attribute" and token.text in _DOC_ATTRIBUTES:
            skipping = True
        elif skipping and token.kind == "keyword" and token.text.startswith("def"):
            skipping = False
        if not skipping and token.kind != "comment":
            kept.append(token.text)
    lines = [line.rstrip() for line in "".join(kept).splitlines()]
    return "\n".join(line for line in lines if line).strip()


def split(pieces: Sequence[Piece], held_out: float) -> tuple[list[Piece], list[Piece]]:
    """(to learn from, held out): whole files go to one side, by the hash of their path."""
    learned = [piece for piece in pieces if piece.share >= held_out]
    return learned, [piece for piece in pieces if piece.share < held_out]


def other_code(piece: Piece, text: str) -> str:
    """The bare code of another text of a piece; empty where it says the same, or nothing."""
    code = bare_code(piece.fragment.language, text)
    return code if letters(code) != letters(piece.code) else ""


def letters(code: str) -> str:
    """The code without blanks and signs: the same where only the layout differs."""
    return re.sub(r"\W+", "", code)
