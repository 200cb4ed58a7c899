"""Similar code for a fragment or a snippet, search by words, and counts for lenses."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from codekin.index import Index, Query, View, mask, rank
from codekin.index.search import Ranking
from codekin.records import Filters, Fragment, Hit
from codekin.retrieval.hits import hit_of
from codekin.retrieval.reasons import is_copy, reasons
from codekin.retrieval.snippets import is_code, read_snippet
from codekin.seams import Embedder, TextKind, Vectors

_SPARE = 40
_FETCHED = 12
_ROUNDING = 0.00005
_FAINTEST = 0.01
"""Whatever scores less is a stranger: nothing is found rather than noise."""

_CONTAINERS = frozenset({"namespace", "module", "class", "struct", "protocol", "implementation", "file"})
_CONTAINER_SHARE = np.float32(0.75)
"""What is left of a container between its functions speaks of everything in it, and is seldom what was meant."""

_ARITY = re.compile(r"/\d+$")
_ANSWERS = 0.4
"""The cosine from which on a text without a word of the question may answer it."""


def similar(  # noqa: PLR0913, PLR0917 - the question has so many sides
    index: Index,
    embedder: Embedder | None,
    query: Fragment | str,
    filters: Filters = Filters(),  # noqa: B008 - frozen
    limit: int = 10,
    exclude: tuple[str, int, int] | None = None,
    view: View | None = None,
) -> list[Hit]:
    """Code like a fragment or a pasted snippet, best first; in a `view` of the index, else in its newest state.

    `exclude` is a path with its first and last line: nothing that overlaps is returned. It
    defaults to the fragment's own place. Without an embedder the words alone decide, unless
    the fragment's vector is stored.
    """
    view = view or index.view()
    fragment = query if isinstance(query, Fragment) else read_snippet(query, view.snapshot.languages.words())
    if exclude is None and fragment.path:
        exclude = (fragment.path, fragment.start_line, fragment.end_line)
    asked = Query(
        fragment.text, _vector(view, index, embedder, fragment, "passage"), fragment.language or None, fragment.name
    )
    return _hits(index, view, asked, fragment, (filters, limit, exclude))


def search(  # noqa: PLR0913, PLR0917 - the question has so many sides
    index: Index,
    embedder: Embedder | None,
    text: str,
    filters: Filters = Filters(),  # noqa: B008 - frozen
    limit: int = 10,
    view: View | None = None,
) -> list[Hit]:
    """Code that does what the words say, or that is like a pasted snippet."""
    view = view or index.view()
    if is_code(text):
        return similar(index, embedder, text, filters, limit, view=view)
    fragment = Fragment("", "", "file", "", 1, 1, text)
    asked = Query(text, _vector(view, index, embedder, fragment, "query"), is_question=True)
    return _hits(index, view, asked, fragment, (filters, limit, None))


def lens(
    index: Index, embedder: Embedder | None, fragments: Sequence[Fragment], min_score: float = 0.35, limit: int = 50
) -> list[int]:
    """For each fragment how many places `similar` would show above `min_score`, `limit` at most."""
    filters = Filters(min_score=min_score)
    return [len(similar(index, embedder, fragment, filters, limit)) for fragment in fragments]


def _vector(view: View, index: Index, embedder: Embedder | None, fragment: Fragment, kind: TextKind) -> Vectors | None:
    """The query's vector in the serving space: stored, or embedded now, or None."""
    space = view.snapshot.space
    if space is None or view.dense is None:
        return None
    if kind == "passage" and (stored := index.vector(fragment.digest, view)) is not None:
        return stored
    if embedder is None or embedder.space != space.fingerprint:
        return None
    return np.asarray(embedder.embed([fragment.text], kind)[0], np.float32)


def _hits(index: Index, view: View, asked: Query, fragment: Fragment, choice: tuple[Any, ...]) -> list[Hit]:
    """Ranks, leaves out the query's own place, and joins the parts of one function."""
    filters, limit, exclude = choice
    least = max(filters.min_score - _ROUNDING, _FAINTEST)
    ranking = rank(view, asked, mask(view.snapshot, filters), limit=limit * 2 + _SPARE)
    ranking = _functions_first(view, fragment, ranking).above(least)
    hits: list[Hit] = []
    shown = [fragment] if fragment.part else []
    for place, kin in _fetched(index, view.snapshot.columns.id[ranking.rows].tolist()):
        if len(hits) == limit:
            break
        if _has_evidence(asked, ranking, place) and not (
            _overlaps(kin, exclude) or _same_place(kin, fragment) or any(_same_place(kin, other) for other in shown)
        ):
            shown.append(kin)
            hits.append(_hit(fragment, kin, ranking, place))
    return hits


def _functions_first(view: View, query: Fragment, ranking: Ranking) -> Ranking:
    """The ranking with what is left of containers lower, unless it is a container that is asked about."""
    numbers = view.snapshot.kinds.numbers
    lower = {"namespace"} if query.kind in _CONTAINERS else _CONTAINERS
    contains = np.isin(view.snapshot.columns.kind[ranking.rows], [numbers[kind] for kind in lower if kind in numbers])
    scores = np.where(contains, _CONTAINER_SHARE * ranking.scores, ranking.scores)
    order = np.argsort(-scores, kind="stable")
    return Ranking(ranking.rows[order], scores[order], ranking.cosine[order], ranking.likeness[order])


def _fetched(index: Index, ids: list[int]) -> Iterator[tuple[int, Fragment]]:
    """Places in the ranking with their fragments, read as far as they are wanted."""
    for start in range(0, len(ids), _FETCHED):
        found = index.fragments_by_id(ids[start : start + _FETCHED])
        for place, key in enumerate(ids[start : start + _FETCHED], start):
            if kin := found.get(key):
                yield place, kin


def _has_evidence(asked: Query, ranking: Ranking, place: int) -> bool:
    """Whether a hit shares a word with a question, or means nearly the same: next to nothing is always nearest."""
    shares_words = ranking.likeness[place] > 0
    return not asked.is_question or bool(shares_words or ranking.cosine[place] >= _ANSWERS)


def _hit(query: Fragment, kin: Fragment, ranking: Ranking, place: int) -> Hit:
    score = 1.0 if is_copy(query, kin) else min(0.99, float(ranking.scores[place]))
    return hit_of(kin, score, reasons(query, kin, float(ranking.cosine[place]), score))


def _overlaps(kin: Fragment, place: tuple[str, int, int] | None) -> bool:
    return place is not None and kin.path == place[0] and kin.start_line <= place[2] and kin.end_line >= place[1]


def _same_place(one: Fragment, other: Fragment) -> bool:
    """Parts of one function, or one inside the other. A name with its arity is one function in all of a file."""
    if one.path != other.path:
        return False
    alike = (one.kind, one.name) == (other.kind, other.name)
    parts = alike and ((one.part and other.part) or _ARITY.search(one.name))
    return bool(parts) or _overlaps(one, (other.path, other.start_line, other.end_line))
