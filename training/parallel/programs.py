"""Random small programs as data: what they compute, without a language's way of saying it.

A program is one of six families, built of integer expressions over abstract variables. The same
program and seed give the same value whatever language prints it. Knows no concrete syntax.
"""

import random
from dataclasses import dataclass
from typing import Literal

Operator = Literal["+", "-", "*", "div", "rem", "==", "!=", "<", ">", "<=", ">=", "and", "or", "max", "min"]


@dataclass(frozen=True, slots=True)
class Num:
    """An integer."""

    value: int


@dataclass(frozen=True, slots=True)
class Var:
    """A variable, by its abstract name."""

    name: str


@dataclass(frozen=True, slots=True)
class Bin:
    """An operator on two expressions."""

    operator: Operator
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class If:
    """One of two expressions, by a condition."""

    condition: "Expression"
    then: "Expression"
    other: "Expression"


Expression = Num | Var | Bin | If


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A list through stages (filter, map, sort, ...) to an end (sum, count, list, ...)."""

    stages: tuple[tuple[str, Expression | int | None], ...]
    end: str


@dataclass(frozen=True, slots=True)
class Recurrence:
    """While `condition` holds, (a, b) becomes `step`; the value is `result`."""

    condition: Expression
    step: tuple[Expression, Expression]
    result: Expression
    start: int


@dataclass(frozen=True, slots=True)
class Fold:
    """Through a list with two running values."""

    start: tuple[int, int]
    step: tuple[Expression, Expression]
    result: Expression


@dataclass(frozen=True, slots=True)
class Grid:
    """Over the cells of a grid with their row and column: count or sum of those that satisfy."""

    condition: Expression
    value: Expression


@dataclass(frozen=True, slots=True)
class Grouping:
    """A list grouped by a key; each group reduced (count, sum, max or list)."""

    key: Expression
    reducer: str


@dataclass(frozen=True, slots=True)
class Machine:
    """States that change with each letter: (state, letter, next state); other letters lead to `trap`."""

    states: tuple[str, ...]
    edges: tuple[tuple[str, str, str], ...]
    accepting: str


Program = Pipeline | Recurrence | Fold | Grid | Grouping | Machine

STATES = ("idle", "open", "closed", "reading", "escaped", "done", "waiting", "running", "failed", "ready")
LETTERS = "abcxyz01.,+-e_"


def random_program(rng: random.Random) -> Program:
    """A program of a random family."""
    return rng.choices([_pipeline, _recurrence, _fold, _grid, _grouping, _machine], [5, 3, 4, 2, 2, 2])[0](rng)


def _pipeline(rng: random.Random) -> Pipeline:
    x = Var("x")
    makers = {
        "filter": lambda: _condition(rng, [x]),
        "reject": lambda: _condition(rng, [x]),
        "map": lambda: _arithmetic(rng, [x]),
        "take": lambda: rng.randint(2, 9),
        "drop": lambda: rng.randint(1, 5),
        "sort": lambda: None,
        "reverse": lambda: None,
        "unique": lambda: None,
        "take_while": lambda: _condition(rng, [x]),
    }
    kinds = rng.choices(list(makers), [6, 3, 6, 2, 2, 2, 1, 2, 2], k=rng.randint(1, 3))
    stages = tuple((kind, makers[kind]()) for kind in dict.fromkeys(kinds))
    return Pipeline(stages, rng.choice(["sum", "count", "list", "max", "product", "list", "any", "all"]))


def _recurrence(rng: random.Random) -> Recurrence:
    a, b = Var("a"), Var("b")
    shrink: Expression = rng.choice(
        [Bin("div", a, Num(rng.choice([2, 3, 10]))), Bin("-", a, Num(rng.choice([1, 2, 3]))), Bin("rem", b, a)]
    )
    if shrink == Bin("rem", b, a):
        return Recurrence(Bin("!=", a, Num(0)), (shrink, a), rng.choice([b, Bin("*", b, b), Bin("==", b, Num(1))]), 0)
    digit = Bin("rem", a, Num(rng.choice([2, 3, 10])))
    gain = rng.choice([a, digit, Bin("*", digit, digit), If(_condition(rng, [a]), Num(1), Num(0)), Bin("*", a, a)])
    grown = rng.choice([Bin("+", b, gain), Bin("+", Bin("*", b, Num(10)), digit), Bin("*", b, a), Bin("max", b, gain)])
    return Recurrence(Bin(">", a, Num(0)), (shrink, grown), b, 1 if grown == Bin("*", b, a) else 0)


def _fold(rng: random.Random) -> Fold:
    x, a, b = Var("x"), Var("a"), Var("b")
    seen = _condition(rng, [x])
    first = rng.choice(
        [
            Bin("+", a, x),
            Bin("max", a, x),
            If(seen, Bin("+", a, Num(1)), a),
            If(seen, Bin("+", a, x), a),
            If(seen, Bin("+", a, Num(1)), Num(0)),
            Bin("max", Num(0), Bin("+", a, x)),
        ]
    )
    second = rng.choice(
        [
            Bin("max", b, a),
            Bin("+", b, Num(1)),
            Bin("min", b, x),
            If(Bin(">", x, b), x, b),
            Bin("max", b, Bin("-", x, a)),
            If(_condition(rng, [x]), Bin("+", b, x), b),
        ]
    )
    result = rng.choice([Bin("-", a, b), b, Bin("max", a, b), Bin("+", a, b), Bin("*", a, b)])
    return Fold((rng.choice([0, 0, 1]), rng.choice([0, 0, 1, 1000])), (first, second), result)


def _grid(rng: random.Random) -> Grid:
    cell, row, column = Var("cell"), Var("row"), Var("column")
    where = rng.choice(
        [
            Bin("==", row, column),
            Bin("<", row, column),
            Bin("==", Bin("rem", Bin("+", row, column), Num(2)), Num(0)),
            Bin("==", row, Num(0)),
            Bin(">=", column, Num(2)),
        ]
    )
    condition: Expression = rng.choice([_condition(rng, [cell]), Bin("and", where, _condition(rng, [cell])), where])
    return Grid(condition, rng.choice([Num(1), cell, Bin("*", cell, cell), Bin("*", cell, row)]))


def _grouping(rng: random.Random) -> Grouping:
    x = Var("x")
    key = rng.choice(
        [
            Bin("rem", x, Num(rng.randint(2, 10))),
            Bin("div", x, Num(rng.choice([10, 100, 7]))),
            If(_condition(rng, [x]), Num(1), Num(0)),
        ]
    )
    return Grouping(key, rng.choice(["count", "sum", "max", "list"]))


def _machine(rng: random.Random) -> Machine:
    states = tuple(rng.sample(STATES, rng.randint(2, 4)))
    edges = {(rng.choice(states), rng.choice(LETTERS)): rng.choice(states) for _ in range(rng.randint(3, 6))}
    return Machine(states, tuple((*at, to) for at, to in sorted(edges.items())), rng.choice(states))


def _arithmetic(rng: random.Random, variables: list[Var]) -> Expression:
    x = rng.choice(variables)
    n = Num(rng.randint(2, 12))
    return rng.choice(
        [Bin("*", x, x), Bin("*", x, n), Bin("+", x, n), Bin("rem", x, n), Bin("div", x, n), Bin("-", n, x),
         Bin("+", Bin("*", x, n), Num(1)), If(_condition(rng, variables), Bin("div", x, Num(2)), Bin("*", x, n))]
    )  # fmt: skip


def _condition(rng: random.Random, variables: list[Var]) -> Expression:
    x = rng.choice(variables)
    n = Num(rng.randint(2, 20))
    return rng.choice(
        [Bin("==", Bin("rem", x, Num(rng.choice([2, 2, 3, 5, 7]))), Num(0)),
         Bin("!=", Bin("rem", x, Num(2)), Num(0)),
         Bin(">", x, n), Bin("<", x, n), Bin(">=", Bin("*", x, x), n), Bin("and", Bin(">", x, Num(0)), Bin("<", x, n)),
         Bin("or", Bin("<", x, Num(0)), Bin(">", x, n)), Bin("==", x, n)]
    )  # fmt: skip
