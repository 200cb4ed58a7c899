"""Brings one path of the index up to date: reads it, cuts it, replaces what was known of it.

One path is one transaction of the index. Knows nothing of when this is called for.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from codekin import syntax
from codekin.index import FileState, Index
from codekin.ingest.contents import unfit
from codekin.ingest.differences import Change
from codekin.ingest.found import Reason, Skipped
from codekin.ingest.reading import Content, Root, read_content
from codekin.ingest.scan import Scope
from codekin.records import Fragment

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A working tree, what of it may be indexed (`languages` empty means all), and its index."""

    root: Root
    scope: Scope
    index: Index
    languages: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Update:
    """What became of one path: `texts` by digest are its fragments' now, `problem` is a sentence or empty.

    `written`: the index was written to; `changed`: so that other fragments are found.
    """

    path: str
    written: bool = False
    changed: bool = False
    texts: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def update_file(workspace: Workspace, change: Change, *, again: bool = False) -> Update:
    """Makes the index equal to the file on disk; `again` cuts it even if its content is as known."""
    if change.found is None:
        return _remove(workspace, change)
    if isinstance(change.found, Skipped):
        return _skip(workspace, change.path, FileState(0, 0, 0, ""), change.found.reason, change.known)
    content = read_content(workspace.root, change.path, workspace.scope.largest_file)
    if content is None:
        return _remove(workspace, change)
    state = FileState(content.state.size, content.state.mtime_ns, content.state.inode, content.digest)
    if not again and _as_known(content, change.known) and workspace.index.touch_file(change.path, state):
        return Update(change.path)
    if content.reason is not None:
        return _skip(workspace, change.path, state, content.reason, change.known)
    return _cut(workspace, change, content.text, state)


def update_buffer(workspace: Workspace, change: Change, text: str) -> Update:
    """Makes the index equal to an unsaved text; `change.found` says why a file of this name is left out, if it is."""
    path, known = change.path, change.known
    reason = change.found.reason if isinstance(change.found, Skipped) else None
    content = read_content(workspace.root, path, workspace.scope.largest_file)
    if reason is None and content is not None and content.reason is None and content.text == text:
        return update_file(workspace, Change(path, content.state, known))
    data = text.encode("utf-8", "surrogatepass")
    state = FileState(len(data), 0, 0, sha256(data).hexdigest(), buffer=True)
    if reason is None:
        reason = Reason.TOO_LARGE if len(data) > workspace.scope.largest_file else unfit(text)
    if reason is not None:
        return _skip(workspace, path, state, reason, known)
    if known is not None and known.buffer and known.hash == state.hash and not known.skipped:
        return Update(path)
    return _cut(workspace, change, text, state)


def _as_known(content: Content, known: FileState | None) -> bool:
    if known is None or known.buffer or not content.digest:
        return False
    return (known.hash, known.skipped) == (content.digest, content.reason or "")


def _remove(workspace: Workspace, change: Change) -> Update:
    removed = change.known is not None and workspace.index.remove_file(change.path)
    return Update(change.path, removed, removed and _had_fragments(change.known))


def _skip(workspace: Workspace, path: str, state: FileState, reason: Reason, known: FileState | None) -> Update:
    """Notes why a path is left out; whatever was known of it goes."""
    state = replace(state, skipped=str(reason))
    if known == state:
        return Update(path)
    workspace.index.replace_file(path, state, [])
    return Update(path, written=True, changed=_had_fragments(known))


def _had_fragments(known: FileState | None) -> bool:
    return known is not None and not known.skipped


def _cut(workspace: Workspace, change: Change, text: str, state: FileState) -> Update:
    """Replaces a path's fragments by those of a text, or by the reason why it has none."""
    path = change.path
    language = syntax.language_of(path, text)
    if language is None or (workspace.languages and language not in workspace.languages):
        return _skip(workspace, path, state, Reason.LANGUAGE, change.known)
    found, problems = _fragments(path, text, language)
    if found is None:
        update = _skip(workspace, path, state, Reason.FAILED, change.known)
        return replace(update, problem=problems[0])
    workspace.index.replace_file(path, replace(state, language=language), found)
    return Update(path, written=True, changed=True, texts={fragment.digest: fragment.text for fragment in found})


def _fragments(path: str, text: str, language: str) -> tuple[list[Fragment] | None, list[str]]:
    """The fragments, or None and a sentence where the file as a whole could not be cut."""
    try:
        found, problems = syntax.fragments(path, text, language)
    except Exception:
        # One file that no one foresaw must not end the indexing of all others.
        log.exception("Cutting a file failed.")
        return None, [f"{path} could not be cut into fragments: add it to .codekinignore, and please report it."]
    return (found, problems) if found or not problems else (None, problems)
