"""Searching a view: filters, missing signals, and the prefilter against the exact scan."""

from pathlib import Path

import numpy as np
import pytest

from codekin.ranking import scoring as searching
from codekin.ranking.query import build_mask
from codekin.ranking.scoring import RankingQuery, rank_chunks
from codekin.ranking.signals import cosines
from codekin.storage import ChunkIndex, FileState
from codekin.types import Chunk, Filters
from index_samples import EMBEDDER, chunk, chunks, fill, path_of, put, top_results


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ChunkIndex:
    """A reader of forty files in two languages."""
    folder = tmp_path_factory.mktemp("index")
    with ChunkIndex.open(folder, write=True) as writer:
        fill(writer, 40)
    return ChunkIndex.open(folder)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(languages=("cpp",)), lambda path: path.endswith(".cpp")),
        (Filters(paths=("lib/part1/**",)), lambda path: path.startswith("lib/part1/")),
        (Filters(paths=("*.ex",), languages=("elixir", "python")), lambda path: path.endswith(".ex")),
        (Filters(kinds=("function",)), bool),
    ],
)
@pytest.mark.parametrize("whole", [0, 10_000])
def test_filters_act_inside_the_search(
    index: ChunkIndex, monkeypatch: pytest.MonkeyPatch, filters: Filters, expected: object, whole: int
) -> None:
    """Filters are applied during the search, so the limit is reached where matches exist."""
    monkeypatch.setattr(searching, "EXHAUSTIVE_LIMIT", whole)
    found = top_results(index, chunk(path_of(3), 2), filters)
    assert len(found) == 10
    assert all(expected(path) for path, _, _ in found)


def test_unknown_languages_and_kinds_find_nothing(index: ChunkIndex) -> None:
    """Filtering by a language or kind that is not indexed finds nothing."""
    assert top_results(index, chunk(path_of(3), 2), Filters(languages=("cobol",))) == []
    assert top_results(index, chunk(path_of(3), 2), Filters(kinds=("lambda",))) == []
    assert top_results(index, chunk(path_of(3), 2), Filters(paths=("nowhere/*",))) == []


def test_a_copy_scores_one_and_unrelated_code_near_zero(index: ChunkIndex) -> None:
    """A copy scores 1 and unrelated code about 0."""
    view = index.view()
    for number in range(8):
        one = chunks(path_of(number), 0, "elixir" if number % 2 else "cpp")[0]
        query = RankingQuery(one.text, index.vector(one.digest), one.language, one.name)
        ranking = rank_chunks(view, query, build_mask(view.snapshot, Filters()), limit=200)
        assert ranking.scores[0] > 0.98
        assert np.median(ranking.scores) < 0.1


def test_the_prefiltered_scan_finds_what_the_exact_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prefiltered scan finds the same chunks as the exact one."""
    monkeypatch.setattr(searching, "EXHAUSTIVE_LIMIT", 100)
    generator = np.random.default_rng(5)
    centres = generator.standard_normal((60, 64)).astype(np.float32)
    with ChunkIndex.open(tmp_path, write=True) as writer:
        writer.ensure_space(EMBEDDER.space, EMBEDDER.name, 64)
        with writer.batch():
            for number in range(300):
                parts = chunks(f"lib/f{number}.ex", number)
                noise = generator.standard_normal((len(parts), 64)).astype(np.float32)
                vectors = centres[generator.integers(0, 60, len(parts))] + 0.7 * noise
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
                by_digest = {part.digest: vector for part, vector in zip(parts, vectors, strict=True)}
                writer.replace_file(f"lib/f{number}.ex", FileState(1, 1, 1, "h", "elixir"), parts, by_digest)
        writer.flush(force=True)
        view, shares = writer.view(), []
        for number in range(0, 300, 6):
            one = chunk(f"lib/f{number}.ex", 1, number)
            query = RankingQuery(one.text, writer.vector(one.digest), "elixir", one.name)
            exact, fast = (
                set(rank_chunks(view, query, build_mask(view.snapshot, Filters()), limit=20, exact=way).rows.tolist())
                for way in (True, False)
            )
            shares.append(len(exact & fast) / 20)
    assert np.mean(shares) >= 0.99


def test_a_chunk_without_a_vector_is_found_by_its_words(tmp_path: Path) -> None:
    """A chunk without a vector is found by its words."""
    with ChunkIndex.open(tmp_path, write=True) as index:
        fill(index, 6)
        one = chunk("lib/late.ex", 1, 9)
        index.replace_file("lib/late.ex", FileState(1, 1, 1, "h", "elixir"), [one])
        index.flush(force=True)
        assert top_results(index, one)[0][:2] == ("lib/late.ex", one.name)
        view = index.view()
        blind = rank_chunks(view, RankingQuery(one.text, None, "elixir"), build_mask(view.snapshot, Filters()), limit=1)
        assert view.snapshot.columns.slot[blind.rows[0]] == -1


def test_a_text_of_another_language_is_compared_across(tmp_path: Path) -> None:
    """A text in another language is compared by the weights for two languages."""
    texts = {"elixir": ["end one", "end two", "end fold"], "cpp": ["int end", "int fold", "int a", "int b"]}
    with ChunkIndex.open(tmp_path, write=True) as index:
        for name, some in texts.items():
            parts = [Chunk(name, name, "file", "", at, at, text) for at, text in enumerate(some, 1)]
            index.replace_file(name, FileState(0, 0, 0, ""), parts, None)
        index.flush(force=True)
        view = index.view()
        found = rank_chunks(
            view,
            RankingQuery("end fold", None, "elixir"),
            build_mask(view.snapshot, Filters(languages=("cpp",))),
            limit=4,
        )
    by_line = dict(zip(view.snapshot.columns.start[found.rows].tolist(), found.text_similarity.tolist(), strict=True))
    assert by_line[3] == by_line[4] == 0 < by_line[1] < by_line[2]


def test_an_empty_index_answers_nothing(tmp_path: Path) -> None:
    """A search of an empty index returns no results."""
    with ChunkIndex.open(tmp_path, write=True) as index:
        assert top_results(index, chunk("lib/a.ex", 1)) == []
        put(index, "lib/a.ex")
        assert top_results(index, chunk("lib/a.ex", 1))
        index.remove_file("lib/a.ex")
        assert top_results(index, chunk("lib/a.ex", 1)) == []


def test_a_wide_query_vector_is_refused(index: ChunkIndex) -> None:
    """A query vector that is not float32 is refused."""
    view = index.view()
    with pytest.raises(TypeError, match="float32"):
        cosines(view.dense, np.ones(64), 0, np.zeros(1, np.int32))
