"""The prompt of a generator: snippets of other files, the text before the cursor and, for infilling, the text after it.

Similar snippets share rare words with the text around the cursor, or are found by vectors in the background; the
definitions of names in use come beside them. A snippet that largely repeats the surrounding text is left out, since it
makes a generator repeat it. Typing changes only the end of a prompt, so cached prefixes stay valid: snippets are chosen
by the surrounding lines, cuts move in steps, and the suffix comes first where the model was trained that way.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codekin.completion.context import CompletionContext, CursorPosition, read_context
from codekin.completion.corpus_snapshot import Corpus
from codekin.completion.matches import ContextMatches, find_matches
from codekin.completion.ngrams import FILE_BOUNDARY, CorpusSegment, TokenVocabulary, ngram_hash
from codekin.parsing import LANGUAGES
from codekin.protocols import FileOrigin

if TYPE_CHECKING:
    from codekin.models.generation.prompts import TokenGenerator


MIN_SIMILARITY = 0.35
MAX_SHARED_RATIO = 0.5
LINES_BEFORE, LINES_AFTER = 6, 8
CHARACTERS_BEFORE, CHARACTERS_AFTER = 3000, 1500
"""Characters that count as a cursor's surroundings."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """A few lines of another file; `similarity` is between 0 and 1."""

    path: str
    text: str
    similarity: float


