"""Prints a program as Erlang: list comprehensions, folds, or recursion with accumulators."""

import random

from parallel.expressions import Printer, Spelling, print_with, write_operand
from parallel.naming import Names
from parallel.programs import Expression, Fold, Grid, Grouping, Machine, Pipeline, Program, Recurrence

SPELLING = Spelling(
    {"div": "div", "rem": "rem", "==": "=:=", "!=": "=/=", "<=": "=<", "and": "andalso", "or": "orelse"},
    call="{}({}, {})", choice="case {} of true -> {}; false -> {} end",
)  # fmt: skip
STAGES = {
    "filter": "[{x} || {x} <- {xs}, {e}]", "reject": "[{x} || {x} <- {xs}, not ({e})]", "map": "[{e} || {x} <- {xs}]",
    "take": "lists:sublist({xs}, {e})", "drop": "lists:nthtail({e}, {xs})", "sort": "lists:sort({xs})",
    "reverse": "lists:reverse({xs})", "unique": "lists:uniq({xs})",
    "take_while": "lists:takewhile(fun({x}) -> {e} end, {xs})",
}  # fmt: skip
ENDS = {
    "list": "{xs}", "sum": "lists:sum({xs})", "count": "length({xs})", "max": "lists:max([0 | {xs}])",
    "product": "lists:foldl(fun(A, B) -> A * B end, 1, {xs})", "any": "lists:any(fun({x}) -> {x} > 10 end, {xs})",
    "all": "lists:all(fun({x}) -> {x} > 0 end, {xs})",
}  # fmt: skip
MERGES = {"count": ("1", "fun(N) -> N + 1 end"), "sum": ("{x}", "fun(S) -> S + {x} end"),
          "max": ("{x}", "fun(M) -> max(M, {x}) end"), "list": ("[{x}]", "fun(L) -> [{x} | L] end")}  # fmt: skip


def print_program(program: Program, names: Names, rng: random.Random) -> str:
    """One or more Erlang functions that do what the program says."""
    return print_with(PRINTERS, program, names, rng)


def _say(expression: Expression | int | None, names: Names) -> str:
    return write_operand(expression, SPELLING, names.pascal)


def _pipeline(program: Pipeline, names: Names, _rng: random.Random) -> str:
    given, x = names.pascal("list"), names.pascal("x")
    lines, at = [], given
    for number, (kind, extra) in enumerate(program.stages, 1):
        stage = STAGES[kind].format(x=x, xs=at, e=_say(extra, names))
        at = f"{given}{number}"
        lines.append(f"    {at} = {stage},\n")
    return f"{names.function}({given}) ->\n{''.join(lines)}    {ENDS[program.end].format(xs=at, x=x)}.\n"


def _recurrence(program: Recurrence, names: Names, rng: random.Random) -> str:
    a, b, f = names.pascal("a"), names.pascal("b"), names.function
    condition, result = _say(program.condition, names), _say(program.result, names)
    step = ", ".join(_say(part, names) for part in program.step)
    head = f"{f}({a}) -> {f}({a}, {program.start}).\n\n"
    if rng.random() < 0.6:
        return f"{head}{f}({a}, {b}) when {condition} -> {f}({step});\n{f}(_{a}, {b}) -> {result}.\n"
    return f"{head}{f}({a}, {b}) ->\n    if {condition} -> {f}({step});\n       true -> {result}\n    end.\n"


def _fold(program: Fold, names: Names, rng: random.Random) -> str:
    xs, x, a, b, f = (*map(names.pascal, ("list", "x", "a", "b")), names.function)
    first, second = (_say(part, names) for part in program.step)
    result, start = _say(program.result, names), ", ".join(map(str, program.start))
    if rng.random() < 0.4:
        return (
            f"{f}({xs}) ->\n    Step = fun({x}, {{{a}, {b}}}) -> {{{first}, {second}}} end,\n"
            f"    {{{a}, {b}}} = lists:foldl(Step, {{{start}}}, {xs}),\n    {result}.\n"
        )
    return (
        f"{f}({xs}) -> {f}({xs}, {start}).\n\n{f}([], {a}, {b}) -> {result};\n"
        f"{f}([{x} | Tail], {a}, {b}) ->\n    {f}(Tail, {first}, {second}).\n"
    )


def _grid(program: Grid, names: Names, _rng: random.Random) -> str:
    grid, cell, row, column = map(names.pascal, ("grid", "cell", "row", "column"))
    return (
        f"{names.function}({grid}) ->\n    lists:sum([{_say(program.value, names)}\n"
        f"        || {{{row}, Cells}} <- lists:enumerate(0, {grid}),\n"
        f"           {{{column}, {cell}}} <- lists:enumerate(0, Cells),\n"
        f"           {_say(program.condition, names)}]).\n"
    )


def _grouping(program: Grouping, names: Names, _rng: random.Random) -> str:
    xs, x, groups, key = map(names.pascal, ("list", "x", "groups", "key"))
    first, then = (part.format(x=x) for part in MERGES[program.reducer])
    return (
        f"{names.function}({xs}) ->\n    lists:foldl(fun({x}, {groups}) ->\n"
        f"        {key} = {_say(program.key, names)},\n"
        f"        maps:update_with({key}, {then}, {first}, {groups})\n    end, #{{}}, {xs}).\n"
    )


def _machine(program: Machine, names: Names, _rng: random.Random) -> str:
    text = names.pascal("input")
    clauses = "".join(f"next({state}, ${letter}) -> {to};\n" for state, letter, to in program.edges)
    return (
        f"{names.function}({text}) ->\n"
        f"    lists:foldl(fun(Letter, State) -> next(State, Letter) end, {program.states[0]}, {text})\n"
        f"        =:= {program.accepting}.\n\n{clauses}next(State, _Letter) -> State.\n"
    )


PRINTERS: dict[type, Printer] = {
    Pipeline: _pipeline,
    Recurrence: _recurrence,
    Fold: _fold,
    Grid: _grid,
    Grouping: _grouping,
    Machine: _machine,
}
