"""The gate of ghost text: the chance that a suggestion is right, by language and kind of place.

What ranks guesses says how sure it is. Here that is corrected by a line in log-odds for each language and kind of
place: fitted on other repositories from the first day (`gate.json`, scripts/fit_completion_gate.py), and moved at night
by what became of the suggestions that were shown.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from codekin.completion.context import CursorPosition
from codekin.completion.outcomes import SuggestionEvent
from codekin.util.files import write_atomically

PlaceKind = Literal["line", "token", "word", "prose"]
"""At the start of a line, between two tokens of one, within a word, in a comment or a text."""

GATE_NAME = "gate.json"
MAX_LOG_ODDS = 9.0

PRIOR_DEVIATION = 0.6
"""How far, in log-odds, a workspace is expected to differ from the fitted default."""

MAX_SHIFT = 2.0
NEWTON_STEPS = 20


@dataclass(frozen=True, eq=False)
class Gate:
    """`lines` are (intercept, slope) by group; `shifts` is what a workspace's own outcomes add."""

    lines: Mapping[str, tuple[float, float]]
    shifts: Mapping[str, float] = field(default_factory=dict)

    def chance(self, confidence: float, language: str, place: str) -> float:
        """The chance that a suggestion is right; grows with the confidence."""
        return _sigmoid(self._fitted_log_odds(confidence, language, place) + self.shifts.get(f"{language}/{place}", 0))

    def fitted_to(self, events: Iterable[SuggestionEvent]) -> "Gate":
        """The gate moved by outcomes: the likeliest shift of each group, with the default as its prior."""
        rows: defaultdict[str, list[tuple[float, bool]]] = defaultdict(list)
        for event, is_right in _judged(events):
            log_odds = self._fitted_log_odds(event.estimate, event.language, event.place)
            rows[f"{event.language}/{event.place}"].append((log_odds, is_right))
        return Gate(self.lines, {group: _best_shift(some) for group, some in rows.items()})

    def save(self, folder: Path) -> None:
        """Keeps the shifts."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(folder / GATE_NAME, json.dumps({"shifts": dict(self.shifts)}))

    def _fitted_log_odds(self, confidence: float, language: str, place: str) -> float:
        intercept, slope = self.lines.get(f"{language}/{place}") or self.lines.get(place) or (0.0, 1.0)
        return intercept + slope * log_odds_of(confidence)


def default_gate() -> Gate:
    """The gate of the first day."""
    return Gate(_default_lines())


def load_gate(folder: Path) -> Gate:
    """The gate that was learned in a workspace, the default where there is none that can be read."""
    try:
        shifts = json.loads((folder / GATE_NAME).read_text("ascii"))["shifts"]
        kept = {str(name): float(shift) for name, shift in shifts.items() if abs(float(shift)) <= MAX_SHIFT}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        kept = {}
    return Gate(_default_lines(), kept)


def place_of(cursor: CursorPosition, context_kind: str) -> PlaceKind:
    """The kind of place at a cursor."""
    before = cursor.line_before
    if context_kind == "comment" or (context_kind == "string" and '"' not in before):
        return "prose"
    if not before.strip():
        return "line"
    return "word" if before[-1].isalnum() or before[-1] == "_" else "token"


def log_odds_of(chance: float) -> float:
    """The logarithm of the odds, bounded."""
    bounded = min(max(chance, 1e-4), 1 - 1e-4)
    return math.log(bounded / (1 - bounded))


def _judged(events: Iterable[SuggestionEvent]) -> Iterable[tuple[SuggestionEvent, bool]]:
    """Each suggestion that was shown, once, and whether its text was there in the end; later events say more."""
    last: dict[str, tuple[SuggestionEvent, bool]] = {}
    judged = {"accepted": True, "retained": True, "rejected": False, "typed_over": False, "lost": False}
    for event in events:
        if event.id and event.place and event.event in judged:
            last[event.id] = event, judged[event.event]
    return last.values()


def _best_shift(rows: Iterable[tuple[float, bool]]) -> float:
    """The shift of log-odds under which the outcomes and the prior are likeliest (Newton's method)."""
    shift, found = 0.0, list(rows)
    for _ in range(NEWTON_STEPS):
        chances = [_sigmoid(log_odds + shift) for log_odds, _ in found]
        gradient = sum(is_right - chance for (_, is_right), chance in zip(found, chances, strict=True))
        gradient -= shift / PRIOR_DEVIATION**2
        curvature = sum(chance * (1 - chance) for chance in chances) + 1 / PRIOR_DEVIATION**2
        shift += gradient / curvature
    return min(max(shift, -MAX_SHIFT), MAX_SHIFT)


def _sigmoid(log_odds: float) -> float:
    return 1 / (1 + math.exp(-min(max(log_odds, -MAX_LOG_ODDS), MAX_LOG_ODDS)))


@cache
def _default_lines() -> Mapping[str, tuple[float, float]]:
    table: Mapping[str, Any] = json.loads(resources.files("codekin.completion").joinpath(GATE_NAME).read_text("ascii"))
    return {name: (float(line[0]), float(line[1])) for name, line in table.items()}
