"""`POST /lens`: which functions of a file have kin, and how many."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codekin.daemon.asked import LINE_LIMIT, Asked
from codekin.daemon.kin import counts_of
from codekin.daemon.sources import Source, fragments_of
from codekin.daemon.state import daemon_of
from codekin.daemon.work import Priority
from codekin.errors import UsageError

WITHOUT_LENS = frozenset({"file", "module", "namespace", "describe"})
"""Kinds that are only frames around the code that somebody may want to find again."""


async def lens(request: Request) -> Response:
    """{"root", "path", "text"?, "counts"?, "lines"?} gives {"lenses": [row, …]}.

    A row is {"name", "kind", "start_line", "end_line", "code_line", "similar"}. With "counts": false,
    `similar` is null and the answer is quick; with "lines", only the fragments that start at
    one of them are there. The score counted from is the setting
    similar.lens_min_score.
    """
    daemon = daemon_of(request)
    asked = await Asked.of(request)
    workspace = daemon.workspaces.get(asked.root())
    path, text = asked.path(workspace.root), asked.optional_text("text")
    source = Source(workspace.root, path, workspace.buffers.get(path) if text is None else text)
    counts, lines = asked.flag("counts", default=True), _lines(asked)

    def find() -> list[dict[str, Any]]:
        from codekin.syntax import lines_before_code  # noqa: PLC0415 - brings tree-sitter

        fragments = [found for found in fragments_of(source) if found.kind not in WITHOUT_LENS and found.part <= 1]
        if lines is not None:
            fragments = [found for found in fragments if found.start_line in lines]
        least = workspace.settings.similar.lens_min_score
        numbers = counts_of(daemon.engine, workspace, fragments, least) if counts else [None] * len(fragments)
        return [
            {
                "name": found.name,
                "kind": found.kind,
                "start_line": found.start_line,
                "end_line": found.end_line,
                "code_line": found.start_line + lines_before_code(found.language, found.text),
                "similar": number,
            }
            for found, number in zip(fragments, numbers, strict=True)
        ]

    return JSONResponse({"lenses": await daemon.workers.run(Priority.QUERY, find)})


def _lines(asked: Asked) -> frozenset[int] | None:
    lines = asked.values.get("lines")
    if lines is None:
        return None
    if not isinstance(lines, list) or not all(isinstance(line, int) and 0 < line < LINE_LIMIT for line in lines):
        raise UsageError("`lines` must be a list of line numbers, counted from 1.")
    return frozenset(lines)


routes = [Route("/lens", lens, methods=["POST"])]
