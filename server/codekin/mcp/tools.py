"""The tools: what each is called and does, and how the daemon's answers become its result."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import Struct

from codekin.errors import UsageError
from codekin.mcp import arguments as types
from codekin.mcp import rendering
from codekin.mcp.workspace import ReportProgress, Workspaces

INSTRUCTIONS = """\
Codekin knows this repository by meaning: functions, classes and modules, across languages, unsaved editors included.
- To find code, call `search` with a name or with what the code does, before grep or reading files.
- Before you write a function, call `already_exists` with its code or a description; reuse what it finds.
- To understand a file or folder, call `outline`; to read one function, call `read_chunk`.
- To see how something is done elsewhere, call `similar` with a place or a snippet.
Answers keep to `max_tokens`. Paths are relative to the repository's root. Scores run from 0, unrelated, to 1, a copy.
"""
"""Instructions to an agent about when to use which tool."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call: the root that it is about, its access to the daemon and its progress."""

    workspaces: Workspaces
    root: Path
    report: ReportProgress

    async def post(self, route: str, body: Mapping[str, Any]) -> Any:
        """The daemon's answer about the root. Raises CodekinError."""
        return await self.workspaces.post(self.root, route, dict(body), self.report)

    async def get(self, route: str) -> Any:
        """The same for a GET."""
        return await self.workspaces.get(self.root, route, self.report)


@dataclass(frozen=True, slots=True)
class ToolEntry:
    """A row of the table: `run` gives the typed result, `render` the same as text."""

    name: str
    title: str
    description: str
    arguments: type[types.Arguments]
    result: type[Struct]
    run: Callable[[ToolCall, Any], Awaitable[Struct]]
    render: Callable[[Any], str]


async def search(call: ToolCall, given: types.SearchArguments) -> types.FoundPlaces:
    """Code that is named by the words, or does what they say."""
    body = {"text": given.query, "grep": given.grep, "limit": given.limit, "filters": given.filters()}
    body |= {"history": given.history, "since": given.since}
    return await _places_of(call, await call.post("/search", body), given.max_tokens)


async def similar(call: ToolCall, given: types.SimilarArguments) -> types.FoundPlaces:
    """Code like that at a place, or like a snippet."""
    body: dict[str, Any] = {"limit": given.limit, "filters": given.filters(), "hide_noise": True}
    body |= {"history": given.history, "since": given.since}
    if given.snippet:
        body |= {"snippet": given.snippet, "language": given.language}
    elif given.path and given.line:
        body |= {"path": given.path, "line": given.line, "end_line": given.end_line}
    else:
        raise UsageError("Give a `snippet`, or a `path` and a `line`.")
    return await _places_of(call, await call.post("/similar", body), given.max_tokens)


async def duplicates(call: ToolCall, given: types.DuplicatesArguments) -> types.DuplicateGroups:
    """Groups of near-duplicates, as many as fit, with whole code only where all groups have room."""
    body = {"limit": given.limit, "filters": given.filters()}
    groups = (await call.post("/duplicates", body))["groups"]
    hits = [hit for group in groups for hit in group]
    found = rendering.fit_places(await _read_code(call, hits), given.max_tokens)
    shown = iter(found.places)
    split = [tuple(place for place, _ in zip(shown, group, strict=False)) for group in groups]
    return types.DuplicateGroups(groups=tuple(group for group in split if len(group) > 1), omitted=found.omitted)


async def already_exists(call: ToolCall, given: types.ExistsArguments) -> types.ExistingPlaces:
    """Code that does the same as some code, or what a description says; nothing without evidence."""
    keys = ("code", "description", "language", "path", "min_score")
    answer = await call.post("/reuse", {key: getattr(given, key) for key in keys})
    rows = [(function["query"]["name"], one) for function in answer["functions"] for one in function["existing"]]
    rows += [("", {"relation": "may do what is described", "evidence": (), "hit": hit}) for hit in answer["hits"]]
    codes = await _read_code(call, [row["hit"] for _, row in rows])
    existing = [
        types.ExistingPlace(function=name, relation=row["relation"], evidence=tuple(row["evidence"]), place=place)
        for (name, row), place in zip(rows, codes, strict=True)
    ]
    return rendering.fit_existing(existing, given.max_tokens)


