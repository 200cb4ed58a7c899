"""What a team's index of so many lines takes: disk, memory, hours of embedding, machines, and what breaks first.

Bytes and the rate of a worker are measured (docs/experiments.md, "a team's index on Postgres"), the speeds of GPUs are
estimates; everything else is arithmetic on them.
"""

import re
from dataclasses import dataclass

from codekin.errors import UsageError
from codekin.models.catalogue import find_model

LINES_PER_CHUNK = 15
"""Lines of source for each chunk: 750 million lines are about 50 million functions."""

TOKENS_PER_CHUNK = 150
ROW_BYTES = 3400
"""Bytes of a chunk on disk without its vector: text, terms, words, the GIN and B-tree indexes."""

HNSW_BYTES_PER_LINK = 6.5
_LINKS = 2 * 16 + 4
TOKENS_PER_SECOND_ON_GPU = {"codekin_embed": 400_000, "jina_v3": 50_000, "qodo": 50_000}
CHUNKS_PER_SECOND_OF_WORKER = 300
LARGEST_INDEX_IN_MEMORY = 256 << 30
"""Bytes of vectors and links that one machine keeps in memory; a larger index is split by repository."""

_SUFFIXES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}


@dataclass(frozen=True, slots=True)
class TeamPlan:
    """A plan: counts, bytes, and hours."""

    lines: int
    model: str
    chunks: int
    dimensions: int
    table_bytes: int
    vector_bytes: int
    index_bytes: int
    gpu_hours: float
    worker_hours: float
    machines: int
    limit: str

    @property
    def disk_bytes(self) -> int:
        """All that Postgres stores, once; a replica takes as much again."""
        return self.table_bytes + self.vector_bytes + self.index_bytes

    @property
    def memory_bytes(self) -> int:
        """What should lie in the page cache: the vector index and a fifth of the rest."""
        return self.index_bytes + self.disk_bytes // 5


def parse_count(text: str) -> int:
    """`750M` as 750,000,000. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGB]?)", text.strip().upper().replace("_", ""))
    if match is None or not float(match[1]):
        raise UsageError(f"{text} is no number of lines: write 750M or 2000000.")
    return int(float(match[1]) * _SUFFIXES[match[2]])


def plan_team(lines: int, model: str) -> TeamPlan:
    """The plan for so many lines under a model of the catalogue. Raises ModelError where there is none of that name."""
    spec = find_model(model)
    dimensions = spec.dimensions
    chunks = max(1, lines // LINES_PER_CHUNK)
    vectors = chunks * (2 * dimensions + 60)
    index = int(chunks * (2 * dimensions + _LINKS * HNSW_BYTES_PER_LINK + 80))
    speed = TOKENS_PER_SECOND_ON_GPU.get(spec.key, 50_000)
    machines = max(1, -(-index // LARGEST_INDEX_IN_MEMORY))
    return TeamPlan(
        lines, spec.key, chunks, dimensions, chunks * ROW_BYTES, vectors, index,
        chunks * TOKENS_PER_CHUNK / speed / 3600, chunks / CHUNKS_PER_SECOND_OF_WORKER / 3600, machines,
        _first_limit(index, chunks * TOKENS_PER_CHUNK / speed / 3600, machines),
    )  # fmt: skip


def _first_limit(index: int, gpu_hours: float, machines: int) -> str:
    if machines > 1:
        return f"memory: the vector index has {index / 2**30:,.0f} GiB; split the repositories over {machines} servers"
    if gpu_hours > 24:
        return f"embedding: {gpu_hours:,.0f} hours on one GPU; use several, or a smaller model"
    return "none: one machine carries it"
