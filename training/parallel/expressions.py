"""Prints expressions infix and programs by their family; a language is a row of spellings and a table of printers."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from parallel.naming import Names
from parallel.programs import Bin, Expression, If, Num, Operator, Program, Var

Printer = Callable[[Any, Names, random.Random], str]
"""Prints the programs of one family."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a language writes operators, calls of max and min, and a choice of two values."""

    operators: dict[Operator, str]
    call: str
    choice: str
    prefix: tuple[Operator, ...] = ()


def write(expression: Expression, spelling: Spelling, name: Callable[[str], str], nested: bool = False) -> str:
    """The expression in a language's syntax; `nested` puts brackets around an operator."""
    match expression:
        case Num(value):
            return str(value)
        case Var(variable):
            return name(variable)
        case If(condition, then, other):
            parts = (write(part, spelling, name) for part in (condition, then, other))
            return spelling.choice.format(*parts)
        case Bin(operator, left, right):
            called = operator in ("max", "min") or operator in spelling.prefix
            sides = [write(side, spelling, name, nested=not called) for side in (left, right)]
            if called:
                return spelling.call.format(spelling.operators.get(operator, operator), *sides)
            text = f"{sides[0]} {spelling.operators.get(operator, operator)} {sides[1]}"
            return f"({text})" if nested else text
    raise TypeError(expression)


def write_operand(expression: Expression | int | None, spelling: Spelling, name: Callable[[str], str]) -> str:
    """An expression, or a number (or None) as it is."""
    if expression is None or isinstance(expression, int):
        return str(expression)
    return write(expression, spelling, name)


def print_with(printers: Mapping[type, Printer], program: Program, names: Names, rng: random.Random) -> str:
    """The program by its family's printer. Raises KeyError for a family without one."""
    return printers[type(program)](program, names, rng)


def is_truth(expression: Expression) -> bool:
    """Whether the expression is a condition."""
    return isinstance(expression, Bin) and expression.operator in ("==", "!=", "<", ">", "<=", ">=", "and", "or")
