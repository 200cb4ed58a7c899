"""The views that training pairs are made of."""

import random

import pytest

from views import drop_preamble, halves, mask_name, mask_strings, random_view, rename, strip_comments


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("elixir", 'x = "# no" # yes\ny', 'x = "# no" \ny'),
        ("elixir", '@doc """\nAdds.\n"""\ndef a, do: 1', "\ndef a, do: 1"),
        ("elixir", "?# + 1 # gone", "?# + 1 "),
        ("erlang", 'f() -> "%a". % gone', 'f() -> "%a". '),
        ("erlang", "$% + 1. %% gone", "$% + 1. "),
        ("cpp", 'auto s = "// no"; // yes\n/* a\n b */ int x;', 'auto s = "// no"; \n int x;'),
        ("python", "x = 1 # stays", "x = 1 # stays"),
    ],
)
def test_comments_go_and_strings_stay(language, text, expected):
    """Code would be cut off at a mark inside a string, or prose would be learned as code."""
    assert expected == strip_comments(text, language)


def test_strings_are_masked():
    """The words of messages would give pairs away."""
    assert mask_strings('puts("a \\" b" <> "c")') == 'puts("S" <> "S")'


def test_the_own_name_is_hidden():
    """A function would be found by its name alone."""
    assert mask_name("def sum(n), do: sum(n - 1) + summed", "sum") == "def x(n), do: x(n - 1) + summed"


def test_renaming_is_consistent_and_keeps_the_language():
    """Two uses of one variable would become two variables, or keywords would change."""
    text = "def total(items) do\n  Enum.reduce(items, 0, fn item, acc -> item + acc end)\nend"

    renamed = rename(text, random.Random(0))

    assert renamed.count("def ") == 1
    assert "Enum.reduce" in renamed
    assert "items" not in renamed
    new = renamed.split("(")[1].split(")")[0]
    assert renamed.count(f"({new}") == 2


def test_halves_are_the_whole():
    """Lines would be lost or doubled."""
    first, second = halves("a\nb\nc")

    assert f"{first}\n{second}" == "a\nb\nc"


def test_includes_and_exports_go():
    """Every C++ file would look alike by its includes."""
    assert drop_preamble("#include <vector>\nusing namespace std;\nint x;\n") == "int x;\n"
    assert drop_preamble("-module(a).\n-export([f/0]).\nf() -> 1.\n") == "f() -> 1.\n"


def test_views_repeat_with_the_seed():
    """A training could not be repeated."""
    text = 'int f(int a) { return g("x") + a; } // c'

    assert random_view(text, "cpp", random.Random(4)) == random_view(text, "cpp", random.Random(4))
