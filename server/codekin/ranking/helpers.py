"""A function before the helper that does its work: `publish` before `do_publish`, `parse` before `parse_impl`.

What is asked for is what a caller would call; the helper, which says more of how it is done, stays right below.
"""

import numpy as np

from codekin.ranking.scoring import Ranking
from codekin.storage.snapshot import IndexSnapshot, split_name
from codekin.storage.terms import split_subtokens

_CONSIDERED = 60
_BEFORE = frozenset({"do", "really"})
_AFTER = frozenset({"impl", "internal", "inner", "helper", "aux"})


def put_helpers_below(snapshot: IndexSnapshot, ranking: Ranking) -> Ranking:
    """The ranking in which a function changes places with a helper of it that was above."""
    names = [snapshot.names.name(number) for number in snapshot.columns.name[ranking.rows].tolist()]
    files = snapshot.columns.file[ranking.rows].tolist()
    places: dict[tuple[int, tuple[str, ...]], int] = {}
    for place, (file, name) in enumerate(zip(files, names, strict=True)):
        places.setdefault((file, split_name(name)), place)
    order = np.arange(len(names))
    for place in range(min(_CONSIDERED, len(names))):
        helped = places.get((files[place], helped_by(names[place])), 0)
        if helped > place:
            order[[place, helped]] = order[[helped, place]]
    return ranking if (order == np.arange(len(names))).all() else _reordered(ranking, order)


def helped_by(name: str) -> tuple[str, ...]:
    """The parts of the name of the function that does its work by a helper of this name; none if it is no helper."""
    *scopes, own = split_name(name) or ("",)
    words = split_subtokens(own)
    helped = (
        words[1:] if words[:1] and words[0] in _BEFORE else words[:-1] if words[-1:] and words[-1] in _AFTER else []
    )
    if not helped:
        return ()
    is_camel = "_" not in own
    joined = helped[0] + "".join(map(str.capitalize, helped[1:])) if is_camel else "_".join(helped)
    return (*scopes, joined)


def _reordered(ranking: Ranking, order: np.ndarray) -> Ranking:
    """The rows in another order, the scores where they were."""
    moved = ranking.select(order)
    return Ranking(moved.rows, ranking.scores, moved.cosine, moved.text_similarity)
