"""Small made-up workspaces, and what two indexes must have in common to be equal."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from codekin.ranking.query import build_mask
from codekin.ranking.scoring import RankingQuery, rank_chunks
from codekin.storage import ChunkIndex, FileState
from codekin.types import Chunk, CodeShape, Filters
from fakes import FakeEmbedder

EMBEDDER = FakeEmbedder()
FUNCTIONS = 4


def chunk(path: str, number: int, version: int = 0, language: str = "elixir") -> Chunk:
    """A function whose text depends on its path, number and version."""
    seed = sum(map(ord, path)) * 31 + number * 7 + version
    words = [f"word_{(seed * k) % 97}" for k in range(1, 9)]
    text = f"def {words[0]}_{number}({words[1]}) do\n  {words[2]} |> {' '.join(words[3:])}\n  {version} + {seed}\nend"
    start = number * 10 + 1
    shape = CodeShape(calls=(words[2], words[3]), uses=("GenServer",))
    return Chunk(path, language, "function", f"Sample.{words[0]}/{number}", start, start + 3, text, "Doc.", 0, shape)


def chunks(path: str, version: int = 0, language: str = "elixir") -> list[Chunk]:
    """The functions of one file."""
    return [chunk(path, number, version, language) for number in range(FUNCTIONS)]


@cache
def _vector(text: str) -> Any:
    return EMBEDDER.embed([text])[0]


def put(index: ChunkIndex, path: str, version: int = 0, language: str = "elixir") -> None:
    """Writes a file with its vectors as ingest does."""
    index.ensure_space(EMBEDDER.space, EMBEDDER.name, EMBEDDER.dimensions)
    parts = chunks(path, version, language)
    state = FileState(version, version, 1, f"{path}-{version}", language)
    index.replace_file(path, state, parts, {part.digest: _vector(part.text) for part in parts})


def fill(index: ChunkIndex, paths: int, version: int = 0) -> None:
    """Writes files in two languages."""
    for number in range(paths):
        put(index, path_of(number), version, "elixir" if number % 2 else "cpp")


def path_of(number: int) -> str:
    """The path of the numbered file."""
    return f"lib/part{number % 3}/file{number}.{'ex' if number % 2 else 'cpp'}"


def content(index: ChunkIndex) -> dict[str, Any]:
    """All files, chunks and vectors, and what is found by its own words: equal for equal indexes."""
    files = index.files()
    parts = {path: index.chunks(path) for path in files}
    vectors = {one.digest: index.vector(one.digest) for some in parts.values() for one in some}
    return {
        "files": files,
        "chunks": parts,
        "vectors": {digest: None if vector is None else vector.tobytes() for digest, vector in vectors.items()},
        "words": {one.digest: _found_by_words(index, one) for some in parts.values() for one in some},
        "documents": text_index.documents if (text_index := index.view().text_index) else None,
    }


def _found_by_words(index: ChunkIndex, query: Chunk) -> str:
    """The first place that a fragment's own words lead to."""
    view = index.view()
    ranking = rank_chunks(
        view, RankingQuery(query.text, None, query.language, query.name), build_mask(view.snapshot, Filters()), limit=1
    )
    found = index.chunks_by_id(view.snapshot.columns.id[ranking.rows].tolist())
    return next((f"{one.path} {one.name}" for one in found.values()), "")


def top_results(index: ChunkIndex, query: Chunk, filters: Filters = Filters()) -> list[tuple[str, str, float]]:  # noqa: B008
    """Path, name and score of the ten best, ties by name."""
    view = index.view()
    ranking_query = RankingQuery(query.text, _vector(query.text), query.language, query.name)
    ranking = rank_chunks(view, ranking_query, build_mask(view.snapshot, filters), limit=30)
    ids = view.snapshot.columns.id[ranking.rows].tolist()
    found = index.chunks_by_id(ids)
    places = [
        (found[key].path, found[key].name, round(float(score), 3))
        for key, score in zip(ids, ranking.scores, strict=True)
        if key in found
    ]
    return sorted(places, key=lambda place: (-place[2], place))[:10]


def rebuilt(folder: Path, files: dict[str, int]) -> dict[str, Any]:
    """The content of a fresh index of files at given versions."""
    with ChunkIndex.open(folder, write=True) as index:
        index.ensure_space(EMBEDDER.space, EMBEDDER.name, EMBEDDER.dimensions)
        for path, version in files.items():
            put(index, path, version, "elixir" if path.endswith(".ex") else "cpp")
        index.flush(force=True)
        return content(index)


def columns(index: ChunkIndex) -> dict[str, Any]:
    """A reader's columns by name, with words in place of numbers."""
    snapshot = index.view().snapshot
    names = ("id", "file", "content", "start", "end", "slot", "sample")
    table = {name: getattr(snapshot.columns, name) for name in names}
    table["language"] = np.array(snapshot.languages.words())[snapshot.columns.language]
    return {name: column.tolist() for name, column in table.items()}
