"""`Triplets`: mined from a codebase, analysed, written to a file and read from one.

A triplet is an anchor, a positive that shares its pattern, and a hard negative that only looks similar.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from codekin.api.models import loading_options
from codekin.errors import UsageError
from codekin.finetune.dataset.functions import FunctionSample, select_samples
from codekin.finetune.dataset.triplet_file import TripletText, parse_triplet, read_triplets
from codekin.finetune.dataset.triplets import Triplet, TripletMix, analyze_triplets, mine_triplets, triplets_with_text
from codekin.indexing.file_reader import ScannedFile, WorkspaceRoot, read_content
from codekin.indexing.scan import scan_tree, scope_of_settings
from codekin.models.loading import load_embedder
from codekin.parsing import cut_chunks
from codekin.paths import real_folder
from codekin.protocols import Embedder
from codekin.settings import IndexSettings

MAX_COUNT = 1_000_000
MAX_FILES = 50_000

TripletLike = Triplet | TripletText | Mapping[str, Any] | Sequence[str]
"""A mined triplet, one of a file, a mapping with anchor, positive and negative, or these three texts."""


class Triplets:
    """Mines and analyses triplets; the codebase is read as `codekin index` reads it, and nothing is written."""

    @staticmethod
    def generate(  # noqa: PLR0913 - what the user can choose
        count: int = 1000,
        beam_ratio: float = 0.7,
        cross_language_ratio: float = 0.3,
        codebase_root: Path | str = ".",
        *,
        embedder: Embedder | None = None,
        seed: int = 0,
    ) -> list[Triplet]:
        """`count` triplets at most, in these shares. `embedder` selects the candidates; the bundled one otherwise.

        Raises UsageError for values out of bounds, NothingToTrainError where there is too little code.
        """
        _require_bounds(count, beam_ratio, cross_language_ratio)
        samples = read_samples(real_folder(Path(codebase_root)))
        model = embedder or load_embedder("codekin_embed", loading_options("auto", None))
        vectors = model.embed([sample.chunk.text for sample in samples])
        mined = mine_triplets(samples, vectors, TripletMix(count, beam_ratio, cross_language_ratio, seed))
        return triplets_with_text(samples, vectors, mined)

    @staticmethod
    def analyze(triplets: Sequence[Triplet]) -> dict[str, Any]:
        """Totals, the shares of BEAM, C++ and cross-language triplets, kinds, hardness and a sample to read."""
        return analyze_triplets(list(triplets))

    @staticmethod
    def save(triplets: Iterable[Triplet], path: Path | str) -> int:
        """Writes JSON Lines for `codekin finetune --triplets` and `Triplets.load`; returns how many."""
        rows = [json.dumps(asdict(triplet)) for triplet in triplets]
        Path(path).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        return len(rows)

    @staticmethod
    def load(path: Path | str) -> list[TripletText]:
        """The triplets of a file. Raises UsageError with the line of a fault."""
        return read_triplets(Path(path))


def read_samples(root: Path) -> list[FunctionSample]:
    """The functions of a codebase, as they would be indexed."""
    scope, place = scope_of_settings(IndexSettings()), WorkspaceRoot(root)
    files = (entry.path for entry in scan_tree(place, scope) if isinstance(entry, ScannedFile))
    contents = ((path, read_content(place, path, scope.largest_file)) for path in islice(files, MAX_FILES))
    return select_samples(
        chunk for path, found in contents if found and found.text for chunk in cut_chunks(path, found.text)[0]
    )


def texts_of(triplets: Sequence[TripletLike]) -> list[TripletText]:
    """Triplets of any form as texts with languages. Raises UsageError for one that is none."""
    return [_text_of(triplet, f"Triplet {number}") for number, triplet in enumerate(triplets, 1)]


def _text_of(triplet: TripletLike, place: str) -> TripletText:
    if isinstance(triplet, TripletText):
        return triplet
    if isinstance(triplet, Triplet):
        languages = (triplet.anchor_language, triplet.positive_language, triplet.negative_language)
        return TripletText((triplet.anchor, triplet.positive, triplet.negative), languages, triplet.kind)
    if isinstance(triplet, Sequence) and not isinstance(triplet, str) and len(triplet) == 3:
        return parse_triplet(dict(zip(("anchor", "positive", "negative"), triplet, strict=True)), place)
    return parse_triplet(triplet, place)


def _require_bounds(count: int, beam_ratio: float, cross_language_ratio: float) -> None:
    if not 1 <= count <= MAX_COUNT:
        raise UsageError(f"`count` must be a whole number between 1 and {MAX_COUNT}.")
    for name, value in (("beam_ratio", beam_ratio), ("cross_language_ratio", cross_language_ratio)):
        if not 0 <= value <= 1:
            raise UsageError(f"`{name}` must be a number between 0 and 1.")
