"""Processor time of `search` and `similar` in a large index: the first question after a start, and warm ones.

    python scripts/benchmarks/query_time.py [--chunks 50000] [--quick] [--json]

The chunks are synthetic (synthetic_repository.py), their vectors those of the encoder for one in twenty, moved a little
for the others (index_filler.py). Each question is processor time of this process, one thread: a busy machine
stretches it less than the clock. The encoder is loaded, and no word of a name embedded, before the first.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from figures import Figure, show
from index_filler import SparseEmbedder
from synthetic_repository import functions

from codekin.models.loading import load_embedder
from codekin.parsing import cut_chunks
from codekin.protocols import Embedder
from codekin.ranking import find_similar, search_code
from codekin.storage import ChunkIndex, FileState
from codekin.storage.terms import split_subtokens
from codekin.types import Chunk, SearchRequest

IN_A_FILE = 50
WARM_MS, FIRST_MS = 30, 150


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=50_000)
    parser.add_argument("--quick", action="store_true", help="a tenth of the chunks")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    show(measure(options.chunks // 10 if options.quick else options.chunks), as_json=options.json)


def measure(count: int) -> list[Figure]:
    """Figures for an index of so many chunks."""
    embedder = load_embedder("codekin_embed")
    with TemporaryDirectory(prefix="codekin-time-") as data:
        fill(Path(data), embedder, count)
        index = ChunkIndex.open(Path(data))
        chunks = [chunk_of(language, text) for language, text in functions(60, first=1_000_000)]
        questions = [" ".join(split_subtokens(chunk.text)[2:9]) for chunk in chunks]
        searches = [spent(search, index, embedder, question) for question in questions]
        similar = [spent(find_similar, index, embedder, chunk) for chunk in chunks]
    beside = f"{count} chunks, processor time"
    return [
        Figure("the first search after a start", searches[0], "ms", at_most=FIRST_MS, beside=beside),
        Figure("a search, p50 of the last 30", statistics.median(searches[30:]), "ms", at_most=WARM_MS, beside=beside),
        Figure("the first similar", similar[0], "ms", at_most=FIRST_MS, beside=beside),
        Figure("a similar, p50 of the last 30", statistics.median(similar[30:]), "ms", at_most=WARM_MS, beside=beside),
    ]


def search(index: ChunkIndex, embedder: Embedder, text: str) -> None:
    search_code(index, embedder, SearchRequest(text))


def spent(call: Callable[..., object], *arguments: object) -> float:
    """Milliseconds of processor time of a call."""
    began = time.process_time()
    call(*arguments)
    return (time.process_time() - began) * 1000


def chunk_of(language: str, text: str) -> Chunk:
    """The first chunk of a text."""
    return cut_chunks("", text, language)[0][0]


def fill(folder: Path, embedder: Embedder, count: int) -> None:
    """An index of so many functions with their vectors."""
    stand_in = SparseEmbedder(embedder)
    with ChunkIndex.open(folder, write=True) as index:
        index.ensure_space(embedder.space, embedder.name, embedder.dimensions)
        with index.batch():
            for number in range(count // IN_A_FILE):
                name = f"lib/part_{number}.ex"
                sources = functions(IN_A_FILE, first=number)
                chunks = [replace(chunk_of(language, text), path=name) for language, text in sources]
                rows = stand_in.embed([one.text for one in chunks])
                vectors = {one.digest: row for one, row in zip(chunks, rows, strict=True)}
                state = FileState(1, 0, 0, sha256(name.encode()).hexdigest(), chunks[0].language)
                index.replace_file(name, state, chunks, vectors)
        index.flush(force=True)


if __name__ == "__main__":
    main()
