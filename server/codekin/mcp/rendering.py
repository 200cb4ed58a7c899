"""Builds the answers of tools as typed values and as text, both within a budget of tokens.

Whole code comes for the best, heads with their places for the rest; nothing is cut within a line. The tokenizers of
agents differ and are unknown here; a token is taken for three bytes, fewer than any of them takes for code, so that an
answer has at most as many as were allowed.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from msgspec import Struct, structs, to_builtins

from codekin.mcp.arguments import (
    ExistingPlace,
    ExistingPlaces,
    FoundCode,
    FoundPlaces,
    Outline,
    OutlineEntry,
    ReadCode,
    WorkspaceStatus,
)

ValueT = TypeVar("ValueT", bound=Struct)

BYTES_PER_TOKEN = 3
_BRIEF_SHARE = 0.7
"""The part of a budget that heads may take from the code of the best."""

_NO_PLACE = FoundCode(path="", start_line=0, end_line=0)

_MAX_SUBJECT = 72
_FRAME_TOKENS = 40
"""What surrounds the places of an answer."""


class Detail(Enum):
    """How much of a chunk is shown."""

    NONE = 0
    BRIEF = 1
    WHOLE = 2


@dataclass(frozen=True, slots=True)
class Cost:
    """The tokens of a chunk's head with its place, and those of the same with its whole code."""

    brief: int
    whole: int


def found_code(hit: Mapping[str, Any], code: Mapping[str, Any]) -> FoundCode:
    """A hit of the daemon with its code."""
    return FoundCode(
        path=_well_formed(hit["path"]),
        start_line=hit["start_line"],
        end_line=hit["end_line"],
        name=_well_formed(hit["name"]),
        kind=hit["kind"],
        language=hit["language"],
        score=round(hit["score"], 2),
        reasons=tuple(map(_well_formed, hit["reasons"])),
        changed=_describe_change(hit["changed"]) if "changed" in hit else "",
        signature=_well_formed(code["signature"]),
        code=_well_formed(code["text"]),
    )


def describe_deleted(deleted: Mapping[str, Any]) -> str:
    """One sentence about code that bore a name once."""
    place = f"{deleted['name']} existed in {deleted['path']}:{deleted['start_line']}-{deleted['end_line']}"
    command = f"git show {deleted['removed']['commit'][:9]}^:{deleted['path']}"
    return _well_formed(f"{place} until {_describe_change(deleted['removed'])}: `{command}`.")


def _describe_change(changed: Mapping[str, Any] | None) -> str:
    """The date, author, commit and subject of a place's last change."""
    if changed is None:
        return "not committed"
    words = (changed["date"][:10], changed["author"], changed["commit"][:9], changed["subject"][:_MAX_SUBJECT])
    return _well_formed(" ".join(words))


def fit_places(places: Sequence[FoundCode], max_tokens: int, note: str = "") -> FoundPlaces:
    """The places with as much of their code as fits."""
    budget = max_tokens - _FRAME_TOKENS - count_tokens(note)
    details = choose_details([_cost(place) for place in places], budget)
    shown = tuple(_with_detail(place, detail) for place, detail in zip(places, details, strict=True) if detail.value)
    return FoundPlaces(places=shown, omitted=len(places) - len(shown), note=note)


def render_places(found: FoundPlaces) -> str:
    """Places as text, with a blank line around code."""
    lines = [found.note] if found.note else []
    lines += [render_place(place) for place in found.places] or ["Nothing was found."]
    lines += _rest(found.omitted)
    return "\n".join(lines)


def _rest(omitted: int) -> list[str]:
    """The line that says what had no room, if anything."""
    return [f"{omitted} more: ask with a larger max_tokens."] if omitted else []


def render_place(place: FoundCode) -> str:
    """A place as text: where, what and why, then its code or else its head."""
    what = [f"{place.language} {place.kind}"] if place.kind else []
    parts = "; ".join([", ".join([*what, f"{place.score:.2f}"]), *_details(place)])
    head = f"{place.path}:{place.start_line}-{place.end_line} {place.name} ({parts})"
    return f"{head}\n{place.code}\n" if place.code else f"{head}\n  {place.signature}".rstrip()


def _details(place: FoundCode) -> list[str]:
    reasons = [", ".join(place.reasons)] if place.reasons else []
    return [*reasons, f"changed {place.changed}"] if place.changed else reasons


def fit_existing(existing: Sequence[ExistingPlace], max_tokens: int) -> ExistingPlaces:
    """What exists already, with as much of the code as fits beside the relations and what shows them."""
    frames = [_tokens_of(structs.replace(one, place=_NO_PLACE), _render_relation) for one in existing]
    found = fit_places([one.place for one in existing], max(100, max_tokens - sum(frames)))
    shown = zip(existing, found.places, strict=False)
    placed = tuple(structs.replace(one, place=place) for one, place in shown)
    return ExistingPlaces(existing=placed, omitted=found.omitted)


