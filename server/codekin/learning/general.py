"""A small set of general code against forgetting: what was learned here must not make everything else worse.

`general.jsonl` holds documented functions of Elixir's standard library and of Abseil (Apache-2.0 both), written by
scripts/build_general_set.py; no triplet is ever made of them. Knows no models.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from codekin.learning.ground import lay_ground
from codekin.learning.judging import Ground
from codekin.learning.pieces import Piece, pieces_of
from codekin.seams import Vectors
from codekin.syntax import fragments

GENERAL = Path(__file__).with_name("general.jsonl")


def general_pieces() -> list[Piece]:
    """The set's functions; each row is a path and a text of one."""
    rows = [json.loads(line) for line in GENERAL.read_text(encoding="utf-8").splitlines()]
    return pieces_of(fragment for row in rows for fragment in fragments(row["path"], row["text"])[0])


def general_ground(embed: Callable[[Sequence[str]], Vectors]) -> Ground:
    """Questions about the set's functions among them all."""
    return lay_ground(general_pieces(), (), embed, {})
