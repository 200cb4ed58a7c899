"""Who last changed a piece of code and when, and until when a deleted function existed: from git, bounded in time.

The committed lines of a file that has changed since are found by the name of what stands there.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from codekin import parsing
from codekin.daemon.services.reading import source_of
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.errors import UsageError
from codekin.finetune.dataset import git_history
from codekin.finetune.dataset.git_history import Commit
from codekin.indexing.file_reader import decode_text
from codekin.parsing.secrets import contains_secret
from codekin.types import Hit

SECONDS = 6.0
"""After so long the places that are left are given without their last change."""

_SEARCH_SECONDS = 4.0
_MAX_CODE_CHARACTERS = 4000
_NAME = re.compile(r"~?[\w?!]+(?:(?:::|\.|->|#|:)~?[\w?!]+)*(?:/\d+)?(?:\(\))?")
_AGO = re.compile(r"(\d{1,5})\s*(d|w|m|y)\w*")
_DAYS = {"d": 1, "w": 7, "m": 30, "y": 365}
_SHORT_NAME = 3


@dataclass(frozen=True, slots=True)
class DeletedCode:
    """Code that was there once, as the last commit that had it, and the commit that took it away."""

    name: str
    path: str
    start_line: int
    end_line: int
    code: str
    removed: Commit


def read_since(text: str, now: datetime | None = None) -> float:
    """The time (seconds since 1970) that a date such as `2026-03-01` or an age such as `30d` means; 0 for no text.

    Raises UsageError for anything else.
    """
    now = now or datetime.now(UTC)
    if not text.strip():
        return 0.0
    if match := _AGO.fullmatch(text.strip().lower()):
        return (now - timedelta(days=int(match[1]) * _DAYS[match[2]])).timestamp()
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(f"{text!r} is not a date: write 2026-03-01, or 30d, 6w, 3m or 1y for an age.") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@dataclass(frozen=True, slots=True)
class History:
    """Places with the commit that last changed each, and what the text that was searched for named once."""

    changes: tuple[tuple[Hit, Commit | None], ...]
    deleted: DeletedCode | None


class HistoryReader:
    """Reads the histories of workspaces; every method runs in a worker thread."""

    @staticmethod
    def read(workspace: OpenWorkspace, hits: Sequence[Hit], since: str = "", limit: int = 0, text: str = "") -> History:
        """The history of places, the first `limit` of those that changed since a date, and of a name.

        Raises UsageError where `since` is no date.
        """
        start = read_since(since)
        changes = zip(hits, last_changes(workspace, hits), strict=True)
        kept = [(hit, commit) for hit, commit in changes if not start or commit is None or commit.time >= start]
        return History(tuple(kept[: limit or None]), find_deleted(workspace, text, hits) if text else None)


def last_changes(workspace: OpenWorkspace, hits: Sequence[Hit]) -> list[Commit | None]:
    """The commit that last changed each place; None where it is not committed, or where time is up."""
    head = git_history.resolve_commit(workspace.root)
    if not head:
        return [None] * len(hits)
    tree, deadline = _tree(workspace.root, head), time.monotonic() + SECONDS
    return [
        _last_change(workspace, head, tree, hit) if hit.path in tree and time.monotonic() < deadline else None
        for hit in hits
    ]


def find_deleted(workspace: OpenWorkspace, text: str, hits: Sequence[Hit]) -> DeletedCode | None:
    """The code of a name that nothing bears any more, as it was before it was deleted; None where there is none."""
    name = text.strip().strip("`").removesuffix("()")
    last = _last_part(name)
    if len(last) < _SHORT_NAME or not _NAME.fullmatch(name) or any(_last_part(hit.name) == last for hit in hits):
        return None
    head = git_history.resolve_commit(workspace.root)
    if not head or _is_defined(workspace, last):
        return None
    return next(_deleted(workspace, head, name), None)


@lru_cache(maxsize=8)
def _tree(root: Path, head: str) -> Mapping[str, str]:
    return git_history.list_tree(root, head)


@lru_cache(maxsize=4096)
def _blame(root: Path, head: str, path: str, first: int, last: int) -> Commit | None:
    return git_history.last_commit_of_lines(root, head, path, (first, last), SECONDS)


def _last_change(workspace: OpenWorkspace, head: str, tree: Mapping[str, str], hit: Hit) -> Commit | None:
    lines = _committed_lines(workspace, tree[hit.path], hit)
    return _blame(workspace.root, head, hit.path, *lines) if lines else None


def _committed_lines(workspace: OpenWorkspace, blob: str, hit: Hit) -> tuple[int, int] | None:
    """The lines of a place in the last commit; None where it has no such thing."""
    committed = decode_text(git_history.read_blobs(workspace.root, [blob]).get(blob, b""))
    if committed is None:
        return None
    try:
        text = source_of(workspace, hit.path).read()
    except UsageError:
        text = ""
    if committed == text:
        return hit.start_line, hit.end_line
    chunks = parsing.cut_chunks(hit.path, committed)[0]
    same = [chunk for chunk in chunks if (chunk.name, chunk.kind) == (hit.name, hit.kind)]
    nearest = min(same, key=lambda chunk: abs(chunk.start_line - hit.start_line), default=None)
    return (nearest.start_line, nearest.end_line) if nearest else None


def _is_defined(workspace: OpenWorkspace, last: str) -> bool:
    names = workspace.index().view().snapshot.names if workspace.has_index() else None
    return names is not None and any(_last_part(names.name(number)) == last for number in names.with_key(_key(last)))


def _key(last: str) -> str:
    return re.sub(r"[\W_]+", "", last).lower() or last


def _last_part(name: str) -> str:
    return re.split(r"::|->|[.#:]", re.sub(r"/\d+$", "", name))[-1]


def _deleted(workspace: OpenWorkspace, head: str, name: str) -> Iterator[DeletedCode]:
    """What bore the name, the latest first."""
    extensions = [f"*{extension}" for row in parsing.LANGUAGES.values() for extension in row.extensions]
    for commit, edits in git_history.edits_of_text(workspace.root, head, _last_part(name), extensions, _SEARCH_SECONDS):
        blobs = git_history.read_blobs(workspace.root, dict.fromkeys(blob for _, blob in edits))
        for path, blob in edits:
            text = decode_text(blobs.get(blob, b""))
            if text and not contains_secret(text):
                yield from _named(path, text, name, commit)


def _named(path: str, text: str, name: str, commit: Commit) -> Iterator[DeletedCode]:
    for chunk in parsing.cut_chunks(path, text)[0]:
        bare = chunk.name if "/" in name else re.sub(r"/\d+$", "", chunk.name)
        if bare == name or bare.endswith((f".{name}", f"::{name}", f":{name}")):
            code = chunk.text[:_MAX_CODE_CHARACTERS]
            yield DeletedCode(chunk.name, path, chunk.start_line, chunk.end_line, code, commit)
