"""How much of what a list of ten places shows is noise, and what hiding faint places takes from it.

    python scripts/benchmarks/noise.py --data FILE

FILE has rows `{id, task, lang, code}` as for `codekin eval retrieval`; a place is right if it is of the query's task.
Each row asks for ten places in both languages, as the editors do.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from codekin.models.loading import load_embedder
from codekin.ranking import find_similar
from codekin.storage import ChunkIndex, FileState
from codekin.types import Chunk, Hit

TEN = 10


class ListedHit(NamedTuple):
    """A place in a list of ten; `best` is the best score of its language there."""

    score: float
    best: float
    is_across: bool
    is_right: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    rows = [json.loads(line) for line in parser.parse_args().data.read_text().splitlines()]
    places = list(listed_hits(rows))
    print("| hidden | of the right, within a language | of the wrong | of the right, across | of the wrong |")
    print("|---|---|---|---|---|")
    for part, clear in ((0.0, 1.0), (0.1, 1.0), (0.2, 1.0), (0.2, 0.6), (0.3, 0.6), (0.3, 1.0)):
        cells = [share(places, part, clear, across, right) for across in (False, True) for right in (True, False)]
        print(f"| below {part} of the best, at most {part * clear:.2f} | {' | '.join(cells)} |")


def share(places: Sequence[ListedHit], part: float, clear: float, is_across: bool, is_right: bool) -> str:
    """How many of the right or wrong places would be hidden, of how many."""
    meant = [place for place in places if (place.is_across, place.is_right) == (is_across, is_right)]
    hidden = sum(place.score < part * min(place.best, clear) for place in meant)
    return f"{hidden} of {len(meant)}"


def listed_hits(rows: Sequence[Mapping[str, Any]]) -> Iterator[ListedHit]:
    """The places of all lists of ten."""
    embedder = load_embedder("codekin_embed")
    chunks = [
        Chunk(f"{at}", row["lang"], "function", "", 1, row["code"].count("\n") + 1, row["code"])
        for at, row in enumerate(rows)
    ]
    with TemporaryDirectory(prefix="codekin-noise-") as folder, ChunkIndex.open(Path(folder), write=True) as index:
        index.ensure_space(embedder.space, embedder.name, embedder.dimensions)
        for chunk in chunks:
            vectors = {chunk.digest: embedder.embed([chunk.text])[0]}
            index.replace_file(chunk.path, FileState(0, 0, 0, "", chunk.language), [chunk], vectors)
        index.flush(force=True)
        for chunk, row in zip(chunks, rows, strict=True):
            yield from shown(row, find_similar(index, embedder, chunk, limit=TEN), rows)


def shown(row: Mapping[str, Any], hits: Sequence[Hit], rows: Sequence[Mapping[str, Any]]) -> Iterator[ListedHit]:
    best: dict[str, float] = {}
    for hit in hits:
        best[hit.language] = max(best.get(hit.language, 0.0), hit.score)
    for hit in hits:
        other = rows[int(hit.path)]
        yield ListedHit(hit.score, best[hit.language], hit.language != row["lang"], other["task"] == row["task"])


if __name__ == "__main__":
    main()
