"""Rejects guesses that cannot be right at the cursor, however often the repository has them.

In comments and docs: anything but words, anything behind a finished sentence, licence texts. There and in strings: a
word twice in a row. In code: prose, names that
are bound nowhere, lines that occur close by, calls with a number of arguments that the repository never uses. Every
rule looks at text and tokens alone and passes what it cannot judge.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from codekin.completion.context import CursorPosition
from codekin.completion.corpus_snapshot import LICENCE, Corpus
from codekin.completion.ngrams import FILE_BOUNDARY, ngram_hash
from codekin.parsing import CursorContext, Token, tokenize
from codekin.parsing.tokens import read_bound_names

NEARBY_LINES = 5
"""Lines above and below the cursor that a suggestion may not repeat."""

MIN_REPEATED_CHARACTERS = 7
"""A line as short as `else` or `break;` may occur several times close by."""

MIN_PROSE_WORDS = 4
SCOPE_LINES = 150
"""Lines above the cursor in which a function's head is looked for."""

MIN_OBSERVED_CALLS = 2
MAX_OBSERVED_CALLS = 32
MAX_CALL_TOKENS = 80

_SENTENCE_END = re.compile(r"[.!?][\"'`)\]]*\s*\Z")
_CODE_IN_PROSE = re.compile(
    r"[{}\[\]=<>|\\^~$;@#\"]|::|->|\w\(|\)\.|\w[/.]\w+[/.]\w|[a-z]\.[a-z]|[a-z]_[a-z]|[a-z][A-Z]|\b[A-Z][a-z]+[A-Z]"
)
_LETTER = re.compile(r"[^\W\d_]")
_MISQUOTED = re.compile(r"\w\"\"")
"""A text that closes a string twice."""
_LAST_WORD = re.compile(r"\b([^\W\d_]{3,}) *\Z")
_FIRST_WORD = re.compile(r" *([^\W\d_]{3,})\b")
_BACKTICKED = re.compile(r"`[^`]*`")
_COMMON_LINE = re.compile(
    r"\W*(?:end|else|do|break|continue|return|@impl \w[\w.]*|@doc false|use \w.*|private:|public:)?\W*\Z"
)
_HEAD = re.compile(r"^[ \t]*(?:def\w*|test|describe|setup\w*|property|feature|fn)\b", re.MULTILINE)
_DEFINED = re.compile(r"\bdef\w*\s+([a-z_]\w*[?!]?)")
_UNBOUND_LINE = re.compile(r"\s*(?:def\w*|when|@(?:spec|type\w*|opaque|callback|macrocallback)|assert_receive\w*)\b")
_C_LANGUAGES = frozenset({"cpp", "c"})
_ARGUMENT_OPENERS = frozenset(
    {"(", ",", "=", "==", "!=", "+", "-", "/", "<>", "++", "&&", "||", "|>", "return", ":", "?"}
)
_ARGUMENT_CLOSERS = frozenset(
    {")", ",", ";", "]", "}", "+", "-", "/", "==", "!=", "<>", "++", "&&", "||", "|>", "do", "?"}
)
_C_GLOBALS = frozenset({"errno", "stdin", "stdout", "stderr", "this", "nullptr", "true", "false", "npos", "std"})


def has_evidence(corpus: Corpus, path: str) -> bool:
    """Whether the corpus holds any file besides the one at `path`: its own text alone is no evidence."""
    return any(other != path for other in corpus.base.paths) or any(
        len(tokens) for other, tokens in corpus.changed.items() if other != path
    )