async def read_chunk(call: ToolCall, given: types.ReadArguments) -> types.ReadCode:
    """A whole chunk, or lines of a file; what exceeds the budget is cut at the end of a line."""
    if given.path and given.line and given.end_line:
        row: Mapping[str, Any] = {"start_line": given.line, "end_line": given.end_line}
        return await _read_lines(call, given.path, row, given.max_tokens)
    if not given.name and not (given.path and given.line):
        raise UsageError("Give a `name`, or a `path` and a `line`.")
    path = given.path or await _find_file(call, given.name)
    row = _choose_row((await call.post("/outline", {"path": path}))["rows"], path, given)
    return await _read_lines(call, path, row, given.max_tokens)


async def outline(call: ToolCall, given: types.OutlineArguments) -> types.Outline:
    """The chunks of a file, or the files and folders of a folder."""
    path = given.path.strip().strip("/").removeprefix("./").removesuffix(".")
    files = [row for row in (await call.get("/files"))["files"] if not row["skipped"]]
    if any(row["path"] == path for row in files):
        rows = (await call.post("/outline", {"path": path}))["rows"]
        return rendering.fit_outline(path, _outline_entries(rows), given.max_tokens)
    entries = _list_folder(path, files)
    if not entries:
        raise UsageError(f"Nothing at {path or '.'} is indexed; `codekin status --files` gives the reason.")
    return rendering.fit_outline(path, entries, given.max_tokens)


async def status(call: ToolCall, given: types.StatusArguments) -> types.WorkspaceStatus:  # noqa: ARG001
    """How the index of the root does."""
    found = await call.get("/status")
    return types.WorkspaceStatus(
        root=found["root"],
        state=found["state"],
        files=found["files"],
        chunks=found["chunks"],
        embedded=found["embedded"],
        model=str(found["model"].get("name") or ""),
        degraded=str(found["degraded"] or ""),
        problems=tuple(map(str, found["problems"])),
    )


async def _places_of(call: ToolCall, answer: Mapping[str, Any], max_tokens: int) -> types.FoundPlaces:
    reason = answer.get("degraded")
    notes = [f"Found by words alone: {reason}."] if reason else []
    notes += [rendering.describe_deleted(answer["deleted"])] if "deleted" in answer else []
    note = " ".join(notes)
    return rendering.fit_places(await _read_code(call, answer["hits"]), max_tokens, note)


async def _read_code(call: ToolCall, hits: Sequence[Mapping[str, Any]]) -> list[types.FoundCode]:
    keys = ("path", "start_line", "end_line", "language")
    places = [{key: hit[key] for key in keys} for hit in hits]
    codes = (await call.post("/places", {"places": places}))["places"]
    return [rendering.found_code(hit, code) for hit, code in zip(hits, codes, strict=True)]


async def _find_file(call: ToolCall, name: str) -> str:
    """The file that defines what is called so. Raises UsageError where none does."""
    hits = (await call.post("/search", {"text": name, "limit": 5, "filters": {}}))["hits"]
    found = next((hit for hit in hits if _is_named(hit["name"], name)), None)
    if found is None:
        near = ", ".join(hit["name"] for hit in hits[:3])
        raise UsageError(f"Nothing is named {name}" + (f"; near it are {near}." if near else "."))
    return str(found["path"])


def _is_named(whole: str, name: str) -> bool:
    """Whether a chunk's full name is meant: all of it, its end, and with or without its arity."""
    bare = whole if "/" in name else whole.rsplit("/", 1)[0]
    return bare == name or bare.endswith((f".{name}", f"::{name}"))


def _choose_row(rows: Sequence[Mapping[str, Any]], path: str, given: types.ReadArguments) -> Mapping[str, Any]:
    """The row of the chunk with the name, or the innermost around the line. Raises UsageError where there is none."""
    if given.name:
        found = [row for row in rows if _is_named(row["name"], given.name)]
        found = [row for row in found if row["start_line"] <= given.line <= row["end_line"]] or found
        if not found:
            raise UsageError(f"{path} has nothing named {given.name}; `outline` lists what it has.")
        return found[0]
    around = [row for row in rows if row["start_line"] <= given.line <= row["end_line"]]
    if around:
        return max(around, key=lambda row: (row["depth"], -row["end_line"] + row["start_line"]))
    return {"start_line": max(1, given.line - 10), "end_line": given.line + 10}


