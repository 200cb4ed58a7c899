"""The rank of each right answer to some 150 questions on the example workspace, so that a change of ranking shows.

`golden/ranks.tsv` has the ranks by words alone, which are the same everywhere; 0 is not among ten. They must be as
committed, and keep a floor, as they do with the bundled encoder.
`UPDATE_GOLDEN=1 pytest tests/ranking/test_ranking_golden.py -m "not slow"` writes them anew.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from codekin import parsing
from codekin.models.loading import load_embedder
from codekin.protocols import Embedder
from codekin.ranking import search_code
from codekin.storage import ChunkIndex, FileState
from codekin.storage.snapshot import arity_of, split_name
from codekin.types import Chunk, SearchRequest

WORKSPACE = Path(__file__).parents[2] / "examples" / "mixed"
GOLDEN = Path(__file__).parent / "golden"
FUNCTIONS = frozenset({"function", "method", "constructor", "destructor", "class", "module"})
SHOWN = 10
WRITTEN = len(GOLDEN.joinpath("questions.tsv").read_text().splitlines())
FLOOR_OF_WORDS, FLOOR_OF_NAMES, FLOOR_WITH_ENCODER = 0.66, 0.97, 0.66

SPELLINGS: Sequence[Callable[[str], str]] = (
    lambda name: name,
    lambda name: split_name(name)[-1],
    lambda name: _join(name, split_name(name)[-2:]),
    lambda name: " ".join(parsing_words(split_name(name)[-1])),
    lambda name: split_name(name)[-1].upper(),
    lambda name: f"{split_name(name)[-1]}()" if arity_of(name) is None else f"&{name}",
)


def _join(name: str, parts: Sequence[str]) -> str:
    return ("::" if "::" in name else ".").join(parts)


def parsing_words(name: str) -> list[str]:
    """The words of a bare name."""
    from codekin.storage.terms import split_subtokens

    return split_subtokens(name)


def _fill(index: ChunkIndex, embedder: Embedder | None) -> list[Chunk]:
    chunks: list[Chunk] = []
    if embedder:
        index.ensure_space(embedder.space, embedder.name, embedder.dimensions)
    for path in sorted(WORKSPACE.rglob("*")):
        name = path.relative_to(WORKSPACE).as_posix()
        if not path.is_file() or not (language := parsing.detect_language(name, "")):
            continue
        found, _ = parsing.cut_chunks(name, path.read_text("utf-8"), language)
        vectors = {one.digest: embedder.embed([one.text])[0] for one in found} if embedder else None
        index.replace_file(name, FileState(1, 0, 0, name, language), found, vectors)
        chunks += found
    index.flush(force=True)
    return chunks


def _questions(chunks: Sequence[Chunk]) -> list[tuple[str, list[str]]]:
    """The written questions, and each function and class by one of the spellings of its name."""
    written = [line.split("\t") for line in GOLDEN.joinpath("questions.tsv").read_text().splitlines()]
    named = sorted({one.name for one in chunks if one.kind in FUNCTIONS and "test" not in one.path})
    spelled = [(SPELLINGS[at % len(SPELLINGS)](name), name) for at, name in enumerate(named)]
    right = {text: [one for one in named if split_name(one)[-1] == split_name(name)[-1]] for text, name in spelled}
    return [(text, answers.split(", ")) for text, answers in written] + list(right.items())


def _ranks(folder: Path, embedder: Embedder | None) -> dict[str, int]:
    with ChunkIndex.open(folder, write=True) as index:
        questions = _questions(_fill(index, embedder))
        ranks = {}
        for text, answers in questions:
            names = [hit.name for hit in search_code(index, embedder, SearchRequest(text, limit=SHOWN))]
            ranks[text] = next((at for at, name in enumerate(names, 1) if name in answers), 0)
    return ranks


def _mean_reciprocal(ranks: Sequence[int]) -> float:
    return sum(1 / rank for rank in ranks if rank) / len(ranks)


@pytest.fixture(scope="module")
def words_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """By question the rank of the right answer by words alone."""
    ranks = _ranks(tmp_path_factory.mktemp("words"), None)
    if os.environ.get("UPDATE_GOLDEN"):
        lines = [f"{rank}\t{text}" for text, rank in ranks.items()]
        GOLDEN.joinpath("ranks.tsv").write_text("rank\tquestion\n" + "\n".join(lines) + "\n")
    return ranks


def test_ranks_by_words_are_as_committed(words_ranks: dict[str, int]) -> None:
    """A change of the ranking shows in the table of ranks, where a reviewer sees it."""
    rows = [line.split("\t") for line in GOLDEN.joinpath("ranks.tsv").read_text().splitlines()[1:]]
    assert {text: int(rank) for rank, text in rows} == words_ranks


def test_the_right_results_by_words_rank_as_high_as_ever(words_ranks: dict[str, int]) -> None:
    """The mean reciprocal rank keeps its floors, for written questions and for names."""
    assert len(words_ranks) >= 120
    ranks = list(words_ranks.values())
    assert _mean_reciprocal(ranks[:WRITTEN]) >= FLOOR_OF_WORDS
    assert _mean_reciprocal(ranks[WRITTEN:]) >= FLOOR_OF_NAMES


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_right_results_with_the_encoder_rank_as_high_as_ever(tmp_path: Path) -> None:
    """The encoder that is shipped keeps its floor of mean reciprocal rank beside the words."""
    ranks = list(_ranks(tmp_path, load_embedder("codekin_embed")).values())
    assert _mean_reciprocal(ranks[:WRITTEN]) >= FLOOR_WITH_ENCODER
    assert _mean_reciprocal(ranks[WRITTEN:]) >= FLOOR_OF_NAMES