def find_snippets(corpus: Corpus, cursor: CursorPosition, most: int = 3) -> list[Snippet]:
    """The best few snippets for a gap, best first; none where nothing is near enough."""
    context = read_context(corpus.vocabulary, cursor)
    ranked = sorted(_scored_positions(find_matches(corpus, context), context), key=lambda found: -found[0])
    chosen: dict[tuple[str, int], Snippet] = {}
    for similarity, segment, position in ranked[: most * 8]:
        path = segment.paths[int(segment.files_at(np.array([position]))[0])]
        text = _lines_around(corpus, segment, position)
        key = (path, position // 200)
        if path != cursor.path and key not in chosen and shared_line_ratio(text, cursor) <= MAX_SHARED_RATIO:
            chosen[key] = Snippet(path, text, similarity)
        if len(chosen) == most:
            break
    return list(chosen.values())


def as_comments(language: str, snippets: Sequence[Snippet]) -> str:
    """The snippets as comments of a language, the best one last, next to the code."""
    row = LANGUAGES.get(language)
    mark = row.line_comment if row else "#"
    lines = []
    for snippet in reversed(snippets):
        lines += [f"{mark} Compare this snippet from {snippet.path}:"]
        lines += [f"{mark} {line}".rstrip() for line in snippet.text.split("\n")]
    return "".join(f"{line}\n" for line in lines)


def _scored_positions(
    matches: Sequence[ContextMatches], context: CompletionContext
) -> list[tuple[float, CorpusSegment, int]]:
    """Places with the mean of their likenesses before and behind, from the gate on."""
    found = []
    for part in matches:
        if part.segment is context.document:
            continue
        similarity = (part.similarity_before + part.similarity_after) / 2
        near = np.flatnonzero(similarity >= MIN_SIMILARITY).tolist()
        found += [(float(similarity[at]), part.segment, int(part.positions[at])) for at in near]
    return found


def _lines_around(corpus: Corpus, segment: CorpusSegment, position: int) -> str:
    """The lines around a place, indented by their steps, from the outermost of them."""
    at = int(np.searchsorted(segment.breaks, position, "right"))
    file = int(segment.files_at(np.array([position]))[0])
    low = int(np.searchsorted(segment.breaks, segment.starts[file], "right"))
    high = int(np.searchsorted(segment.breaks, segment.starts[file + 1]))
    first, last = max(low, at - LINES_BEFORE), min(high, at + LINES_AFTER)
    positions = segment.breaks[first : last + 1].tolist()
    depth = 0
    rows: list[tuple[int, str]] = []
    for start, end in pairwise(positions):
        token = int(segment.tokens[start])
        if token < FILE_BOUNDARY and rows:
            depth += token % 3 - 1
        rows.append((depth, corpus.vocabulary.join(segment.tokens[start + 1 : end].tolist())))
    outermost = min((depth for depth, _ in rows), default=0)
    return "\n".join("  " * (depth - outermost) + text for depth, text in rows)


def shared_line_ratio(text: str, cursor: CursorPosition) -> float:
    """The share of a snippet's lines that surround the cursor."""
    here = (cursor.prefix[-CHARACTERS_BEFORE:] + cursor.suffix[:CHARACTERS_AFTER]).split("\n")
    around = {line.strip() for line in here}
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return sum(line in around for line in lines) / max(1, len(lines))


OPENERS: Mapping[str, tuple[str, ...]] = {
    "elixir": ("def", "defmacro", "defdelegate", "defguard"),
    "python": ("def", "class"),
    "cpp": ("class", "struct", "enum"),
    "c": ("struct", "enum"),
}
"""Words before a name at its definition."""

NAME_LOOKBACK = 120
"""Tokens before the cursor whose names are looked up."""

MAX_DEFINITION_TOKENS = 60
MAX_DEFINITION_POSITIONS = 64


def find_definitions(corpus: Corpus, cursor: CursorPosition, most: int = 6) -> list[Snippet]:
    """The first lines of definitions of names in use before the cursor, those used last first."""
    context = read_context(corpus.vocabulary, cursor)
    found: list[Snippet] = []
    for name in _names_in_use(corpus.vocabulary, context.before[-NAME_LOOKBACK:]):
        if found_here := next(_definitions(corpus, cursor, name), None):
            found.append(found_here)
        if len(found) == most:
            break
    return found


def _names_in_use(vocabulary: TokenVocabulary, tokens: NDArray[np.uint32]) -> list[str]:
    """Types, and names that are called, the last one first, each once; two letters are too common."""
    opening = vocabulary.known("(")
    is_called = np.append(tokens[1:] == opening, True)
    positions = np.flatnonzero(vocabulary.traits["is_name"][tokens])[::-1].tolist()
    words = [(vocabulary.texts[int(tokens[at])].removeprefix(" "), bool(is_called[at])) for at in positions]
    chosen = (word for word, called in words if len(word) > 2 and (called or word[0].isupper()))
    return list(dict.fromkeys(chosen))


def _definitions(corpus: Corpus, cursor: CursorPosition, name: str) -> Iterator[Snippet]:
    """Definitions of a name in other files, the nearest file's first."""
    token = corpus.vocabulary.known(" " + name)
    if token is None or not corpus.base.paths:
        return
    positions: list[int] = []
    for opener in OPENERS.get(cursor.language, ()):
        for first in (corpus.vocabulary.known(opener), corpus.vocabulary.known(" " + opener)):
            if first is not None:
                positions += corpus.base.tables[1].find(ngram_hash(np.array([first, token], np.uint32))).tolist()
    center = corpus.position_of(cursor.path)
    for position in sorted(positions[:MAX_DEFINITION_POSITIONS], key=lambda at: abs(at - center)):
        file = int(corpus.base.files_at(np.array([position]))[0])
        line = _line_text(corpus, position)
        begins = line.startswith(tuple(f"{opener} " for opener in OPENERS[cursor.language]))
        if (
            begins
            and not line.endswith(";")
            and not corpus.is_outdated[file]
            and corpus.base.paths[file] != cursor.path
        ):
            yield Snippet(corpus.base.paths[file], line, 1.0)


def _line_text(corpus: Corpus, position: int) -> str:
    """The text of the line that holds a place."""
    breaks, tokens = corpus.base.breaks, corpus.base.tokens
    after = int(np.searchsorted(breaks, position, "right"))
    start, end = int(breaks[after - 1]) + 1, int(breaks[after])
    line = tokens[start : min(end, start + MAX_DEFINITION_TOKENS)]
    return corpus.vocabulary.join(line[line > FILE_BOUNDARY].tolist()).strip()


FindSimilar = Callable[[CursorPosition], Sequence[Snippet]]
"""Similar code in other files for the cursor, the best first; takes some ten milliseconds."""

REUSE_LINES = 10
"""Lines that a cursor may move from where its snippets were found."""

MAX_CACHED_FILES = 64


@dataclass(frozen=True, slots=True)
class _CachedSnippets:
    line: int
    snippets: tuple[Snippet, ...]


class SimilarSnippetCache:
    """The snippets of the files edited last; any thread may call."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, _CachedSnippets] = OrderedDict()

    def cached_near(self, cursor: CursorPosition) -> tuple[Snippet, ...] | None:
        """The cached result for this place or one nearby; None if there is none."""
        found = self._found.get(cursor.path)
        return found.snippets if found and abs(found.line - _line_number(cursor)) <= REUSE_LINES else None

    def get_or_find(self, cursor: CursorPosition, find: FindSimilar) -> tuple[Snippet, ...]:
        """What is near, found now if need be; without what is over half the same as the surroundings."""
        if (known := self.cached_near(cursor)) is not None:
            return known
        snippets = tuple(
            one
            for one in find(cursor)
            if one.path != cursor.path and shared_line_ratio(one.text, cursor) <= MAX_SHARED_RATIO
        )
        self._found[cursor.path] = _CachedSnippets(_line_number(cursor), snippets)
        while len(self._found) > MAX_CACHED_FILES:
            self._found.popitem(last=False)
        return snippets

    def paths(self, cursor: CursorPosition) -> frozenset[str]:
        """The files known to hold code similar to this place."""
        return frozenset(one.path for one in self.cached_near(cursor) or ())


def _line_number(cursor: CursorPosition) -> int:
    return cursor.prefix.count("\n")


CHARACTERS_PER_TOKEN = 3
CUT_STEP = 1024
"""Characters by which the beginning of a long text is cut: it then stays in place for as many keys."""

SNIPPET_SHARE, SUFFIX_SHARE = 4, 4
"""Snippets get at most a quarter of a prompt, and so does the text behind the cursor."""

MAX_PARTIAL_WORD = 60
LINE_TOKENS = 64
"""Tokens of the cursor's line after the gap's mark; room for them is kept, so that cuts stay in place."""

_PARTIAL_WORD = re.compile(r" ?\w*\Z")


@dataclass(frozen=True, slots=True)
class Prompt:
    """Ids to continue, and what the continuation begins with: the word that is being typed, with its blank."""

    ids: list[int]
    begins: str = ""


def make_prompt(
    generator: "TokenGenerator",
    cursor: CursorPosition,
    snippets: Sequence[Snippet] = (),
    *,
    most: int = 1024,
    repository: str = "",
) -> Prompt:
    """A prompt of about `most` ids, cut at line borders.

    Snippets are added as comments, or for StarCoder's family as files of the repository of that name. A model that
    cannot infill reads what is below the cursor before what is above: the names there are worth more than
    their order.
    """
    begins = partial_word(cursor.prefix)
    settled = cursor.prefix[: len(cursor.prefix) - len(begins)]
    if generator.model.infill == "starcoder":
        return Prompt(
            _repository_prompt(generator, replace(cursor, prefix=settled), snippets, most, repository), begins
        )
    remarks = _fit_lines(generator, as_comments(cursor.language, snippets), most // SNIPPET_SHARE)
    budget = most - len(remarks)
    if generator.model.infill:
        return Prompt(_gap_prompt(generator, replace(cursor, prefix=settled), remarks, most), begins)
    below = generator.vocabulary.encode_continuation(f"{_cut_suffix(cursor, budget).strip()}\n\n")[
        : budget // SUFFIX_SHARE
    ]
    budget -= len(below)
    read = _cut_ids(
        generator.vocabulary.encode_continuation(cut_prefix(settled, budget * CHARACTERS_PER_TOKEN)), budget
    )
    beginning = generator.prompt("") if generator.model.begin_id is not None else []
    return Prompt([*beginning, *remarks, *below, *read] or generator.prompt(""), begins)


def _gap_prompt(generator: "TokenGenerator", cursor: CursorPosition, remarks: list[int], most: int) -> list[int]:
    """Remarks and the text around the gap; what is typed is at the end, so that typing only adds to it.

    A family that never saw the suffix first fills a gap that begins with the line, of which the typed part is written.
    """
    line = "" if generator.puts_suffix_first else cursor.line_before
    written, budget = generator.vocabulary.encode_continuation(line)[-LINE_TOKENS:], most - len(remarks)
    before = cut_prefix(cursor.prefix[: len(cursor.prefix) - len(line)], budget * CHARACTERS_PER_TOKEN)
    text = generator.vocabulary.decode(remarks) + before
    room = most if generator.puts_suffix_first else max(most - LINE_TOKENS, most // 2)
    return [*generator.infill(text, _cut_suffix(cursor, budget), room, suffix_first=True), *written]


def _repository_prompt(
    generator: "TokenGenerator", cursor: CursorPosition, snippets: Sequence[Snippet], most: int, repository: str
) -> list[int]:
    """Snippets as files under their headings before the file of the cursor, the best one last."""
    ahead: list[int] = []
    for snippet in reversed(snippets):
        name = repository if not ahead else ""
        ids = [*generator.file_heading(FileOrigin(name, snippet.path))]
        ids += generator.vocabulary.encode_continuation(snippet.text + "\n")
        ahead += ids if len(ahead) + len(ids) <= most // SNIPPET_SHARE else []
    budget = most - len(ahead)
    origin = FileOrigin("" if ahead else repository, cursor.path)
    text = cut_prefix(cursor.prefix, budget * CHARACTERS_PER_TOKEN)
    return [*ahead, *generator.infill(text, _cut_suffix(cursor, budget), budget, suffix_first=True, origin=origin)]


def _fit_lines(generator: "TokenGenerator", text: str, most: int) -> list[int]:
    """The ids of a text's last lines, as many as fit."""
    ids = generator.vocabulary.encode_continuation(text)
    while len(ids) > most:
        text = text[len(text) // 8 :].partition("\n")[2]
        ids = generator.vocabulary.encode_continuation(text)
    return ids


def _cut_ids(ids: list[int], most: int) -> list[int]:
    """The last ids, cut in steps of an eighth, so that the cut stays in place for a while."""
    step = max(1, most // 8)
    return ids[-(-(len(ids) - most) // step) * step :] if len(ids) > most else ids


def _cut_suffix(cursor: CursorPosition, budget: int) -> str:
    """The text below the cursor's line, cut at a line border."""
    most = budget * CHARACTERS_PER_TOKEN // SUFFIX_SHARE
    if len(cursor.suffix) <= most:
        return cursor.suffix
    return cursor.suffix[: cursor.suffix.rfind("\n", 0, most) + 1] or cursor.suffix[:most]


def partial_word(prefix: str) -> str:
    """The end of a prefix that a tokeniser joins with what follows: half a word, and the blank before it."""
    found = _PARTIAL_WORD.search(prefix[-MAX_PARTIAL_WORD:])
    return found.group() if found else ""


def cut_prefix(text: str, most: int) -> str:
    """The end of a text, at most so many characters, from a line border that moves in steps."""
    excess = len(text) - most
    if excess <= 0:
        return text
    cut = -(-excess // CUT_STEP) * CUT_STEP
    border = text.find("\n", cut) + 1
    return text[border or cut :]