@dataclass(frozen=True)
class CursorPlace:
    """A cursor with its syntactic context and the corpus around it; what the rules read of it is read once."""

    corpus: Corpus
    cursor: CursorPosition
    context: CursorContext

    def is_plausible(self, text: str) -> bool:
        """Whether the rest of a line may be shown here."""
        if self.is_prose:
            return not self._is_absurd_in_prose(text)
        if self.context.kind == "string":
            return not (_MISQUOTED.search(text) or self._repeats_word(text))
        return not (
            self.context.kind == "code"
            and (
                _reads_as_prose(self._tokens_of(text))
                or self._repeats_nearby(text)
                or self._uses_unbound_name(text)
                or self._miscounts_arguments(text)
            )
        )

    @cached_property
    def is_prose(self) -> bool:
        """Whether the cursor is in a comment, or in a string that was opened on an earlier line, such as a doc."""
        if self.context.kind == "comment":
            return True
        opened_here = any(mark in self.cursor.line_before for mark in "\"'")
        return self.context.kind == "string" and not opened_here

    def _is_absurd_in_prose(self, text: str) -> bool:
        """Behind a finished sentence, or anything but words, or of a licence."""
        before = self.cursor.line_before
        return bool(
            _SENTENCE_END.search(before)
            or _CODE_IN_PROSE.search(_BACKTICKED.sub("", text))
            or (before + text).count("`") % 2
            or not _LETTER.search(text)
            or self._repeats_word(text)
            or LICENCE.search(before + text)
        )

    def _repeats_word(self, text: str) -> bool:
        """Whether the text begins with the very word that stands before the cursor."""
        before, first = _LAST_WORD.search(self.cursor.line_before), _FIRST_WORD.match(text)
        return bool(before and first and before[1] == first[1])

    def _tokens_of(self, text: str) -> list[Token]:
        """The tokens of the completed line, without blanks and comments."""
        line = self.cursor.line_before + text
        found = tokenize(self.cursor.language, line)
        return [token for token in found if token.kind not in {"space", "newline", "comment"}]

    def _repeats_nearby(self, text: str) -> bool:
        """Whether the completed line already occurs within a few lines."""
        line = (self.cursor.line_before + text).strip()
        return len(line) >= MIN_REPEATED_CHARACTERS and not _COMMON_LINE.match(line) and line in self._nearby_lines

    @cached_property
    def _nearby_lines(self) -> frozenset[str]:
        above = self.cursor.prefix.split("\n")[-1 - NEARBY_LINES : -1]
        below = self.cursor.suffix.split("\n")[1 : 1 + NEARBY_LINES]
        return frozenset(line.strip() for line in (*above, *below))

    @cached_property
    def _document_words(self) -> frozenset[str]:
        return frozenset(re.findall(r"\w+[?!]?", self.cursor.prefix + " " + self.cursor.suffix))

    def _uses_unbound_name(self, text: str) -> bool:
        """Whether an argument is a bare lower-case name that nothing in sight binds."""
        if self.cursor.language not in {"elixir", *_C_LANGUAGES} or _UNBOUND_LINE.match(self.cursor.line_before + text):
            return False
        tokens = self._tokens_of(text + self.cursor.line_after)
        span = len(self.cursor.line_before), len(self.cursor.line_before) + len(text)
        names = [tokens[at].text for at in _bare_arguments(tokens) if span[0] < tokens[at].end <= span[1]]
        unbound = {name for name in names if name not in self._names_in_sight}
        return bool(unbound) and bool(unbound - set(_bound_on_line(self.cursor.language, tokens)))

    @cached_property
    def _names_in_sight(self) -> frozenset[str]:
        """Names that may be used bare: for C and C++ all of the file and of its header, else the function's."""
        if self.cursor.language in _C_LANGUAGES:
            return self._document_words | self._partner_words | _C_GLOBALS
        before = "\n".join(self.cursor.prefix.split("\n")[-SCOPE_LINES:])
        head = max((match.start() for match in _HEAD.finditer(before)), default=0)
        function = tokenize(self.cursor.language, before[head:])
        defined = _DEFINED.findall(self.cursor.prefix + self.cursor.suffix)
        return frozenset((*self.context.names, *_bare_names(function), *defined))

    @cached_property
    def _partner_words(self) -> frozenset[str]:
        """Words of the files of the same stem: a source's header."""
        name = f"/{self.cursor.path.rpartition('/')[2].partition('.')[0]}."
        partners = [path for path in self.corpus.base.paths if name in f"/{path}"]
        texts, found = self.corpus.vocabulary.texts, set[str]()
        for path in partners:
            found |= {texts[token].strip() for token in np.unique(self.corpus.tokens_of(path)).tolist()}
        return frozenset(found)

    def _miscounts_arguments(self, text: str) -> bool:
        """Whether `Module.function(…)` has a number of arguments that no call in the repository has."""
        if self.cursor.language != "elixir":
            return False
        start = len(self.cursor.line_before)
        words = [token.text for token in self._tokens_of(text)]
        ends = [token.end for token in self._tokens_of(text)]
        return any(
            count not in known
            for at, count in _module_calls(words)
            if ends[at] > start and len(known := self._observed_arities(words[at - 2], words[at])) and count >= 0
        )

    def _observed_arities(self, module: str, function: str) -> frozenset[int]:
        """Numbers of arguments of the calls of a module's function; empty where too few are known."""
        vocabulary, base = self.corpus.vocabulary, self.corpus.base
        tokens = [vocabulary.known(word) for word in (".", function, "(")]
        if None in tokens or not len(base.paths):
            return frozenset()
        positions = base.tables[2].find(ngram_hash(np.array(tokens, np.uint32)))[:MAX_OBSERVED_CALLS]
        counts = []
        for position in positions.tolist():
            read = base.tokens[max(0, position - 12) : position + MAX_CALL_TOKENS].tolist()
            words = [vocabulary.texts[token].strip() for token in read if token != FILE_BOUNDARY]
            words = [word for word in words if word and not word.startswith("\0")]
            counts += [
                count
                for at, count in _module_calls(words)
                if words[at] == function and words[at - 2] == module and count >= 0
            ][:1]
        return frozenset(counts) if len(counts) >= MIN_OBSERVED_CALLS else frozenset()


