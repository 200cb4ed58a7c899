"""The meaning of names: one that means what a question says stands higher, though it shares no word with it."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from threading import Lock

import numpy as np

from codekin.protocols import Embedder, Vectors
from codekin.ranking.expansion import words_meant
from codekin.ranking.scoring import Ranking
from codekin.storage.snapshot import IndexSnapshot, split_name
from codekin.storage.terms import split_subtokens

_NAMES_EMBEDDED, _WORDS_EMBEDDED = 64, 96
"""How many of the best have the meaning of their names compared, and how many new words a question waits for; a name
with others counts as the usual one of the best until a later question."""

_FREQUENT_WORDS, _WORDS_AT_ONCE = 2_000, 16
"""How many words of a repository's names are embedded before they are needed, so many at once: a question may wait."""

_LARGEST_QUICK_ENCODER = 512
"""Dimensions of the largest encoder that embeds single words: a larger one would take seconds for them."""

_WORDS_LOCK = Lock()
_NAME_PARTS, _PATH_PARTS = 3, 2
_WORDS_KEPT = 20_000
_COMMON_WORDS = (
    *("get", "set", "list", "name", "value", "key", "data", "new", "add", "remove", "create", "update", "delete"),
    *("start", "stop", "init", "run", "call", "handle", "send", "receive", "read", "write", "open", "close", "parse"),
    *("format", "check", "find", "count", "size", "time", "user", "file", "path", "error", "state", "event"),
    *("message", "queue", "map", "type", "node", "text", "string", "number"),
)
"""What their vectors have in common says nothing: it is taken from every word's."""


def add_name_meaning(  # noqa: PLR0913, PLR0917 - what is ranked, and what a question is by its vector and words
    snapshot: IndexSnapshot,
    ranking: Ranking,
    vector: Vectors | None,
    embedder: Embedder | None,
    weight: float,
    said: tuple[str, ...] = (),
) -> Ranking:
    """The ranking in which names that mean what the question says stand higher, though they share no word with it.

    A name means the mean of its words' vectors, which are embedded once; an abbreviation means the words of the
    question that it stands for, which are in `said`. `vector` is the question's, of unit length.
    """
    if vector is None or embedder is None or not weight or embedder.dimensions > _LARGEST_QUICK_ENCODER:
        return ranking
    best = ranking.rows[:_NAMES_EMBEDDED].tolist()
    names = [_spelled_out(_name_with_scopes(snapshot, row), said) for row in best]
    known = _embed_words(embedder, dict.fromkeys(word for words in names for word in words))
    meant = np.array([_nearness([known.get(word) for word in words], vector) for words in names], np.float32)
    usual = float(np.nanmean(meant)) if not np.isnan(meant).all() else 0.0
    added = np.zeros(len(ranking.rows), np.float32)
    added[: len(meant)] = np.nan_to_num(meant, nan=usual)
    return ranking.with_scores(ranking.scores + np.float32(weight) * added)


def embed_frequent_words(snapshot: IndexSnapshot, embedder: Embedder) -> None:
    """Embeds the words that are most frequent in a repository's names, so that no question has to."""
    if embedder.dimensions > _LARGEST_QUICK_ENCODER:
        return
    names = map(snapshot.names.name, np.unique(snapshot.columns.name).tolist())
    counts = Counter(word for name in names for word in split_subtokens(name) if len(word) > 1)
    _embed_words(embedder, ())
    known = _words_of_space(embedder.space)
    wanted = [word for word, _ in counts.most_common(_FREQUENT_WORDS) if word not in known]
    for start in range(0, len(wanted), _WORDS_AT_ONCE):
        some = wanted[start : start + _WORDS_AT_ONCE]
        rows = embedder.embed(some)  # without the lock: the thread may be of the lowest priority
        with _WORDS_LOCK:
            if "" in known:
                known.update(zip(some, rows - known[""], strict=True))


def _nearness(words: Sequence[Vectors | None], vector: Vectors) -> float:
    """The cosine of a question with the mean of a name's words; NaN where one is not embedded yet, 0 without words."""
    known = [word for word in words if word is not None]
    if len(known) < len(words):
        return np.nan
    mean = np.sum(known or [np.zeros_like(vector)], axis=0)
    return float(mean @ vector) / max(float(np.linalg.norm(mean)), 1e-9)


def _name_with_scopes(snapshot: IndexSnapshot, row: int) -> list[str]:
    """The words of a name and its nearest scopes; of its file where there are none."""
    columns = snapshot.columns
    is_file = snapshot.kinds.words()[columns.kind[row]] == "file"
    parts = () if is_file else split_name(snapshot.names.name(int(columns.name[row])))
    path = snapshot.paths.get(int(columns.file[row]), "").rpartition(".")[0].split("/") if len(parts) < 2 else []
    return [word for word in split_subtokens(" ".join((*path[-_PATH_PARTS:], *parts[-_NAME_PARTS:]))) if len(word) > 1]


def _spelled_out(words: Sequence[str], said: tuple[str, ...]) -> list[str]:
    return [one for word in words for one in words_meant(word, said) or (word,)]


def _embed_words(embedder: Embedder, words: Collection[str]) -> Mapping[str, Vectors]:
    """Vectors of single words, less what common words share; those of a few new ones are computed."""
    with _WORDS_LOCK:
        known = _words_of_space(embedder.space)
        if len(known) > _WORDS_KEPT:
            known.clear()
        if not known:
            known[""] = embedder.embed(_COMMON_WORDS).mean(axis=0)
        if new := [word for word in words if word not in known][:_WORDS_EMBEDDED]:
            known.update(zip(new, embedder.embed(new) - known[""], strict=True))
        return {word: known[word] for word in words if word in known}


@lru_cache(maxsize=4)
def _words_of_space(space: str) -> dict[str, Vectors]:  # noqa: ARG001 - what it is kept by
    """The words of an embedding space whose vectors are known."""
    return {}
