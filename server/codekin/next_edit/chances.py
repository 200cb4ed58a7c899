"""The chance that a place needs the edit as well: a logistic regression over what the place and the edit share.

`chances.json` holds the weights and the threshold; `scripts/fit_next_edit.py` fits them on histories. Commits where the
compiler would complain are too few there to be learned from, so places that would no longer compile have a floor.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from codekin.next_edit.edits import Edit, is_word
from codekin.next_edit.patterns import Site


@dataclass(frozen=True, slots=True)
class SiteContext:
    """What a place's chance depends on beside the place itself.

    `sites` and `sites_inside` count the places of the same change, in all files and in the edited one; `files` those
    with the word by which they were found; `lines_away` is -1 in another file; `co_change` is the share of commits in
    which that file changed along.
    """

    sites: int
    sites_inside: int
    files: int
    changes: int
    lines_away: int
    co_change: float
    is_near: bool
    is_old_name_left: bool


def threshold() -> float:
    """The chance from which an edit is shown: nine of ten edits that nothing follows stay alone."""
    return float(_fitted()["threshold"])


def chance_of(site: Site, edit: Edit, context: SiteContext) -> float:
    """The chance, from 0 to 1, that the edit is carried on at a place."""
    weights = _fitted()["weights"]
    total = sum(weights.get(name, 0.0) * value for name, value in features_of(site, edit, context).items())
    return max(_floor(site, edit.language), 1 / (1 + math.exp(-max(-30.0, min(30.0, total)))))


BROKEN_CALL, BROKEN_ARITY, SAME_LIST = 0.85, 0.75, 0.6
MIN_NAME, MIN_EQUAL_ELEMENTS = 4, 5

_DEFINING = frozenset(
    {"def", "defp", "defmacro", "defmacrop", "defguard", "defdelegate", "defmodule"}
    | {"class", "struct", "enum", "union", "namespace", "#define"}
)
_NO_TYPES = frozenset({"return", "else", "throw", "new", "delete", "case", "goto", "not", "and", "or", "in"})


def _floor(site: Site, language: str) -> float:
    """The least chance of a place that the edit breaks: it uses a name that was renamed, or passes too few arguments.

    And of a list that begins as the one to which an element was added.
    """
    if site.kind == "replace" and _renames_definition(site, language):
        return BROKEN_CALL
    if site.kind == "argument" and site.is_required:
        return BROKEN_ARITY
    return SAME_LIST if site.kind == "sibling" and site.left >= MIN_EQUAL_ELEMENTS else 0.0


def _renames_definition(site: Site, language: str) -> bool:
    """Whether the change gave a function, module or type another name where it is defined."""
    deleted, left, right = site.change.deleted, site.change.left, site.change.right
    if not len(deleted) == len(site.change.inserted) == 1 or not is_word(deleted[0]) or len(deleted[0]) < MIN_NAME:
        return False
    before, after = left[-1] if left else "", right[0] if right else ""
    if before in _DEFINING:
        return True
    is_typed = before in {"*", "&", ">"} or (is_word(before or " ") and before not in _NO_TYPES)
    return language in {"c", "cpp"} and after == "(" and is_typed


def features_of(site: Site, edit: Edit, context: SiteContext) -> dict[str, float]:
    """Named numbers, mostly between 0 and 1."""
    features = _features_of_site(site) | _features_of_context(context) | _features_of_change(site, edit)
    products = (
        ("one name", "word"), ("one name", "one change"), ("around", "few sites"), ("around", "inside"),
        ("around", "near lines"), ("word", "files"), ("whole", "few sites"), ("near lines", "few sites"),
        ("times", "around"), ("old name left", "one name"),
    )  # fmt: skip
    return features | {f"{one} and {other}": features[one] * features[other] for one, other in products}


def _features_of_site(site: Site) -> dict[str, float]:
    around = (site.left + site.right) / 16
    return {
        "bias": 1.0,
        f"kind {site.kind}": 1.0,
        "around": around,
        f"around {site.kind}": around,
        "both": min(site.left, site.right) / 8,
        "whole": float(site.left >= 4 and site.right >= 4),
        "next": float(site.left > 0 and site.right > 0),
    }


def _features_of_context(context: SiteContext) -> dict[str, float]:
    is_inside = context.lines_away >= 0
    return {
        "sites": math.log(context.sites) / 5,
        "few sites": 1 / context.sites,
        "sites inside": math.log(1 + context.sites_inside) / 5,
        "files": math.log(1 + context.files) / 5,
        "inside": float(is_inside),
        "near lines": math.exp(-context.lines_away / 12) if is_inside else 0.0,
        "co-change": context.co_change,
        "folder": float(context.is_near and not is_inside),
        "one change": float(context.changes == 1),
        "changes": math.log(context.changes) / 3,
        "old name left": float(context.is_old_name_left),
    }


def _features_of_change(site: Site, edit: Edit) -> dict[str, float]:
    change = site.change
    longest = max((len(token) for token in change.deleted if is_word(token)), default=0)
    is_name = len(change.deleted) == 1 and len(change.inserted) == 1 and longest > 0
    return {
        "times": math.log(change.times),
        "word": min(longest, 16) / 16,
        "deleted": min(len(change.deleted), 12) / 12,
        "inserted": min(len(change.inserted), 12) / 12,
        "one name": float(is_name),
        "number": float(is_name and change.deleted[0][0].isdigit()),
        "parts": float(is_name and "_" in change.deleted[0].strip("_")),
        "grown": float(edit.new_end > edit.old_end),
        "height": min(edit.old_end - edit.start, 10) / 10,
    }


@cache
def _fitted() -> Mapping[str, Any]:
    text = resources.files("codekin.next_edit").joinpath("chances.json").read_text("utf-8")
    fitted: Mapping[str, Any] = json.loads(text)
    return fitted
