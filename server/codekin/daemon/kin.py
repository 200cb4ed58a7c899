"""Asks retrieval for kin with the model that is there, and says what part vectors had in it.

Runs in worker threads. Knows nothing of HTTP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codekin import places
from codekin.daemon.engine import Engine
from codekin.daemon.workspaces import Workspace
from codekin.records import Filters, Fragment, Hit

if TYPE_CHECKING:
    from codekin.index import Index
    from codekin.seams import Embedder

NO_INDEX = "the index has just been begun"
NO_VECTORS = "the index holds no vectors yet"
OTHER_SPACE = "the index is being embedded anew for this model"


@dataclass(frozen=True, slots=True)
class Found:
    """Hits, the space of the vectors that had a part in it, and if none had, why."""

    hits: Sequence[Hit]
    space: str
    degraded: str


def kin_of(engine: Engine, workspace: Workspace, query: Fragment, filters: Filters, limit: int) -> Found:
    """Code like a fragment."""
    from codekin import retrieval  # noqa: PLC0415 - brings numpy

    if not workspace.has_index():
        return Found((), "", NO_INDEX)
    index, embedder = workspace.index(), embedder_of(engine, workspace)
    hits = retrieval.similar(index, embedder, query, filters, limit)
    return Found(hits, *_part_of_vectors(engine, index, embedder, query.digest))


def matches_of(engine: Engine, workspace: Workspace, text: str, filters: Filters, limit: int) -> Found:
    """Code that does what the words say."""
    from codekin import retrieval  # noqa: PLC0415 - brings numpy

    if not workspace.has_index():
        return Found((), "", NO_INDEX)
    index, embedder = workspace.index(), embedder_of(engine, workspace)
    hits = retrieval.search(index, embedder, text, filters, limit)
    return Found(hits, *_part_of_vectors(engine, index, embedder, ""))


def counts_of(engine: Engine, workspace: Workspace, fragments: Sequence[Fragment], least: float) -> list[int]:
    """How many kin each fragment has above a score."""
    from codekin import retrieval  # noqa: PLC0415 - brings numpy

    if not workspace.has_index():
        return [0] * len(fragments)
    return retrieval.lens(workspace.index(), embedder_of(engine, workspace), fragments, least)


def copies_in(workspace: Workspace, filters: Filters, limit: int) -> list[list[Hit]]:
    """Groups of near-duplicates; they come from the texts and need no model."""
    from codekin import retrieval  # noqa: PLC0415 - brings numpy

    return retrieval.duplicates(workspace.index(), filters, limit) if workspace.has_index() else []


def embedder_of(engine: Engine, workspace: Workspace) -> "Embedder | None":
    """What embeds a query for the space that serves in this workspace: the model, or what was learned on it."""
    from codekin.models.learned import name_of_space  # noqa: PLC0415 - brings numpy

    base, serving = engine.embedder(), workspace.index().serving_space()
    if base is None or serving is None or serving.fingerprint == base.space:
        return base
    folder = places.learning_folder(workspace.data, workspace.root)
    kept = workspace.learned
    if kept is None or kept[0] != serving.fingerprint:
        kept = workspace.learned = serving.fingerprint, name_of_space(folder, serving.fingerprint)
    return engine.learned(folder, kept[1]) if kept[1] else base


def _part_of_vectors(engine: Engine, index: "Index", embedder: "Embedder | None", digest: str) -> tuple[str, str]:
    """(space, why not): a stored vector serves without a model, a model only in the space that serves."""
    serving = index.serving_space()
    if serving is None:
        return "", engine.degraded() or NO_VECTORS
    if (embedder and embedder.space == serving.fingerprint) or (digest and index.vector(digest) is not None):
        return serving.fingerprint, ""
    return "", OTHER_SPACE if embedder else engine.degraded()