def _reads_as_prose(tokens: Sequence[Token]) -> bool:
    """Whether a line has a run of plain words, or ends as a sentence does."""
    run = longest = 0
    for before, token in zip([None, *tokens], tokens, strict=False):
        is_apart = before is None or before.end < token.start
        run = (run + 1 if is_apart else 1) if token.kind == "name" else 0
        longest = max(longest, run)
    ends_as_sentence = len(tokens) > 1 and tokens[-1].text == "." and tokens[-2].kind in {"name", "keyword"}
    return longest >= MIN_PROSE_WORDS or ends_as_sentence


def _bare_arguments(tokens: Sequence[Token]) -> Iterator[int]:
    """Positions of lower-case names that are a whole argument."""
    for at, token in enumerate(tokens):
        if token.kind != "name" or not (token.text[0].islower()) or token.text.endswith("_t"):
            continue
        before = tokens[at - 1].text if at else ""
        after = tokens[at + 1].text if at + 1 < len(tokens) else ")"
        if before in _ARGUMENT_OPENERS and after in _ARGUMENT_CLOSERS:
            yield at


def _bare_names(tokens: Sequence[Token]) -> Iterator[str]:
    """Bare names, neither a member nor a call."""
    for at, token in enumerate(tokens):
        called = at + 1 < len(tokens) and tokens[at + 1].text == "("
        if token.kind == "name" and not called and (not at or tokens[at - 1].text not in {".", "->", "::", "&"}):
            yield token.text


def _bound_on_line(language: str, tokens: Sequence[Token]) -> Iterator[str]:
    """Names that the line itself binds, or has twice."""
    yield from read_bound_names(language, tokens)
    bare = list(_bare_names(tokens))
    words = [token.text for token in tokens]
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        is_bound = after in {"in", "=", "<-", "->"} or before in {"fn", "["}
        if is_bound or bare.count(word) > 1:
            yield word


def _module_calls(words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Positions of functions that are called on a module, with their number of arguments; -1 for a call left open.

    A pipe before the module adds an argument; a capture and a call without brackets are no calls here.
    """
    for at in range(2, len(words) - 1):
        if words[at - 1] == "." and words[at + 1] == "(" and words[at - 2][:1].isupper():
            start = at - 2
            while start >= 2 and words[start - 1] == "." and words[start - 2][:1].isupper():
                start -= 2
            piped = start > 0 and words[start - 1] == "|>"
            count = _count_arguments(words[at + 2 :])
            yield at, count + piped if count >= 0 else -1


def _count_arguments(words: Sequence[str]) -> int:
    """The number of arguments up to the closing bracket; -1 where it is missing or a block makes commas ambiguous."""
    depth, commas = 1, 0
    for at, word in enumerate(words):
        if word in {"fn", "do"}:
            return -1
        depth += (word in {"(", "[", "{", "<<"}) - (word in {")", "]", "}", ">>"})
        if not depth:
            return commas + 1 if at else 0
        commas += depth == 1 and word == ","
    return -1
