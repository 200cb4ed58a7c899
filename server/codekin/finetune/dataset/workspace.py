"""Loads a workspace's functions from the index and splits them into training and held-out samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from codekin.errors import StoreError
from codekin.finetune.dataset.functions import (
    TEST_KINDS,
    FunctionKey,
    FunctionSample,
    changed_code,
    is_near_duplicate,
    select_samples,
    split_by_file,
)
from codekin.finetune.dataset.sources import ChangedFunctions, native_rows
from codekin.finetune.dataset.triplets import (
    MinedTriplets,
    TripletMix,
    TripletRow,
    analyze_triplets,
    mine_triplets,
    require_enough,
    triplets_with_text,
)
from codekin.protocols import Vectors
from codekin.storage import ChunkIndex
from codekin.types import Chunk

HELD_OUT_SHARE = 0.2
"""The share of files that no triplet uses."""

MIN_DUPLICATE_COSINE = 0.85
"""Texts whose vectors are less similar than this are no near-copies."""

MAX_EARLIER_VERSIONS = 2000
"""So many earlier texts are trained on; each is embedded once."""

EmbedFunction = Callable[[Sequence[str]], Vectors]
EarlierTextsReader = Callable[[Sequence[FunctionSample]], Mapping[FunctionKey, str]]
"""Gives an earlier text of each sample that had another one."""


CommitsReader = Callable[[Sequence[FunctionSample]], Sequence[ChangedFunctions]]
"""Gives the commits that changed some of the samples."""


@dataclass(frozen=True, slots=True)
class GivenTriplets:
    """Triplets that the user gave: their different texts as samples with vectors, and rows of positions in them."""

    samples: list[FunctionSample]
    vectors: Vectors
    rows: list[TripletRow]


@dataclass(frozen=True, slots=True)
class WorkspaceDataset:
    """What a run trains on and is evaluated on, with vectors of the base; changed names, earlier texts.

    `versions` are earlier texts of what is trained on, with `version_vectors`; `tests` are in files like its own.
    `span` is the range of the journal, from the last write number that was used to the last one seen. `given` are
    triplets of a file, in place of mined ones; `commits` and `natives` are material for source pairs.
    """

    train_samples: list[FunctionSample]
    vectors: Vectors
    versions: list[FunctionSample]
    version_vectors: Vectors
    held_out: list[FunctionSample]
    held_out_vectors: Vectors
    changed: frozenset[str]
    earlier: Mapping[FunctionKey, str]
    span: tuple[int, int]
    tests: list[FunctionSample] = field(default_factory=list)
    given: "GivenTriplets | None" = None
    commits: Sequence[ChangedFunctions] = ()
    natives: Sequence[tuple[str, int, str]] = ()

    def mined(self, mix: TripletMix) -> tuple[list[FunctionSample], Vectors, MinedTriplets]:
        """What triplets are mined from, its vectors, and the triplets. Raises FinetuneError where code is short."""
        samples = [*self.train_samples, *self.versions]
        vectors = np.concatenate([self.vectors, self.version_vectors])
        return samples, vectors, mine_triplets(samples, vectors, mix, self.changed)

    def split_validation(self, split_position: float) -> tuple["WorkspaceDataset", list[FunctionSample]]:
        """What is left without the files below a share, and the samples of those: they validate."""
        rest, apart = split_by_file(self.train_samples, split_position)
        rows = [at for at, sample in enumerate(self.train_samples) if sample.split_position >= split_position]
        old = [at for at, sample in enumerate(self.versions) if sample.split_position >= split_position]
        versions = [self.versions[at] for at in old]
        tests, _ = split_by_file(self.tests, split_position)
        left = replace(self, train_samples=rest, vectors=self.vectors[rows], versions=versions, tests=tests)
        return replace(left, version_vectors=self.version_vectors[old]), apart


def load_dataset(  # noqa: PLR0913, PLR0917 - what is read, and from where
    index: ChunkIndex,
    space: str,
    embed: EmbedFunction,
    used: int,
    read_earlier_texts: EarlierTextsReader = lambda _: {},
    read_commits: CommitsReader = lambda _: (),
) -> WorkspaceDataset:
    """Reads the workspace's functions with their vectors in the base's `space`; `embed` gives those it lacks.

    Earlier texts that `read_earlier_texts` lacks may come from the journal. Raises FinetuneError where there is too
    little code.
    """
    changes = index.changes(used)
    chunks = _read_chunks(index)
    samples, tests = select_samples(chunks), select_samples(chunks, TEST_KINDS)
    require_enough(samples)
    train_samples, held_out = split_by_file(samples, HELD_OUT_SHARE)
    stored = _stored_vectors(index, space)
    held_out_vectors = _vectors_of(held_out, stored, embed)
    train_samples, vectors = without_near_duplicates(
        train_samples, _vectors_of(train_samples, stored, embed), held_out, held_out_vectors
    )
    changed = frozenset(edit.name for change in changes for edit in change.edits if edit.new_text)
    earlier = {**_texts_from_journal(index), **read_earlier_texts(samples)}
    versions = _earlier_samples(train_samples, earlier)
    function_key = without_near_duplicates(versions, _vectors_of(versions, stored, embed), held_out, held_out_vectors)
    span = (used, changes[-1].seq if changes else used)
    return WorkspaceDataset(
        train_samples,
        vectors,
        *function_key,
        held_out,
        held_out_vectors,
        changed,
        earlier,
        span,
        split_by_file(tests, HELD_OUT_SHARE)[0],
        commits=read_commits(train_samples),
        natives=[row for chunk in chunks if chunk.language in {"c", "cpp"} for row in native_rows(chunk.text)],
    )


def _texts_from_journal(index: ChunkIndex) -> dict[FunctionKey, str]:
    """The texts before the latest edits since the workspace was first indexed."""
    edits = [(change.path, edit) for change in index.changes(0) for edit in change.edits]
    return {(path, edit.name): edit.old_text for path, edit in edits if edit.old_text and edit.new_text}


def without_near_duplicates(
    train_samples: Sequence[FunctionSample],
    vectors: Vectors,
    held_out: Sequence[FunctionSample],
    held_out_vectors: Vectors,
) -> tuple[list[FunctionSample], Vectors]:
    """What is trained on without near-copies of what is held out; only near vectors are compared as texts."""
    kept = []
    for start in range(0, len(train_samples), 1024):
        for row, cosines in enumerate(vectors[start : start + 1024] @ held_out_vectors.T, start):
            near = np.flatnonzero(cosines >= MIN_DUPLICATE_COSINE).tolist()
            if not any(is_near_duplicate(train_samples[row], held_out[at]) for at in near):
                kept.append(row)
    return [train_samples[row] for row in kept], vectors[kept]


def _earlier_samples(
    train_samples: Sequence[FunctionSample], earlier: Mapping[FunctionKey, str]
) -> list[FunctionSample]:
    """Earlier texts of these samples, where they differ from today's; a fixed sample of too many."""
    found = []
    for sample in sorted(
        (one for one in train_samples if one.function_key in earlier), key=lambda one: one.chunk.digest
    ):
        text = earlier[sample.function_key]
        if code := changed_code(sample, text):
            found.append(FunctionSample(replace(sample.chunk, text=text), code, earlier=True))
    return found[:MAX_EARLIER_VERSIONS]


