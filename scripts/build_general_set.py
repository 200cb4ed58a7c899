"""Writes server/codekin/finetune/general.jsonl: documented functions of Elixir's library and of Abseil.

    python scripts/build_general_set.py ELIXIR_CHECKOUT ABSEIL_CHECKOUT

Chosen by the hash of their code, so that the same checkouts give the same set.
"""

import json
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from codekin.finetune.dataset.functions import FunctionSample, select_samples
from codekin.finetune.evaluation import GENERAL_SET_PATH
from codekin.parsing import cut_chunks

MOST = {"elixir": 120, "cpp": 60}
LONGEST = 1500


def main() -> None:
    """Reads both checkouts and writes the set."""
    elixir, abseil = map(Path, sys.argv[1:3])
    rows = [*chosen(elixir, "lib/elixir/lib/**/*.ex", "elixir"), *chosen(abseil, "absl/**/*.h", "cpp")]
    GENERAL_SET_PATH.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(len(rows), "functions,", GENERAL_SET_PATH.stat().st_size, "bytes")


def chosen(root: Path, pattern: str, language: str) -> Iterator[dict[str, str]]:
    """The documented functions whose code hashes lowest."""
    found = [sample for path in sorted(root.glob(pattern)) for sample in read(root, path, language)]
    found.sort(key=lambda sample: sha256(sample.code.encode()).digest())
    for sample in found[: MOST[language]]:
        yield {"path": f"{language}/{sample.chunk.path}", "text": sample.chunk.text + "\n"}


def read(root: Path, path: Path, language: str) -> list[FunctionSample]:
    """The documented functions of a file that are not long."""
    text = path.read_text("utf-8", "replace")
    found = select_samples(cut_chunks(str(path.relative_to(root)), text, language)[0])
    return [sample for sample in found if sample.sentence and len(sample.chunk.text) <= LONGEST]


if __name__ == "__main__":
    main()
