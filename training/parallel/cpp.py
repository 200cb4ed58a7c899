"""Prints a program as C++: plain loops, the standard algorithms, or ranges."""

import random
from collections.abc import Callable

from parallel.expressions import Spelling, is_truth, write
from parallel.naming import Names
from parallel.programs import Expression, Fold, Grid, Grouping, Machine, Num, Pipeline, Program, Recurrence

Namer = Callable[[str], str]
"""What an abstract variable is called."""

SPELLING = Spelling(
    {"div": "/", "rem": "%", "and": "&&", "or": "||", "max": "std::max", "min": "std::min"},
    call="{}({}, {})", choice="({} ? {} : {})",
)  # fmt: skip
COPY = "    std::vector<int> {to};\n"
ALGORITHMS = {
    "filter": "    std::copy_if({v}.begin(), {v}.end(), std::back_inserter({to}), [](int {x}) {{ return {e}; }});\n",
    "reject": (
        "    std::remove_copy_if({v}.begin(), {v}.end(), std::back_inserter({to}),\n"
        "                        [](int {x}) {{ return {e}; }});\n"
    ),
    "map": "    std::transform({v}.begin(), {v}.end(), std::back_inserter({to}), [](int {x}) {{ return {e}; }});\n",
    "take": "    for (size_t i = 0; i < {v}.size() && i < {e}; ++i) {to}.push_back({v}[i]);\n",
    "drop": "    for (size_t i = {e}; i < {v}.size(); ++i) {to}.push_back({v}[i]);\n",
    "sort": "    {to} = {v};\n    std::sort({to}.begin(), {to}.end());\n",
    "reverse": "    {to}.assign({v}.rbegin(), {v}.rend());\n",
    "unique": (
        "    std::set<int> seen;\n    for (int {x} : {v}) {{\n"
        "        if (seen.insert({x}).second) {to}.push_back({x});\n    }}\n"
    ),
    "take_while": "    for (int {x} : {v}) {{\n        if (!({e})) break;\n        {to}.push_back({x});\n    }}\n",
}
LOOPS = {
    "filter": "    for (int {x} : {v}) {{\n        if ({e}) {{\n            {to}.push_back({x});\n        }}\n    }}\n",
    "reject": "    for (int {x} : {v}) {{\n        if ({e}) continue;\n        {to}.push_back({x});\n    }}\n",
    "map": (
        "    for (size_t i = 0; i < {v}.size(); i++) {{\n"
        "        int {x} = {v}[i];\n        {to}.push_back({e});\n    }}\n"
    ),
}
ENDS = {
    "list": ("std::vector<int>", "    return {v};\n"),
    "sum": ("int", "    return std::accumulate({v}.begin(), {v}.end(), 0);\n"),
    "count": ("size_t", "    return {v}.size();\n"),
    "max": ("int", "    int best = 0;\n    for (int {x} : {v}) best = std::max(best, {x});\n    return best;\n"),
    "product": ("long", "    long product = 1;\n    for (int {x} : {v}) product *= {x};\n    return product;\n"),
    "any": ("bool", "    return std::any_of({v}.begin(), {v}.end(), [](int {x}) {{ return {x} > 10; }});\n"),
    "all": ("bool", "    for (int {x} : {v}) {{\n        if ({x} <= 0) return false;\n    }}\n    return true;\n"),
}
REDUCERS = {"count": ("int", "{at}++;"), "sum": ("int", "{at} += {x};"), "max": ("int", "{at} = std::max({at}, {x});"),
            "list": ("std::vector<int>", "{at}.push_back({x});")}  # fmt: skip


def print_program(program: Program, names: Names, rng: random.Random) -> str:
    """One function (with a helper where a machine needs one) that does what the program says."""
    name = names.camel if rng.random() < 0.5 else names.snake
    function = name(names.function)
    match program:
        case Pipeline():
            return _pipeline(program, function, name, rng)
        case Recurrence():
            return _recurrence(program, function, name, rng)
        case Fold():
            return _fold(program, function, name)
        case Grid():
            return _grid(program, function, name)
        case Grouping():
            return _grouping(program, function, name, rng)
        case Machine():
            return _machine(program, function, name)
    raise TypeError(program)


def _say(expression: Expression | int | None, name: Namer) -> str:
    if expression is None or isinstance(expression, int):
        return str(expression)
    return write(expression, SPELLING, name)