def preview_triplets(dataset: WorkspaceDataset, mix: TripletMix) -> dict[str, Any]:
    """What a run would train on: triplets with texts and places, what they are like, a note."""
    samples, vectors, mined = dataset.mined(mix)
    found = triplets_with_text(samples, vectors, mined)
    return {"triplets": [asdict(one) for one in found], "analysis": analyze_triplets(found), "note": mined.note}


def _stored_vectors(index: ChunkIndex, space: str) -> dict[str, Vectors]:
    """Vectors by digest; none where the base's space was given up for a trained encoder's."""
    try:
        return {
            digest: row for digests, rows in index.vectors(space) for digest, row in zip(digests, rows, strict=True)
        }
    except StoreError:
        return {}


def _vectors_of(samples: Sequence[FunctionSample], stored: Mapping[str, Vectors], embed: EmbedFunction) -> Vectors:
    """One row for each sample; of no samples, embedding nothing gives the right shape."""
    if not samples:
        return embed([])
    missing = [sample for sample in samples if sample.chunk.digest not in stored]
    fresh = dict(zip([p.chunk.digest for p in missing], embed([p.chunk.text for p in missing]), strict=True))
    rows = [stored[p.chunk.digest] if p.chunk.digest in stored else fresh[p.chunk.digest] for p in samples]
    return np.asarray(rows, np.float32)


def _read_chunks(index: ChunkIndex) -> list[Chunk]:
    return [chunk for path, state in index.files().items() if not state.skipped for chunk in index.chunks(path)]
