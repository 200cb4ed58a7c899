"""An index of files at hand, written as the indexer writes it, for scripts that measure."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from codekin.finetune.evaluation import EmbeddingCache
from codekin.parsing import cut_chunks, detect_language
from codekin.protocols import Embedder, TextKind, Vectors
from codekin.storage import ChunkIndex, FileState
from codekin.types import Chunk

BATCH = 64
LARGEST = 300_000


@dataclass(frozen=True)
class CachedEmbedder:
    """An embedder whose vectors are kept."""

    kept: EmbeddingCache
    embedder: Embedder

    def __getattr__(self, name: str) -> Any:
        return getattr(self.embedder, name)

    def embed(self, texts: Sequence[str], kind: TextKind = "passage") -> Vectors:  # noqa: ARG002 - both alike
        """Vectors (len(texts), dimensions)."""
        return self.kept.embed(list(texts))


def files_below(root: Path) -> dict[str, str]:
    """Texts of all Elixir and C++ files below a folder, by relative path."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and 0 < path.stat().st_size < LARGEST:
            name = str(path.relative_to(root))
            if detect_language(name, "") in {"elixir", "cpp", "c"}:
                found[name] = path.read_text("utf-8", "replace")
    return found


def files_at(repository: Path, commit: str) -> dict[str, str]:
    """The same of a commit in a git directory."""
    names = _git(repository, "ls-tree", "-r", "--name-only", commit).splitlines()
    wanted = [name for name in names if detect_language(name, "") in {"elixir", "cpp", "c"}]
    texts = {name: _git(repository, "show", f"{commit}:{name}") for name in wanted}
    return {name: text for name, text in texts.items() if 0 < len(text) < LARGEST}


def days(repository: Path, count: int, folder: str = "lib") -> list[str]:
    """The last commit of each of the last `count` days with changes below a folder, oldest first."""
    found: dict[str, str] = {}
    for line in _git(repository, "log", "--format=%H %cs", "--", folder).splitlines():
        commit, day = line.split()
        found.setdefault(day, commit)
        if len(found) > count:
            break
    return list(found.values())[:count][::-1]


def bring_up_to_date(index: ChunkIndex, embedder: Embedder, texts: Mapping[str, str]) -> int:
    """Makes the index equal to the texts, with vectors; gives how many were embedded."""
    index.ensure_space(embedder.space, embedder.name, embedder.dimensions)
    known = index.files()
    for path in set(known) - set(texts):
        index.remove_file(path)
    wanted: dict[str, str] = {}
    for path, text in texts.items():
        digest = sha256(text.encode("utf-8", "replace")).hexdigest()
        if path in known and known[path].hash == digest:
            continue
        found, _ = cut_chunks(path, text)
        wanted |= {chunk.digest: chunk.text for chunk in found}
        index.replace_file(path, _state(text, digest, found), found)
    missing = index.missing_digests(embedder.space, wanted)
    for part in _batches(sorted(missing, key=lambda digest: len(wanted[digest]))):
        vectors = embedder.embed([wanted[digest] for digest in part])
        index.put_vectors(dict(zip(part, vectors, strict=True)), embedder.space)
    return len(missing)


def _state(text: str, digest: str, found: list[Chunk]) -> FileState:
    return FileState(len(text), 0, 0, digest, found[0].language if found else "", "", False)


def _batches(digests: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(digests), BATCH):
        yield digests[start : start + BATCH]


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", "--git-dir", str(repository), *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout.decode("utf-8", "replace")
