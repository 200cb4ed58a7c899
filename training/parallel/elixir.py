"""Prints a program as Elixir: pipelines, comprehensions, or recursion with accumulators."""

import random

from parallel.expressions import Printer, Spelling, print_with, write_operand
from parallel.naming import Names
from parallel.programs import Expression, Fold, Grid, Grouping, Machine, Pipeline, Program, Recurrence

SPELLING = Spelling(
    {"div": "div", "rem": "rem", "==": "==", "max": "max", "min": "min"},
    call="{}({}, {})", choice="if({}, do: {}, else: {})", prefix=("div", "rem"),
)  # fmt: skip
STAGES = {
    "filter": "Enum.filter(fn {x} -> {e} end)", "reject": "Enum.reject(fn {x} -> {e} end)",
    "map": "Enum.map(fn {x} -> {e} end)",
    "take": "Enum.take({e})", "drop": "Enum.drop({e})", "sort": "Enum.sort()", "reverse": "Enum.reverse()",
    "unique": "Enum.uniq()", "take_while": "Enum.take_while(fn {x} -> {e} end)",
}  # fmt: skip
ENDS = {
    "sum": "Enum.sum()", "count": "length()", "max": "Enum.max(fn -> 0 end)", "product": "Enum.product()",
    "any": "Enum.any?(fn {x} -> {x} > 10 end)", "all": "Enum.all?(fn {x} -> {x} > 0 end)",
}  # fmt: skip


def print_program(program: Program, names: Names, rng: random.Random) -> str:
    """One function (or a few clauses and helpers) that does what the program says."""
    return print_with(PRINTERS, program, names, rng)


def _say(expression: Expression | int | None, names: Names) -> str:
    return write_operand(expression, SPELLING, names.snake)


def _pipeline(program: Pipeline, names: Names, rng: random.Random) -> str:
    xs, x = names.snake("list"), names.snake("x")
    kinds = [kind for kind, _ in program.stages]
    if kinds in (["filter", "map"], ["filter"], ["map"]) and rng.random() < 0.5:
        made = dict(program.stages)
        filters = f", {_say(made['filter'], names)}" if "filter" in made else ""
        body = f"for {x} <- {xs}{filters}, do: {_say(made.get('map'), names) if 'map' in made else x}"
        if program.end != "list":
            body = f"kept = {body}\n  kept |> {ENDS[program.end].format(x=x)}"
        return f"def {names.function}({xs}) do\n  {body}\nend\n"
    steps = [STAGES[kind].format(x=x, e=_say(extra, names)) for kind, extra in program.stages]
    if program.end != "list":
        steps.append(ENDS[program.end].format(x=x))
    return f"def {names.function}({xs}) do\n  {xs}\n" + "".join(f"  |> {step}\n" for step in steps) + "end\n"


def _recurrence(program: Recurrence, names: Names, rng: random.Random) -> str:
    a, b, f = names.snake("a"), names.snake("b"), names.function
    condition, result = _say(program.condition, names), _say(program.result, names)
    step = ", ".join(_say(part, names) for part in program.step)
    head = f"def {f}({a}), do: {f}({a}, {program.start})\n\n" if program.start or rng.random() < 0.5 else ""
    define = "defp" if head else "def"
    if rng.random() < 0.5:
        return (
            f"{head}{define} {f}({a}, {b}) when {condition}, do: {f}({step})\n"
            f"{define} {f}({'_' + a if a not in result.split() else a}, {b}), do: {result}\n"
        )
    return f"{head}{define} {f}({a}, {b}) do\n  if {condition} do\n    {f}({step})\n  else\n    {result}\n  end\nend\n"


def _fold(program: Fold, names: Names, rng: random.Random) -> str:
    xs, x, a, b, f = (*map(names.snake, ("list", "x", "a", "b")), names.function)
    first, second = (_say(part, names) for part in program.step)
    result, start = _say(program.result, names), ", ".join(map(str, program.start))
    if rng.random() < 0.5:
        return (
            f"def {f}({xs}) do\n  {{{a}, {b}}} =\n    Enum.reduce({xs}, {{{start}}}, fn {x}, {{{a}, {b}}} ->\n"
            f"      {{{first}, {second}}}\n    end)\n\n  {result}\nend\n"
        )
    return (
        f"def {f}({xs}), do: {f}({xs}, {start})\n\ndefp {f}([], {a}, {b}), do: {result}\n\n"
        f"defp {f}([{x} | tail], {a}, {b}) do\n  {f}(tail, {first}, {second})\nend\n"
    )


def _grid(program: Grid, names: Names, rng: random.Random) -> str:
    grid, cell, row, column = map(names.snake, ("grid", "cell", "row", "column"))
    condition, value = _say(program.condition, names), _say(program.value, names)
    if rng.random() < 0.6:
        return (
            f"def {names.function}({grid}) do\n  for {{cells, {row}}} <- Enum.with_index({grid}),\n"
            f"      {{{cell}, {column}}} <- Enum.with_index(cells),\n      {condition},\n      reduce: 0 do\n"
            f"    acc -> acc + {value}\n  end\nend\n"
        )
    return (
        f"def {names.function}({grid}) do\n  {grid}\n  |> Enum.with_index()\n"
        f"  |> Enum.flat_map(fn {{cells, {row}}} ->\n"
        f"    for {{{cell}, {column}}} <- Enum.with_index(cells), {condition}, do: {value}\n"
        f"  end)\n  |> Enum.sum()\nend\n"
    )


def _grouping(program: Grouping, names: Names, rng: random.Random) -> str:
    xs, x, groups, key = map(names.snake, ("list", "x", "groups", "key"))
    by = _say(program.key, names)
    merge = {
        "count": ("1", "&(&1 + 1)"),
        "sum": (x, f"&(&1 + {x})"),
        "max": (x, f"&max(&1, {x})"),
        "list": (f"[{x}]", f"&[{x} | &1]"),
    }
    first, then = merge[program.reducer]
    if rng.random() < 0.5:
        return (
            f"def {names.function}({xs}) do\n  Enum.reduce({xs}, %{{}}, fn {x}, {groups} ->\n    {key} = {by}\n"
            f"    Map.update({groups}, {key}, {first}, {then})\n  end)\nend\n"
        )
    ends = {"count": "length(members)", "sum": "Enum.sum(members)", "max": "Enum.max(members)", "list": "members"}
    return (
        f"def {names.function}({xs}) do\n  {xs}\n  |> Enum.group_by(fn {x} -> {by} end)\n"
        f"  |> Map.new(fn {{{key}, members}} -> {{{key}, {ends[program.reducer]}}} end)\nend\n"
    )


def _machine(program: Machine, names: Names, _rng: random.Random) -> str:
    text, f = names.snake("input"), names.function
    clauses = "".join(f'defp next(:{state}, "{letter}"), do: :{to}\n' for state, letter, to in program.edges)
    return (
        f"def {f}({text}) do\n  {text}\n  |> String.graphemes()\n"
        f"  |> Enum.reduce(:{program.states[0]}, fn letter, state -> next(state, letter) end)\n"
        f"  |> Kernel.==(:{program.accepting})\nend\n\n"
        f"{clauses}defp next(state, _letter), do: state\n"
    )


PRINTERS: dict[type, Printer] = {
    Pipeline: _pipeline,
    Recurrence: _recurrence,
    Fold: _fold,
    Grid: _grid,
    Grouping: _grouping,
    Machine: _machine,
}
