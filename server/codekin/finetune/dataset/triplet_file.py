"""Reads triplets that the user gives: JSON Lines as `codekin triplets --output` writes them.

A row needs `anchor`, `positive` and `negative`; `kind` and `anchor_language`, `positive_language`, `negative_language`
are optional. File, rows and texts are bounded, and every fault is one sentence with its line.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from codekin.errors import UsageError
from codekin.finetune.dataset.functions import TRAINED_LANGUAGES, FunctionSample
from codekin.finetune.dataset.workspace import EmbedFunction, GivenTriplets
from codekin.types import Chunk

MAX_FILE_BYTES = 256 << 20
MAX_ROWS = 200_000
MAX_TEXT_CHARS = 100_000
SIDES = ("anchor", "positive", "negative")
DEFAULT_LANGUAGE = "elixir"


@dataclass(frozen=True, slots=True)
class TripletText:
    """The texts of anchor, positive and negative with their languages, and a name for what they share."""

    texts: tuple[str, str, str]
    languages: tuple[str, str, str] = (DEFAULT_LANGUAGE,) * 3
    kind: str = "given"


def load_given_triplets(path: Path, embed: EmbedFunction) -> GivenTriplets:
    """The triplets of a file with vectors. Raises UsageError for a fault in it."""
    return embed_triplets(read_triplets(path), embed)


def embed_triplets(triplets: Sequence[TripletText], embed: EmbedFunction) -> GivenTriplets:
    """Each different text once, as a sample with its vector, and the triplets as positions."""
    positions: dict[tuple[str, str], int] = {}
    for triplet in triplets:
        for key in zip(triplet.languages, triplet.texts, strict=True):
            positions.setdefault(key, len(positions))
    rows = []
    for triplet in triplets:
        anchor, positive, negative = (positions[key] for key in zip(triplet.languages, triplet.texts, strict=True))
        rows.append((triplet.kind, anchor, positive, negative))
    samples = [_sample(at, *key) for key, at in positions.items()]
    return GivenTriplets(samples, embed([text for _, text in positions]), rows)


def read_triplets(path: Path) -> list[TripletText]:
    """The triplets of a file. Raises UsageError for a fault in it, or where it cannot be read."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"{path} has more than {MAX_FILE_BYTES >> 20} megabytes: give fewer triplets.")
        with path.open(encoding="utf-8") as file:
            found = [parse_triplet(row, place) for place, row in _read_rows(path, file)]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or error}): give a file of JSON Lines."
        ) from error
    if not found:
        raise UsageError(f"{path} holds no triplets: write one JSON object a line.")
    return found


def parse_triplet(row: Any, place: str) -> TripletText:
    """A triplet of a JSON object; `place` names it in the sentence of a UsageError."""
    if not isinstance(row, Mapping):
        raise UsageError(f"{place} is no object: write one with anchor, positive and negative.")
    anchor, positive, negative = (_text(row, side, place) for side in SIDES)
    if negative in {anchor, positive}:
        raise UsageError(f"{place}: the negative is the same text as the anchor or the positive; give another one.")
    first, second, third = (_language(row, side, place) for side in SIDES)
    kind = row.get("kind")
    return TripletText((anchor, positive, negative), (first, second, third), kind if isinstance(kind, str) else "given")


def _read_rows(path: Path, lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """The place and the value of each line that is not blank."""
    filled = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    for count, (number, line) in enumerate(islice(filled, MAX_ROWS + 1)):
        place = f"{path}, line {number}"
        if count == MAX_ROWS:
            raise UsageError(f"{path} holds more than {MAX_ROWS} triplets: give fewer.")
        try:
            yield place, json.loads(line)
        except (ValueError, RecursionError):
            raise UsageError(f"{place} is not JSON: write one object a line.") from None


def _text(row: Mapping[str, Any], side: str, place: str) -> str:
    text = row.get(side)
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"{place}: `{side}` must be a text that is not empty.")
    if len(text) > MAX_TEXT_CHARS:
        raise UsageError(f"{place}: `{side}` has more than {MAX_TEXT_CHARS} characters; give a shorter text.")
    return text.encode("utf-8", "replace").decode()


def _language(row: Mapping[str, Any], side: str, place: str) -> str:
    language = row.get(f"{side}_language", DEFAULT_LANGUAGE)
    if language not in TRAINED_LANGUAGES:
        known = ", ".join(sorted(TRAINED_LANGUAGES))
        raise UsageError(f"{place}: `{side}_language` must be one of {known}.")
    return str(language)


class GivenSample(FunctionSample):
    """A text of the user's own: it trains, and is never among what validates."""

    @property
    def split_position(self) -> float:
        """Beyond the share of every split."""
        return 1.0


def _sample(at: int, language: str, text: str) -> FunctionSample:
    """A text as a sample of a file of its own."""
    return GivenSample(Chunk(f"triplets/{at}", language, "function", "", 1, text.count("\n") + 1, text), text)
