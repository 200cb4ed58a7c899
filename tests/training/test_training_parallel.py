"""The generated programs: valid code in each language, and the same program in all of them."""

import random

import pytest

from codekin.parsing import cut_chunks
from parallel.elixir import print_program as print_elixir
from parallel.generate import generate
from parallel.naming import random_names
from parallel.programs import Bin, Fold, Num, Var


@pytest.fixture(scope="module")
def rows():
    """A hundred programs."""
    return generate(100, seed=5)


@pytest.mark.parametrize(("language", "path"), [("elixir", "a.ex"), ("cpp", "a.cpp")])
def test_generated_code_parses(rows, language, path):
    """Every generated program parses."""
    for row in rows:
        for text in row[language]:
            whole = f"defmodule A do\n{text}end\n" if language == "elixir" else text
            found, problems = cut_chunks(path, whole, language)
            assert problems == [], text
            assert found, text


def test_erlang_forms_are_closed(rows):
    """Each Erlang form ends with a full stop and has balanced brackets."""
    for row in rows:
        for text in row["erlang"]:
            assert text.endswith(".\n")
            for opened, closed in ("()", "[]", "{}"):
                plain = text.replace(f"${opened}", "").replace(f"${closed}", "")
                assert plain.count(opened) == plain.count(closed), text


def test_the_same_seed_gives_the_same_translations():
    """The same seed gives the same translations."""
    assert generate(20, seed=3) == generate(20, seed=3)
    assert generate(20, seed=3) != generate(20, seed=4)


def test_every_program_is_written_in_three_languages(rows):
    """Every program is written in three languages."""
    assert len({row["role"] for row in rows}) == 100
    assert all(row["elixir"] and row["cpp"] and row["erlang"] for row in rows)


def test_a_fold_keeps_its_meaning():
    """The printed fold has the program's initial values and steps."""
    fold = Fold((0, 1), (Bin("+", Var("a"), Var("x")), Bin("max", Var("b"), Num(3))), Var("a"))
    names = random_names(random.Random(1))
    a, b, x = (names.snake(name) for name in "abx")

    text = print_elixir(fold, names, random.Random(1))

    assert f"{a} + {x}" in text
    assert f"max({b}, 3)" in text
    assert "0, 1" in text
