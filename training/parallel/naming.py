"""Names for programs: natural words, sometimes shared between the languages, sometimes not."""

import random
from dataclasses import dataclass

LISTS = (
    "numbers",
    "values",
    "items",
    "nums",
    "scores",
    "prices",
    "samples",
    "readings",
    "list",
    "data",
    "xs",
    "amounts",
)
ITEMS = ("number", "value", "item", "n", "score", "price", "sample", "x", "current", "element", "amount")
FIRST = ("total", "count", "acc", "best", "running", "sum", "current", "left", "n", "rest", "first")
SECOND = ("result", "largest", "streak", "max_so_far", "previous", "other", "right", "last", "second", "out")
GRIDS = ("grid", "matrix", "rows", "board", "table", "cells")
VERBS = ("compute", "calculate", "find", "get", "process", "evaluate", "solve", "run", "scan", "collect", "measure")
NOUNS = (
    "total",
    "summary",
    "result",
    "orders",
    "digits",
    "scores",
    "range",
    "window",
    "batch",
    "report",
    "series",
    "answer",
)


@dataclass(frozen=True, slots=True)
class Names:
    """A function's name and what its abstract variables are called, in snake case."""

    function: str
    variables: dict[str, str]

    def snake(self, variable: str) -> str:
        """As Elixir and some C++ write it."""
        return self.variables.get(variable, variable)

    def camel(self, variable: str) -> str:
        """As other C++ writes it."""
        first, *rest = self.snake(variable).split("_")
        return first + "".join(word.capitalize() for word in rest)

    def pascal(self, variable: str) -> str:
        """As Erlang writes a variable."""
        return "".join(word.capitalize() for word in self.snake(variable).split("_"))


def random_names(rng: random.Random) -> Names:
    """Names that differ from one another."""
    a = rng.choice(FIRST)
    chosen = {
        "list": rng.choice(LISTS), "x": rng.choice(ITEMS), "a": a,
        "b": rng.choice([word for word in SECOND if word != a]), "grid": rng.choice(GRIDS),
        "cell": rng.choice(("cell", "value", "v")), "row": rng.choice(("row", "i", "y", "r")),
        "column": rng.choice(("column", "j", "col", "c")), "state": rng.choice(("state", "mode", "phase")),
        "letter": rng.choice(("c", "ch", "symbol", "letter")),
        "input": rng.choice(("input", "text", "chars", "line")),
        "groups": rng.choice(("groups", "buckets", "by_key", "table")),
        "key": rng.choice(("key", "bucket", "group", "k")),
    }  # fmt: skip
    if chosen["x"] in (chosen["a"], chosen["b"]):
        chosen["x"] = "elem"
    if chosen["cell"] == chosen["row"]:
        chosen["cell"] = "cell"
    if chosen["list"] == "list" and chosen["a"] == "rest":
        chosen["a"] = "acc"
    return Names(f"{rng.choice(VERBS)}_{rng.choice(NOUNS)}", chosen)