def _pipeline(program: Pipeline, function: str, name: Namer, rng: random.Random) -> str:
    at, x = name("list"), name("x")
    given, body = at, ""
    table = ALGORITHMS if rng.random() < 0.5 else ALGORITHMS | LOOPS
    for number, (kind, extra) in enumerate(program.stages, 1):
        to = ("kept", "made", "out", "rest")[number] if number < 4 else f"step{number}"
        body += COPY.format(to=to) + table[kind].format(v=at, x=x, e=_say(extra, name), to=to)
        at = to
    kind, end = ENDS[program.end]
    return f"{kind} {function}(const std::vector<int>& {given}) {{\n{body}{end.format(v=at, x=x)}}}\n"


def _recurrence(program: Recurrence, function: str, name: Namer, rng: random.Random) -> str:
    a, b = name("a"), name("b")
    condition, result = _say(program.condition, name), _say(program.result, name)
    first, second = (_say(part, name) for part in program.step)
    kind = "bool" if is_truth(program.result) else "int"
    if rng.random() < 0.3:
        return (
            f"{kind} {function}(int {a}, int {b} = {program.start}) {{\n    if (!({condition})) return {result};\n"
            f"    return {function}({first}, {second});\n}}\n"
        )
    return (
        f"{kind} {function}(int {a}, int {b} = {program.start}) {{\n"
        f"    while ({condition}) {{\n        int next = {first};\n"
        f"        {b} = {second};\n        {a} = next;\n    }}\n    return {result};\n}}\n"
    )


def _fold(program: Fold, function: str, name: Namer) -> str:
    xs, x, a, b = map(name, ("list", "x", "a", "b"))
    first, second = (_say(part, name) for part in program.step)
    return (
        f"int {function}(const std::vector<int>& {xs}) {{\n"
        f"    int {a} = {program.start[0]};\n    int {b} = {program.start[1]};\n"
        f"    for (int {x} : {xs}) {{\n        int next = {first};\n"
        f"        {b} = {second};\n        {a} = next;\n    }}\n"
        f"    return {_say(program.result, name)};\n}}\n"
    )


def _grid(program: Grid, function: str, name: Namer) -> str:
    grid, cell, row, column = map(name, ("grid", "cell", "row", "column"))
    add = "++total;" if program.value == Num(1) else f"total += {_say(program.value, name)};"
    return (
        f"int {function}(const std::vector<std::vector<int>>& {grid}) {{\n    int total = 0;\n"
        f"    for (int {row} = 0; {row} < (int){grid}.size(); ++{row}) {{\n"
        f"        for (int {column} = 0; {column} < (int){grid}[{row}].size(); ++{column}) {{\n"
        f"            int {cell} = {grid}[{row}][{column}];\n            if ({_say(program.condition, name)}) {{\n"
        f"                {add}\n            }}\n        }}\n    }}\n    return total;\n}}\n"
    )


def _grouping(program: Grouping, function: str, name: Namer, rng: random.Random) -> str:
    xs, x, groups, key = map(name, ("list", "x", "groups", "key"))
    kind, reduce = REDUCERS[program.reducer]
    table = rng.choice(("std::map", "std::unordered_map"))
    return (
        f"{table}<int, {kind}> {function}(const std::vector<int>& {xs}) {{\n    {table}<int, {kind}> {groups};\n"
        f"    for (int {x} : {xs}) {{\n        int {key} = {_say(program.key, name)};\n"
        f"        {reduce.format(at=f'{groups}[{key}]', x=x)}\n    }}\n    return {groups};\n}}\n"
    )


def _machine(program: Machine, function: str, name: Namer) -> str:
    text, state, letter = map(name, ("input", "state", "letter"))
    kinds = ", ".join(s.capitalize() for s in program.states)
    rows = "".join(
        f"        {'else ' if number else ''}if ({state} == State::{at.capitalize()} && {letter} == '{c}') "
        f"{state} = State::{to.capitalize()};\n"
        for number, (at, c, to) in enumerate(program.edges)
    )
    return (
        f"enum class State {{ {kinds} }};\n\nbool {function}(const std::string& {text}) {{\n"
        f"    State {state} = State::{program.states[0].capitalize()};\n"
        f"    for (char {letter} : {text}) {{\n{rows}    }}\n"
        f"    return {state} == State::{program.accepting.capitalize()};\n}}\n"
    )
