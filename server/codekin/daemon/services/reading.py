"""Reads code at places of a workspace as it is now, with unsaved texts over their files; brings tree-sitter."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

import numpy as np

from codekin.daemon.services.code_queries import SourceText
from codekin.daemon.services.left_out import holds_secret
from codekin.daemon.services.queries import CodeAtPlace, OutlineRow, Place
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.errors import UsageError
from codekin.parsing import count_lines_before_code
from codekin.parsing.signatures import read_signature
from codekin.types import Chunk


class CodeReader:
    """Reads files of workspaces; every method runs in a worker thread."""

    @staticmethod
    def read_places(workspace: OpenWorkspace, places: Sequence[Place]) -> list[CodeAtPlace]:
        """The code at each place; a file is read once."""
        indexed = _indexed_paths(workspace)
        lines = {path: _lines_of(workspace, path, indexed) for path in {place.path for place in places}}
        return [_code_at(place, lines[place.path]) for place in places]

    @staticmethod
    def outline(workspace: OpenWorkspace, path: str) -> list[OutlineRow]:
        """The chunks of a file in order, a long one once. Raises UsageError where it cannot be read or is left out."""
        source = source_of(workspace, path)
        text = source.read()
        if workspace.left_out().leaves_out(path, text):
            raise UsageError(f"{path} is left out of the index; `codekin status --files` gives the reason.")
        chunks = _whole_chunks(source.chunks(text))
        return [_outline_row(chunk, chunks) for chunk in chunks]


def source_of(workspace: OpenWorkspace, path: str) -> SourceText:
    """A file as it is now: its unsaved text if it has one."""
    return SourceText(workspace.root, path, workspace.buffers.get(path), workspace.settings.index.extensions)


def _lines_of(workspace: OpenWorkspace, path: str, indexed: AbstractSet[str]) -> Sequence[str]:
    """The lines of a file; none where it cannot be read or is left out, which reading the rules for it would tell."""
    try:
        text = source_of(workspace, path).read()
    except UsageError:
        return ()
    is_left_out = holds_secret(text) if path in indexed else workspace.left_out().leaves_out(path, text)
    return () if is_left_out else text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _indexed_paths(workspace: OpenWorkspace) -> frozenset[str]:
    """The files that have chunks: the rules let them in."""
    if not workspace.has_index():
        return frozenset()
    snapshot = workspace.index().view().snapshot
    return frozenset(
        snapshot.paths[file] for file in np.unique(snapshot.columns.file).tolist() if file in snapshot.paths
    )


def _code_at(place: Place, lines: Sequence[str]) -> CodeAtPlace:
    text = "\n".join(lines[place.start_line - 1 : place.end_line])
    return CodeAtPlace(text, read_signature(place.language, text))


def _whole_chunks(chunks: Iterable[Chunk]) -> list[tuple[Chunk, int]]:
    """Each chunk with its last line; the parts of a long one are one."""
    whole: list[tuple[Chunk, int]] = []
    for chunk in chunks:
        if chunk.part > 1 and (at := _first_part(whole, chunk)) is not None:
            whole[at] = whole[at][0], max(whole[at][1], chunk.end_line)
        else:
            whole.append((chunk, chunk.end_line))
    return whole


def _first_part(whole: Sequence[tuple[Chunk, int]], part: Chunk) -> int | None:
    """The place of the chunk that continues a part."""
    key = part.kind, part.name
    places = range(len(whole) - 1, -1, -1)
    return next((at for at in places if whole[at][0].part and (whole[at][0].kind, whole[at][0].name) == key), None)


def _outline_row(found: tuple[Chunk, int], all_of_file: Sequence[tuple[Chunk, int]]) -> OutlineRow:
    chunk, end_line = found
    inside = [other for other, end in all_of_file if other.start_line <= chunk.start_line and end >= end_line]
    return OutlineRow(
        name=chunk.name,
        kind=chunk.kind,
        language=chunk.language,
        start_line=chunk.start_line,
        end_line=end_line,
        code_line=chunk.start_line + count_lines_before_code(chunk.language, chunk.text),
        depth=len(inside) - 1,
        signature=read_signature(chunk.language, chunk.text),
        doc=_first_sentence(chunk.doc),
    )


def _first_sentence(doc: str) -> str:
    paragraph = " ".join(doc.strip().split("\n\n", 1)[0].split())
    return paragraph.split(". ", 1)[0].rstrip(".")
