"""Where the definition stands when a function is searched by its name: as Codekin prints it, with one scope, and bare.

    python scripts/benchmarks/names.py DIR [DIR …] [--functions 30] [--seed 7] [--json]

Asks about random functions of a checkout whose bare name is unique in it. No vectors: names need none.
"""

import argparse
import random
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from figures import Figure, show

from codekin.parsing import cut_chunks, detect_language
from codekin.ranking import search_code
from codekin.storage import ChunkIndex, FileState
from codekin.storage.snapshot import split_name
from codekin.types import Chunk, SearchRequest

FUNCTIONS = frozenset({"function", "macro", "guard", "delegate", "method", "constructor", "destructor"})
LARGEST = 1_000_000
SHOWN = 10
SKIPPED_FOLDERS = frozenset({".git", "node_modules", "_build"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--functions", type=int, default=30)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = [figure for folder in options.folders for figure in measure(folder, options.functions, options.seed)]
    show(figures, as_json=options.json)


def measure(folder: Path, count: int, seed: int) -> list[Figure]:
    """How many of some functions are first, and among the first five, by each spelling."""
    with TemporaryDirectory(prefix="codekin-names-") as data, ChunkIndex.open(Path(data), write=True) as index:
        chosen = choose_functions(fill(index, folder), count, seed)
        found = []
        for way, spell in (("as printed", lambda one: one.name), ("qualified", qualified_name), ("bare", bare_name)):
            ranks = [rank_of(index, one, spell(one)) for one in chosen]
            missing = [spell(one) for one, rank in zip(chosen, ranks, strict=True) if rank == 0]
            beside = f"of {len(chosen)}; absent from {SHOWN}: {', '.join(missing) or 'none'}"
            first, five = sum(rank == 1 for rank in ranks), sum(0 < rank <= 5 for rank in ranks)
            bar = round(0.9 * len(chosen))
            found.append(Figure(f"{folder.name}, {way}, first", first, at_least=bar, beside=beside))
            found.append(Figure(f"{folder.name}, {way}, in five", five, at_least=bar, beside=f"of {len(chosen)}"))
        return found


def fill(index: ChunkIndex, folder: Path) -> list[Chunk]:
    """Puts a checkout's files into the index."""
    chunks: list[Chunk] = []
    with index.batch():
        for path in sorted(folder.rglob("*")):
            if SKIPPED_FOLDERS & set(path.parts) or not path.is_file() or path.is_symlink():
                continue
            name, size = path.relative_to(folder).as_posix(), path.stat().st_size
            if size > LARGEST or not (language := detect_language(name, "")):
                continue
            found, _ = cut_chunks(name, path.read_text("utf-8", "replace"), language)
            index.replace_file(name, FileState(size, 0, 0, name, language), found)
            chunks += found
    index.flush(force=True)
    return chunks


def choose_functions(chunks: list[Chunk], count: int, seed: int) -> list[Chunk]:
    """Random functions whose bare name no other chunk has."""
    whole = [one for one in chunks if one.part <= 1 and one.kind != "file"]
    often = Counter(bare_name(one) for one in whole)
    unique = [one for one in whole if one.kind in FUNCTIONS and often[bare_name(one)] == 1]
    return random.Random(seed).sample(unique, min(count, len(unique)))


def bare_name(chunk: Chunk) -> str:
    """The last part of a chunk's name."""
    return (split_name(chunk.name) or ("",))[-1]


def qualified_name(chunk: Chunk) -> str:
    """The last two parts of a chunk's name as its language joins them; the last where there are no more."""
    return ("::" if "::" in chunk.name else ".").join(split_name(chunk.name)[-2:])


def rank_of(index: ChunkIndex, chunk: Chunk, text: str) -> int:
    """Where the function stands, counted from 1; 0 where it is not among those shown."""
    hits = search_code(index, None, SearchRequest(text, limit=SHOWN))
    places = [(hit.path, hit.name, hit.start_line) for hit in hits]
    wanted = (chunk.path, chunk.name, chunk.start_line)
    return places.index(wanted) + 1 if wanted in places else 0


if __name__ == "__main__":
    main()
