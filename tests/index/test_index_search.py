"""Searching a view: filters, missing signals, and the prefilter against the exact scan."""

from pathlib import Path

import numpy as np
import pytest
from index_samples import EMBEDDER, answers, fill, fragment, fragments, path_of, put

from codekin.index import FileState, Index, Query, mask, rank
from codekin.index import search as searching
from codekin.index.dense import cosines
from codekin.records import Filters, Fragment


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """A reader of forty files in two languages."""
    folder = tmp_path_factory.mktemp("index")
    with Index.open(folder, write=True) as writer:
        fill(writer, 40)
    return Index.open(folder)


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
    index: Index, monkeypatch: pytest.MonkeyPatch, filters: Filters, expected: object, whole: int
) -> None:
    """A filter applied afterwards would leave too few answers, or none."""
    monkeypatch.setattr(searching, "WHOLE", whole)
    found = answers(index, fragment(path_of(3), 2), filters)
    assert len(found) == 10
    assert all(expected(path) for path, _, _ in found)


def test_unknown_languages_and_kinds_find_nothing(index: Index) -> None:
    """A filter for what is not there would be ignored."""
    assert answers(index, fragment(path_of(3), 2), Filters(languages=("cobol",))) == []
    assert answers(index, fragment(path_of(3), 2), Filters(kinds=("lambda",))) == []
    assert answers(index, fragment(path_of(3), 2), Filters(paths=("nowhere/*",))) == []


def test_a_copy_has_the_score_one_and_strangers_are_near_zero(index: Index) -> None:
    """`--min-score` would mean something else for every query."""
    view = index.view()
    for number in range(8):
        one = fragments(path_of(number), 0, "elixir" if number % 2 else "cpp")[0]
        query = Query(one.text, index.vector(one.digest), one.language, one.name)
        ranking = rank(view, query, mask(view.snapshot, Filters()), limit=200)
        assert ranking.scores[0] > 0.98
        assert np.median(ranking.scores) < 0.1


def test_the_prefiltered_scan_finds_what_the_exact_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large indexes would give worse answers than small ones."""
    monkeypatch.setattr(searching, "WHOLE", 100)
    generator = np.random.default_rng(5)
    centres = generator.standard_normal((60, 64)).astype(np.float32)
    with Index.open(tmp_path, write=True) as writer:
        writer.ensure_space(EMBEDDER.space, EMBEDDER.name, 64)
        with writer.batch():
            for number in range(300):
                parts = fragments(f"lib/f{number}.ex", number)
                noise = generator.standard_normal((len(parts), 64)).astype(np.float32)
                vectors = centres[generator.integers(0, 60, len(parts))] + 0.7 * noise
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
                by_digest = {part.digest: vector for part, vector in zip(parts, vectors, strict=True)}
                writer.replace_file(f"lib/f{number}.ex", FileState(1, 1, 1, "h", "elixir"), parts, by_digest)
        writer.flush(force=True)
        view, shares = writer.view(), []
        for number in range(0, 300, 6):
            one = fragment(f"lib/f{number}.ex", 1, number)
            query = Query(one.text, writer.vector(one.digest), "elixir", one.name)
            exact, fast = (
                set(rank(view, query, mask(view.snapshot, Filters()), limit=20, exact=way).rows.tolist())
                for way in (True, False)
            )
            shares.append(len(exact & fast) / 20)
    assert np.mean(shares) >= 0.99


def test_a_fragment_without_a_vector_is_found_by_its_words(tmp_path: Path) -> None:
    """A fresh save could not be found until its embedding is done."""
    with Index.open(tmp_path, write=True) as index:
        fill(index, 6)
        one = fragment("lib/late.ex", 1, 9)
        index.replace_file("lib/late.ex", FileState(1, 1, 1, "h", "elixir"), [one])
        index.flush(force=True)
        assert answers(index, one)[0][:2] == ("lib/late.ex", one.name)
        view = index.view()
        blind = rank(view, Query(one.text, None, "elixir"), mask(view.snapshot, Filters()), limit=1)
        assert view.snapshot.columns.slot[blind.rows[0]] == -1


def test_a_text_of_another_language_is_compared_across(tmp_path: Path) -> None:
    """Keywords of the query's language would decide what is like it in another."""
    texts = {"elixir": ["end one", "end two", "end fold"], "cpp": ["int end", "int fold", "int a", "int b"]}
    with Index.open(tmp_path, write=True) as index:
        for name, some in texts.items():
            parts = [Fragment(name, name, "file", "", at, at, text) for at, text in enumerate(some, 1)]
            index.replace_file(name, FileState(0, 0, 0, ""), parts, None)
        index.flush(force=True)
        view = index.view()
        found = rank(view, Query("end fold", None, "elixir"), mask(view.snapshot, Filters(languages=("cpp",))), limit=4)
    by_line = dict(zip(view.snapshot.columns.start[found.rows].tolist(), found.likeness.tolist(), strict=True))
    assert by_line[3] == by_line[4] == 0 < by_line[1] < by_line[2]


def test_an_empty_index_answers_nothing(tmp_path: Path) -> None:
    """The first query of a fresh workspace would crash."""
    with Index.open(tmp_path, write=True) as index:
        assert answers(index, fragment("lib/a.ex", 1)) == []
        put(index, "lib/a.ex")
        assert answers(index, fragment("lib/a.ex", 1))
        index.remove_file("lib/a.ex")
        assert answers(index, fragment("lib/a.ex", 1)) == []


def test_a_wide_query_vector_is_refused(index: Index) -> None:
    """A float64 query would make every scan ten times slower, unseen."""
    view = index.view()
    with pytest.raises(TypeError, match="float32"):
        cosines(view.dense, np.ones(64), 0, np.zeros(1, np.int32))
