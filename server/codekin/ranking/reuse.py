"""Says whether code exists already: copies, renamed copies, the same behaviour, and counterparts in other languages.

Nothing is reported without evidence that can be shown: equal tokens, equal but for names, shared runs of tokens, shared
calls. Callbacks of one behaviour and methods of one name resemble each other by design, so only copies count there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codekin.parsing import Token, is_code, read_local_names, rename_locals, tokenize
from codekin.protocols import Embedder
from codekin.ranking.collecting import LineRange
from codekin.ranking.priors import is_test_path
from codekin.ranking.similar import SimilarChunk, find_similar_chunks, is_trivial
from codekin.storage import ChunkIndex
from codekin.storage.reader import IndexView
from codekin.types import Chunk, Filters, Hit, split_identifier

FUNCTION_KINDS = frozenset({"function", "macro", "method", "constructor", "operator"})

_MEMBER_KINDS = frozenset({"method", "constructor", "operator"})

COPY, RENAMED_COPY, NEAR_COPY = "copy", "renamed copy", "near-copy"
SAME_BEHAVIOUR, COUNTERPART = "same behaviour", "counterpart in another language"

_CANDIDATES = 12
_NEAR_COPY_OVERLAP = 0.7
"""Shared runs of tokens, names of variables aside, from which on a function is an edited copy."""

_BEHAVIOUR_OVERLAP, _BEHAVIOUR_COSINE = 0.35, 0.75
_COUNTERPART_COSINE = 0.7
_RUN = 4
_MAX_NAMES = 3
_ATTRIBUTES = frozenset({"@doc", "@spec", "@impl", "@since", "@deprecated", "@typedoc", "@moduledoc"})
_QUALIFIERS = frozenset({".", "->", "::"})


@dataclass(frozen=True, slots=True)
class ExistingCode:
    """Code that does the same as the code in question: how it is related, and what shows it.

    `overlap` is the share of token runs that both have, names of variables aside, from 0 to 1.
    """

    hit: Hit
    relation: str
    overlap: float
    evidence: tuple[str, ...]


def find_existing(  # noqa: PLR0913, PLR0917 - the query, the place to search, and what counts
    index: ChunkIndex,
    embedder: Embedder | None,
    chunk: Chunk,
    view: IndexView,
    min_score: float,
    exclude: LineRange | None = None,
) -> list[ExistingCode]:
    """What in the index does the same as a function, the surest first; nothing for a trivial one or a test.

    `min_score` is for what does the same under other words: copies count whatever they score.
    """
    if not is_checked(chunk):
        return []
    filters = Filters(kinds=tuple(sorted(FUNCTION_KINDS)))
    found = find_similar_chunks(index, embedder, chunk, filters, _CANDIDATES, exclude, view)
    mine = essence(chunk)
    compared = [_compare(chunk, mine, similar, min_score) for similar in found if is_checked(similar.matched)]
    order = (COPY, RENAMED_COPY, NEAR_COPY, SAME_BEHAVIOUR, COUNTERPART)
    return sorted((one for one in compared if one), key=lambda one: (order.index(one.relation), -one.hit.score))


def is_checked(chunk: Chunk) -> bool:
    """Whether a chunk is a function that is long enough to be distinguished from others, and no test."""
    is_function = chunk.kind in FUNCTION_KINDS or (chunk.kind in {"snippet", "selection", "file"} and not chunk.path)
    return is_function and not is_test_path(chunk.path) and not is_trivial(bare_code(chunk))


def bare_code(chunk: Chunk) -> str:
    """The code of a chunk without comments and documentation."""
    return "".join(token.text for token in _bare_tokens(chunk))


def essence(chunk: Chunk) -> tuple[str, ...]:
    """The code tokens with the function's own name and its variables numbered: equal for renamed copies."""
    bare = _bare_tokens(chunk)
    tokens = [token for token in bare if is_code(token)]
    names = [_own_name(chunk), *read_local_names(chunk.language, "".join(token.text for token in bare))]
    numbers = {name: f"${number}" for number, name in enumerate(dict.fromkeys(filter(None, names)))}
    return tuple(_numbered(chunk.language, tokens, at, numbers) for at in range(len(tokens)))


