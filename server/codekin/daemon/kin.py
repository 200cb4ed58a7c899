"""Asks retrieval for kin with the model that is there, and says what part vectors had in it.

Runs in worker threads. Knows nothing of HTTP.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from textwrap import dedent
from typing import TYPE_CHECKING

from codekin import places
from codekin.daemon.engine import Engine
from codekin.daemon.sources import Source
from codekin.daemon.workspaces import Workspace
from codekin.errors import UsageError
from codekin.records import Filters, Fragment, Hit

if TYPE_CHECKING:
    from codekin.completion.gap import Gap
    from codekin.completion.snippets import Snippet
    from codekin.index import Index, Space, View
    from codekin.seams import Embedder

LINES_BEFORE, LINES_BEHIND, LINES_SHOWN = 20, 6, 16
"""Lines around a cursor whose meaning counts, and lines of what is found."""

LEAST_SCORE, MOST_KIN = 0.35, 8

NO_INDEX = "the index has just been begun"
NO_VECTORS = "the index holds no vectors yet"
OTHER_SPACE = "the index is being embedded anew for this model"


@dataclass(frozen=True, slots=True)
class Found:
    """Hits, the space of the vectors that had a part in it, and if none had, why."""

    hits: Sequence[Hit]
    space: str
    degraded: str

    def without_noise(self) -> "Found":
        """The same without the hits that are noise beside the best of their language."""
        from codekin import retrieval  # noqa: PLC0415 - brings numpy

        return replace(self, hits=retrieval.worth_showing(self.hits))


def kin_of(engine: Engine, workspace: Workspace, query: Fragment, filters: Filters, limit: int) -> Found:
    """Code like a fragment."""
    from codekin import retrieval  # noqa: PLC0415 - brings numpy

    def ask(index: "Index", embedder: "Embedder | None", view: "View") -> Sequence[Hit]:
        return retrieval.similar(index, embedder, query, filters, limit, view=view)

    return _of_one_space(engine, workspace, ask, query.digest)


def kin_of_place(engine: Engine, workspace: Workspace, gap: "Gap") -> "list[Snippet]":
    """Code of other files like what is being written around a cursor, for completions; none without vectors."""
    from codekin import retrieval  # noqa: PLC0415 - bring numpy
    from codekin.completion.snippets import Snippet  # noqa: PLC0415

    if not workspace.has_index() or (embedder := embedder_of(engine, workspace)) is None:
        return []
    line = gap.prefix.count("\n") + 1
    before, behind = gap.prefix.split("\n")[-LINES_BEFORE:], gap.suffix.split("\n")[1 : LINES_BEHIND + 1]
    text = "\n".join([*before, *behind])
    query = Fragment(gap.path, gap.language, "file", "", max(1, line - LINES_BEFORE), line + LINES_BEHIND, text)
    filters = Filters(languages=(gap.language,), min_score=LEAST_SCORE)
    hits = retrieval.similar(workspace.index(), embedder, query, filters, MOST_KIN, (gap.path, 1, 1 << 30))
    return [Snippet(hit.path, _lines(workspace, hit), hit.score) for hit in hits]


def matches_of(engine: Engine, workspace: Workspace, text: str, filters: Filters, limit: int) -> Found:
    """Code that does what the words say."""
    from codekin import retrieval  # noqa: PLC0415 - brings numpy

    def ask(index: "Index", embedder: "Embedder | None", view: "View") -> Sequence[Hit]:
        return retrieval.search(index, embedder, text, filters, limit, view)

    return _of_one_space(engine, workspace, ask, "")


def _of_one_space(
    engine: Engine, workspace: Workspace, ask: "Callable[[Index, Embedder | None, View], Sequence[Hit]]", digest: str
) -> Found:
    """Asks in one view of the index, with what embeds for its space: another may begin to serve meanwhile."""
    if not workspace.has_index():
        return Found((), "", NO_INDEX)
    index = workspace.index()
    view = index.view()
    embedder = _embedder_for(engine, workspace, view.snapshot.space)
    return Found(ask(index, embedder, view), *_part_of_vectors(engine, index, embedder, digest, view))


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
    return _embedder_for(engine, workspace, workspace.index().serving_space())


def _embedder_for(engine: Engine, workspace: Workspace, serving: "Space | None") -> "Embedder | None":
    from codekin.models.learned import name_of_space  # noqa: PLC0415 - brings numpy

    base = engine.embedder()
    if base is None or serving is None or serving.fingerprint == base.space:
        return base
    folder = places.learning_folder(workspace.data, workspace.root)
    kept = workspace.learned
    if kept is None or kept[0] != serving.fingerprint:
        kept = workspace.learned = serving.fingerprint, name_of_space(folder, serving.fingerprint)
    return engine.learned(folder, kept[1]) if kept[1] else base


def _lines(workspace: Workspace, hit: Hit) -> str:
    """The first lines of what was found, as they are now."""
    text = workspace.buffers.get(hit.path)
    try:
        text = Source(workspace.root, hit.path, text).read()
    except UsageError:
        return ""
    last = min(hit.end_line, hit.start_line + LINES_SHOWN - 1)
    return dedent("\n".join(text.split("\n")[hit.start_line - 1 : last])).rstrip()


def _part_of_vectors(
    engine: Engine, index: "Index", embedder: "Embedder | None", digest: str, view: "View"
) -> tuple[str, str]:
    """(space, why not): a stored vector serves without a model, a model only in the space that is searched."""
    serving = view.snapshot.space
    if serving is None:
        return "", engine.degraded() or NO_VECTORS
    stored = digest and index.vector(digest, view) is not None
    if (embedder and embedder.space == serving.fingerprint) or stored:
        return serving.fingerprint, ""
    return "", OTHER_SPACE if embedder else engine.degraded()
