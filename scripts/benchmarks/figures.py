"""One measured figure beside its bar, and how a list of them is printed."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figure:
    """`value` of `what`, in `unit`; the bar is a highest or a lowest value, or none.

    `beside` tells the yardstick that was taken in the same run.
    """

    what: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    beside: str = ""

    @property
    def verdict(self) -> str:
        """Met, missed, or empty where there is no bar."""
        if self.at_most is None and self.at_least is None:
            return ""
        within = self.at_most is None or self.value <= self.at_most
        return "met" if within and (self.at_least is None or self.value >= self.at_least) else "MISSED"

    @property
    def target(self) -> str:
        """The bar in words."""
        parts = [f"≤ {self.at_most:g}"] if self.at_most is not None else []
        return " ".join([*parts, f"≥ {self.at_least:g}"] if self.at_least is not None else parts)


def show(figures: Sequence[Figure], *, as_json: bool = False) -> None:
    """Prints one line for each figure, or all as JSON."""
    if as_json:
        print(json.dumps([asdict(figure) for figure in figures]))
        return
    for figure in figures:
        value = f"{figure.value:,.3f}" if abs(figure.value) < 10 else f"{figure.value:,.1f}"
        cells = f"{value:>9} {figure.unit:<4} {figure.target:>9} {figure.verdict:<7} {figure.beside}"
        print(f"  {figure.what:<58} {cells}".rstrip())


def read(text: str) -> list[Figure]:
    """The figures of `show(…, as_json=True)`, which stand in the last line."""
    return [Figure(**row) for row in json.loads(text.strip().splitlines()[-1])]
