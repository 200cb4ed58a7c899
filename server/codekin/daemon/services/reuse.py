"""The reuse gate: which functions a change adds, and what the index holds that does the same.

Files are compared with git's objects by their own hashes: `git diff` would run what a repository configures.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codekin import parsing
from codekin.daemon.services.code_queries import CodeQueries, chunk_of_snippet
from codekin.daemon.services.reading import source_of
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.errors import UsageError
from codekin.finetune.dataset import git_history
from codekin.indexing.file_reader import decode_text
from codekin.ranking.reuse import FUNCTION_KINDS, ExistingCode, essence, is_checked
from codekin.types import Chunk, Filters, Hit, SearchRequest

ALLOW_COMMENT = "codekin: allow"
"""In a comment of a function: it may repeat what exists."""

_MAX_DESCRIBED = 5
_MAX_DRAFTED = 8
"""Functions of one text that are compared while it is being written."""


@dataclass(frozen=True, slots=True)
class ExistingFunction:
    """A function that was queried or added, and existing code that does the same."""

    chunk: Chunk
    existing: tuple[ExistingCode, ...]

    def fingerprint(self, found: ExistingCode) -> str:
        """The key of a finding in a baseline: the two functions, wherever they are in their files."""
        names = (self.chunk.path, self.chunk.name, found.hit.path, found.hit.name)
        return hashlib.sha256("\0".join(names).encode("utf-8", "replace")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class ReuseGate:
    """Answers with the queries of one daemon; every method runs in a worker thread."""

    queries: CodeQueries

    def existing_code(
        self, workspace: OpenWorkspace, code: str, language: str, path: str, min_score: float
    ) -> list[ExistingFunction]:
        """What does the same as each function of a snippet, or as the snippet itself where it holds none."""
        whole = chunk_of_snippet(code, language or _guess_language(workspace, code), path)
        chunks = parsing.cut_chunks(path or "snippet", code, whole.language)[0] if whole.language else []
        functions = [chunk for chunk in chunks if chunk.kind in FUNCTION_KINDS and chunk.part <= 1] or [whole]
        return self.compare(workspace, [_without_place(chunk, path) for chunk in functions], min_score)

    def described_code(self, workspace: OpenWorkspace, description: str, min_score: float) -> Sequence[Hit]:
        """Functions that match a description."""
        filters = Filters(kinds=tuple(sorted(FUNCTION_KINDS)), min_score=min_score)
        return self.queries.matching(workspace, SearchRequest(description, filters, _MAX_DESCRIBED)).hits

    @staticmethod
    def added_functions(workspace: OpenWorkspace, base: str) -> list[Chunk]:
        """The functions that the working tree has and a revision has not, in order of their places.

        Moved and renamed functions are not added, nor are those whose comments allow what they repeat. Raises
        UsageError where the folder has no such revision.
        """
        return _list_added(workspace, base)

    def drafted(self, workspace: OpenWorkspace, path: str, text: str, min_score: float) -> list[ExistingFunction]:
        """Which functions that a text adds to its committed file repeat what exists.

        Only whole functions count: one that does not parse yet is still being written.
        """
        added = [chunk for chunk in _list_drafted(workspace, path, text) if parsing.parses(chunk.language, chunk.text)]
        return [found for found in self.compare(workspace, added[:_MAX_DRAFTED], min_score) if found.existing]

    def repeated(
        self, workspace: OpenWorkspace, added: Sequence[Chunk], some: Sequence[Chunk], min_score: float
    ) -> list[ExistingFunction]:
        """Which of `some` of the added functions repeat what exists; of two that are alike the later one does."""
        order = {(chunk.path, chunk.name): at for at, chunk in enumerate(added)}
        compared = self.compare(workspace, some, min_score)
        return [found for one in compared if (found := _without_later(one, order)).existing]

    def compare(self, workspace: OpenWorkspace, chunks: Sequence[Chunk], min_score: float) -> list[ExistingFunction]:
        """What does the same as each of these functions."""
        found = self.queries.existing(workspace, chunks, min_score)
        return [ExistingFunction(chunk, tuple(existing)) for chunk, existing in zip(chunks, found, strict=True)]


def _list_added(workspace: OpenWorkspace, base: str) -> list[Chunk]:
    commit = "" if base.startswith("-") else git_history.resolve_commit(workspace.root, base)
    if not commit:
        raise UsageError(f"{workspace.root} has no revision {base}: name a branch or commit of its git history.")
    before = git_history.list_tree(workspace.root, git_history.find_merge_base(workspace.root, commit))
    found = workspace.index().files() if workspace.has_index() else {}
    states = {path for path, state in found.items() if not state.skipped}
    sizes = {len(blob) for blob in before.values()}
    texts = dict(_changed_texts(workspace, sorted(states), before, "sha256" if 64 in sizes else "sha1"))
    now = {path: _functions_of(path, text) for path, text in texts.items()}
    gone = [path for path in before if path not in found and _was_deleted(workspace.root / path)]
    return list(_select_added(now, _read_before(workspace.root, before, [*texts, *gone])))


def _list_drafted(workspace: OpenWorkspace, path: str, text: str) -> list[Chunk]:
    """The functions of a text that its file had not when it was last committed, or saved where there is no history."""
    commit = git_history.resolve_commit(workspace.root)
    tree = git_history.list_tree(workspace.root, commit) if commit else {}
    if commit:
        before = _read_before(workspace.root, tree, [path])
    else:
        saved = replace(source_of(workspace, path), text=None)
        before = _functions_of(path, saved.read()) if (workspace.root / path).is_file() else []
    return list(_select_added({path: _functions_of(path, text)}, before))


def _was_deleted(path: Path) -> bool:
    return parsing.detect_language(path.name, "") is not None and not path.exists()


def _without_later(function: ExistingFunction, order: Mapping[tuple[str, str], int]) -> ExistingFunction:
    """Without functions that were added as well and come later."""
    own = order[function.chunk.path, function.chunk.name]
    kept = [one for one in function.existing if order.get((one.hit.path, one.hit.name), -1) < own]
    return replace(function, existing=tuple(kept))


def _changed_texts(
    workspace: OpenWorkspace, files: Iterable[str], before: Mapping[str, str], algorithm: str
) -> Iterator[tuple[str, str]]:
    """Paths and texts of those files that are not as they were."""
    for path in files:
        if path in workspace.buffers or _blob_hash(workspace.root / path, algorithm) != before.get(path):
            try:
                yield path, source_of(workspace, path).read()
            except UsageError:
                continue  # it is gone, or is no text any more


def _blob_hash(path: Path, algorithm: str) -> str:
    """The hash by which git knows a file's content; empty where it cannot be read."""
    try:
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    except OSError:
        return ""
    return hashlib.new(algorithm, b"blob %d\0%b" % (len(data), data), usedforsecurity=False).hexdigest()