def render_existing(found: ExistingPlaces) -> str:
    """What exists already as text."""
    lines = [f"{_render_relation(one)}\n{render_place(one.place)}" for one in found.existing]
    lines += _rest(found.omitted)
    return "\n".join(lines) or "Nothing here does the same."


def _render_relation(one: ExistingPlace) -> str:
    subject = f"{one.function}: " if one.function else ""
    return f"{subject}{one.relation}" + (f" ({'; '.join(one.evidence)})" if one.evidence else "")


def render_code(found: ReadCode) -> str:
    """Code that was read, below its place."""
    head = f"{found.path}:{found.start_line}-{found.end_line} {found.name}".rstrip()
    more = f"\nGoes on at line {found.next_line}." if found.next_line else ""
    return f"{head}\n{found.code}{more}"


def fit_outline(path: str, entries: Sequence[OutlineEntry], max_tokens: int) -> Outline:
    """An outline that fits: outer chunks first, then as many of those within them as have room, all in their order."""
    budget, shown = max_tokens - _FRAME_TOKENS, set[int]()
    for at in sorted(range(len(entries)), key=lambda at: (entries[at].depth, at)):
        budget -= _tokens_of(entries[at], render_entry)
        if budget < 0 and shown:
            break
        shown.add(at)
    kept = tuple(entry for at, entry in enumerate(entries) if at in shown)
    return Outline(path=path, entries=kept, omitted=len(entries) - len(kept))


def render_outline(outline: Outline) -> str:
    """An outline as text, what lies in a chunk indented."""
    lines = [outline.path or ".", *map(render_entry, outline.entries)]
    return "\n".join([*lines, *_rest(outline.omitted)])


def render_entry(entry: OutlineEntry) -> str:
    """A line of an outline."""
    place = f"{entry.start_line}-{entry.end_line} " if entry.start_line else ""
    doc = f"  # {entry.doc}" if entry.doc else ""
    return f"{'  ' * (entry.depth + 1)}{place}{entry.signature or entry.name}{doc}"


def render_status(status: WorkspaceStatus) -> str:
    """The status in a few lines."""
    lines = [
        f"{status.root}: {status.state}, {status.files} files, {status.chunks} chunks, {status.embedded} with vectors",
        f"model: {status.model}" + (f"; by words alone: {status.degraded}" if status.degraded else ""),
    ]
    return "\n".join([*lines, *status.problems])


def _cost(place: FoundCode) -> Cost:
    return Cost(*(_tokens_of(_with_detail(place, detail), render_place) for detail in (Detail.BRIEF, Detail.WHOLE)))


def _with_detail(place: FoundCode, detail: Detail) -> FoundCode:
    """The place as it is shown; its head is in its code already, and a head alone says enough of its kind."""
    if detail is Detail.WHOLE and place.code:
        return structs.replace(place, signature="")
    return structs.replace(place, code="", kind="", language="", reasons=())


def _tokens_of(value: ValueT, render: Callable[[ValueT], str]) -> int:
    """The tokens of a value in an answer: whichever form the client shows, text or JSON in its widest spelling."""
    return count_tokens(render(value) + "\n", json.dumps(to_builtins(value)) + ", ")


def _well_formed(text: str) -> str:
    """The text with lone surrogates replaced, which a file's name may hold and JSON may not."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def count_tokens(*texts: str) -> int:
    """An upper estimate of the tokens of the longest of several texts."""
    return max(-(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN) for text in texts)


def choose_details(costs: Sequence[Cost], budget: int) -> list[Detail]:
    """How much to show of each, best first, within a budget in tokens; the first is shown in any case.

    Heads come first, up to most of the budget, then whole code in order, where it fits into what is left; and with
    what is left then, more heads.
    """
    heads = _count_fitting((cost.brief for cost in costs), int(budget * _BRIEF_SHARE))
    details = [Detail.BRIEF] * heads + [Detail.NONE] * (len(costs) - heads)
    left = budget - sum(cost.brief for cost in costs[:heads])
    for at, cost in enumerate(costs[:heads]):
        if cost.whole - cost.brief <= left:
            details[at], left = Detail.WHOLE, left - (cost.whole - cost.brief)
    more = _count_fitting((cost.brief for cost in costs[heads:]), left, least=0)
    details[heads : heads + more] = [Detail.BRIEF] * more
    return details


def _count_fitting(costs: Iterable[int], budget: int, least: int = 1) -> int:
    """How many from the first on fit, at least `least` of those that there are."""
    count, spent = 0, 0
    for cost in costs:
        spent += cost
        if spent > budget and count >= least:
            break
        count += 1
    return count


def fit_lines(lines: Sequence[str], budget: int) -> int:
    """How many whole lines from the first on fit, at least one."""
    return _count_fitting((count_tokens(line + "\n") for line in lines), budget)