def _compare(chunk: Chunk, mine: Sequence[str], similar: SimilarChunk, min_score: float) -> ExistingCode | None:
    """How a candidate is related to a function, whose essence is `mine`; None where it is not."""
    other = similar.matched
    if other.language != chunk.language and chunk.language:
        return _compare_languages(chunk, similar, min_score)
    theirs = essence(other)
    overlap = _overlap(mine, theirs)
    if mine == theirs:
        return _build_copy(chunk, similar)
    if overlap >= _NEAR_COPY_OVERLAP:
        return ExistingCode(similar.hit, NEAR_COPY, overlap, (_tell_overlap(overlap), *_shared_calls(chunk, other)))
    is_alike = similar.hit.score >= min_score and similar.cosine >= _BEHAVIOUR_COSINE
    calls = _shared_calls(chunk, other)
    if not is_alike or overlap < _BEHAVIOUR_OVERLAP or not calls or _resemble_by_design(chunk, other):
        return None
    return ExistingCode(similar.hit, SAME_BEHAVIOUR, overlap, (_tell_overlap(overlap), *calls))


def _build_copy(chunk: Chunk, similar: SimilarChunk) -> ExistingCode:
    mine, theirs = _code_texts(chunk), _code_texts(similar.matched)
    if mine == theirs:
        return ExistingCode(similar.hit, COPY, 1.0, ("the code is the same",))
    renamed = dict.fromkeys(f"{one} → {other}" for one, other in zip(theirs, mine, strict=True) if one != other)
    shown = ", ".join(list(renamed)[:_MAX_NAMES])
    return ExistingCode(similar.hit, RENAMED_COPY, 1.0, (f"the same but for names: {shown}",))


def _compare_languages(chunk: Chunk, similar: SimilarChunk, min_score: float) -> ExistingCode | None:
    """A counterpart has the words of the name in common and means nearly the same."""
    other = similar.matched
    words = _name_words(chunk)
    is_alike = similar.hit.score >= min_score and similar.cosine >= _COUNTERPART_COSINE
    if not is_alike or len(words) < 2 or words != _name_words(other):
        return None
    return ExistingCode(similar.hit, COUNTERPART, 0.0, (f"named alike: {' '.join(sorted(words))}", "similar meaning"))


def _resemble_by_design(chunk: Chunk, other: Chunk) -> bool:
    """Whether two functions implement the same callback, or are the same method of two types."""
    callbacks = set(chunk.shape.callbacks) & set(other.shape.callbacks)
    return bool(callbacks) or (chunk.kind in _MEMBER_KINDS and _own_name(chunk) == _own_name(other))


def _shared_calls(chunk: Chunk, other: Chunk) -> tuple[str, ...]:
    """The calls that both make, if they are most of the calls of each; else nothing."""
    mine, theirs = set(chunk.shape.calls), set(other.shape.calls)
    shared = [name for name in dict.fromkeys(chunk.shape.calls) if name in theirs]
    if not shared or 2 * len(set(shared)) <= max(len(mine), len(theirs)):
        return ()
    return (f"calls the same: {', '.join(shared[:_MAX_NAMES])}",)


def _tell_overlap(overlap: float) -> str:
    return f"{overlap:.0%} of the code is the same, names of variables aside"


def _overlap(one: Sequence[str], other: Sequence[str]) -> float:
    """The Jaccard similarity of the runs of tokens."""
    left, right = _runs(one), _runs(other)
    return len(left & right) / max(1, len(left | right))


def _runs(tokens: Sequence[str]) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(tokens[at : at + _RUN]) for at in range(max(1, len(tokens) - _RUN + 1)))


def _code_texts(chunk: Chunk) -> list[str]:
    return [token.text for token in _bare_tokens(chunk) if is_code(token)]


def _bare_tokens(chunk: Chunk) -> list[Token]:
    """The tokens without comments, and without Elixir's attributes up to the definition."""
    kept, in_attribute = [], False
    for token in tokenize(chunk.language, chunk.text):
        if chunk.language == "elixir" and token.kind == "attribute" and token.text in _ATTRIBUTES:
            in_attribute = True
        elif in_attribute and token.kind == "keyword" and token.text.startswith("def"):
            in_attribute = False
        if not in_attribute and token.kind != "comment":
            kept.append(token)
    return kept


def _numbered(language: str, tokens: Sequence[Token], at: int, numbers: Mapping[str, str]) -> str:
    """The text of a token, a number in place of the name of a variable; a member keeps its name."""
    token = tokens[at]
    if token.kind == "string":
        return rename_locals(token.text, language, numbers)
    is_member = at > 0 and tokens[at - 1].text in _QUALIFIERS
    return token.text if token.kind != "name" or is_member else numbers.get(token.text, token.text)


def _own_name(chunk: Chunk) -> str:
    """The name without module, class and arity."""
    return chunk.name.split("/", maxsplit=1)[0].rsplit("::", maxsplit=1)[-1].rsplit(".", maxsplit=1)[-1]


def _name_words(chunk: Chunk) -> frozenset[str]:
    return frozenset(word.lower() for word in split_identifier(_own_name(chunk)))