async def _read_lines(call: ToolCall, path: str, row: Mapping[str, Any], max_tokens: int) -> types.ReadCode:
    """The lines of a row, as many whole ones as fit. Raises UsageError where the file has none of them."""
    first, last = row["start_line"], row["end_line"]
    place = {"path": path, "start_line": first, "end_line": last}
    text = (await call.post("/places", {"places": [place]}))["places"][0]["text"]
    lines = text.split("\n")
    if not text:
        raise UsageError(f"{path} cannot be read, or has no line {first}.")
    count = rendering.fit_lines(lines, max_tokens - 60)
    return types.ReadCode(
        path=path,
        start_line=first,
        end_line=first + count - 1,
        code="\n".join(lines[:count]),
        name=row.get("name", ""),
        kind=row.get("kind", ""),
        language=row.get("language", ""),
        next_line=first + count if count < len(lines) else 0,
    )


def _outline_entries(rows: Sequence[Mapping[str, Any]]) -> list[types.OutlineEntry]:
    """The chunks of a file; what lies in another one is named without the other's name."""
    names = ("kind", "start_line", "end_line", "depth", "signature", "doc")
    entries, outer = [], list[str]()
    for row in rows:
        del outer[row["depth"] :]
        around = outer[-1] if outer else ""
        short = row["name"].removeprefix(around).lstrip(".:") if around else row["name"]
        outer.append(row["name"])
        entries.append(types.OutlineEntry(name=short or row["name"], **{name: row[name] for name in names}))
    return entries


def _list_folder(path: str, files: Sequence[Mapping[str, Any]]) -> list[types.OutlineEntry]:
    """What lies directly in a folder: folders with the number of their files, then files."""
    prefix = f"{path}/" if path else ""
    below = [row for row in files if row["path"].startswith(prefix)]
    counts: dict[str, int] = {}
    for row in below:
        first, *rest = row["path"].removeprefix(prefix).split("/", 1)
        if rest:
            counts[first] = counts.get(first, 0) + 1
    folders = [
        types.OutlineEntry(name=f"{name}/", kind="folder", doc=f"{count} files") for name, count in counts.items()
    ]
    direct = [row for row in below if "/" not in row["path"].removeprefix(prefix)]
    return folders + [
        types.OutlineEntry(name=row["path"].removeprefix(prefix), kind="source", doc=row["language"]) for row in direct
    ]


def _render_groups(found: types.DuplicateGroups) -> str:
    parts = ["\n".join(map(rendering.render_place, group)) for group in found.groups]
    more = [f"{found.omitted} more places: ask with a larger max_tokens."] if found.omitted else []
    return "\n\n".join([*(parts or ["No duplicates were found."]), *more])


TOOLS = (
    ToolEntry(
        "search",
        "Search code",
        "Finds code by its name or by what it does, best first, with whole code for the best. Use it before grep.",
        types.SearchArguments,
        types.FoundPlaces,
        search,
        rendering.render_places,
    ),
    ToolEntry(
        "similar",
        "Find similar code",
        "Finds code like that at a place or like a snippet, in every language of the repository, with reasons.",
        types.SimilarArguments,
        types.FoundPlaces,
        similar,
        rendering.render_places,
    ),
    ToolEntry(
        "already_exists",
        "Find code that exists already",
        "Says whether the repository has code that does the same as code that you are about to write, or what a "
        "description says: copies, renamed copies, the same behaviour, counterparts in other languages. Call it before "
        "you write a function; an empty answer means go ahead.",
        types.ExistsArguments,
        types.ExistingPlaces,
        already_exists,
        rendering.render_existing,
    ),
    ToolEntry(
        "read_chunk",
        "Read a chunk",
        "Reads a whole function, class or module by its name or by a line in it, or a range of lines of a file.",
        types.ReadArguments,
        types.ReadCode,
        read_chunk,
        rendering.render_code,
    ),
    ToolEntry(
        "outline",
        "Outline a file or folder",
        "Lists what a file defines, with heads and lines, or what a folder holds. Use it before reading a file.",
        types.OutlineArguments,
        types.Outline,
        outline,
        rendering.render_outline,
    ),
    ToolEntry(
        "duplicates",
        "List near-duplicates",
        "Lists groups of places that say nearly the same, the most repeated code first.",
        types.DuplicatesArguments,
        types.DuplicateGroups,
        duplicates,
        _render_groups,
    ),
    ToolEntry(
        "status",
        "Show the index",
        "Tells which root is served, how far its index is, and what is wrong.",
        types.StatusArguments,
        types.WorkspaceStatus,
        status,
        rendering.render_status,
    ),
)