def _read_before(root: Path, before: Mapping[str, str], paths: Iterable[str]) -> list[Chunk]:
    """The functions of these files as they were."""
    hashes = {path: before[path] for path in paths if path in before}
    blobs = git_history.read_blobs(root, dict.fromkeys(hashes.values()))
    texts = {path: decode_text(blobs[blob]) for path, blob in hashes.items() if blob in blobs}
    return [chunk for path, text in texts.items() if text is not None for chunk in _functions_of(path, text)]


def _functions_of(path: str, text: str) -> list[Chunk]:
    return [chunk for chunk in parsing.cut_chunks(path, text)[0] if chunk.kind in FUNCTION_KINDS and chunk.part <= 1]


def _select_added(now: Mapping[str, Sequence[Chunk]], before: Sequence[Chunk]) -> Iterator[Chunk]:
    """The functions that are new by name in their file, and are none that was there and is gone: moved or renamed."""
    names = {(chunk.path, chunk.name) for chunk in before}
    kept = {(path, chunk.name) for path, chunks in now.items() for chunk in chunks}
    known = {essence(chunk) for chunk in before if (chunk.path, chunk.name) not in kept}
    for path in sorted(now):
        for chunk in now[path]:
            is_new = (path, chunk.name) not in names and is_checked(chunk) and essence(chunk) not in known
            if is_new and not _is_allowed(chunk):
                yield chunk


def _is_allowed(chunk: Chunk) -> bool:
    tokens = parsing.tokenize(chunk.language, chunk.text)
    return any(token.kind == "comment" and ALLOW_COMMENT in token.text for token in tokens)


def _guess_language(workspace: OpenWorkspace, code: str) -> str:
    """The first language of the workspace in which a snippet has functions and no problems; empty where it is none."""
    if not workspace.has_index():
        return ""
    languages = workspace.index().view().snapshot.languages.words()
    known = [language for language in languages if language in parsing.LANGUAGES]
    return next((language for language in known if _parses_as(language, code)), "")


def _parses_as(language: str, code: str) -> bool:
    chunks, problems = parsing.cut_chunks("", code, language)
    return not problems and any(chunk.kind in FUNCTION_KINDS for chunk in chunks)


def _without_place(chunk: Chunk, path: str) -> Chunk:
    """A function of a snippet: its destination may contain it already."""
    return chunk if path else Chunk("", chunk.language, chunk.kind, chunk.name, 1, 1, chunk.text, shape=chunk.shape)
