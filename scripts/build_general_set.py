"""Writes server/codekin/learning/general.jsonl: documented functions of Elixir's library and of Abseil.

    python scripts/build_general_set.py ELIXIR_CHECKOUT ABSEIL_CHECKOUT

Chosen by the hash of their code, so that the same checkouts give the same set.
"""

import json
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from codekin.learning.general import GENERAL
from codekin.learning.pieces import Piece, pieces_of
from codekin.syntax import fragments

MOST = {"elixir": 120, "cpp": 60}
LONGEST = 1500


def main() -> None:
    """Reads both checkouts and writes the set."""
    elixir, abseil = map(Path, sys.argv[1:3])
    rows = [*chosen(elixir, "lib/elixir/lib/**/*.ex", "elixir"), *chosen(abseil, "absl/**/*.h", "cpp")]
    GENERAL.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(len(rows), "functions,", GENERAL.stat().st_size, "bytes")


def chosen(root: Path, pattern: str, language: str) -> Iterator[dict[str, str]]:
    """The documented functions whose code hashes lowest."""
    found = [piece for path in sorted(root.glob(pattern)) for piece in read(root, path, language)]
    found.sort(key=lambda piece: sha256(piece.code.encode()).digest())
    for piece in found[: MOST[language]]:
        yield {"path": f"{language}/{piece.fragment.path}", "text": piece.fragment.text + "\n"}


def read(root: Path, path: Path, language: str) -> list[Piece]:
    """The documented functions of a file that are not long."""
    text = path.read_text("utf-8", "replace")
    found = pieces_of(fragments(str(path.relative_to(root)), text, language)[0])
    return [piece for piece in found if piece.sentence and len(piece.fragment.text) <= LONGEST]


if __name__ == "__main__":
    main()
