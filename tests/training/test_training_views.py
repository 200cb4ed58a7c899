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
        ("python", 'def f():\n    """Says."""\n    return "# no" # yes', 'def f():\n    return "# no" '),
        ("go", "s := `// no` // yes", "s := `// no` "),
        ("rust", "fn f<'a>(x: &'a str) {} // yes", "fn f<'a>(x: &'a str) {} "),
        ("haskell", "x = 1 -- stays", "x = 1 -- stays"),
    ],
)
def test_comments_go_and_strings_stay(language, text, expected):
    """Comment marks inside strings are code, and comments are not."""
    assert expected == strip_comments(text, language)


def test_strings_are_masked():
    """Strings are masked."""
    assert mask_strings('puts("a \\" b" <> "c")') == 'puts("S" <> "S")'


def test_the_own_name_is_hidden():
    """The function's own name is masked."""
    assert mask_name("def sum(n), do: sum(n - 1) + summed", "sum") == "def x(n), do: x(n - 1) + summed"


def test_renaming_is_consistent_and_keeps_the_language():
    """Each variable gets one new name throughout; keywords are unchanged."""
    text = "def total(items) do\n  Enum.reduce(items, 0, fn item, acc -> item + acc end)\nend"

    renamed = rename(text, random.Random(0))

    assert renamed.count("def ") == 1
    assert "Enum.reduce" in renamed
    assert "items" not in renamed
    new = renamed.split("(")[1].split(")")[0]
    assert renamed.count(f"({new}") == 2


def test_halves_are_the_whole():
    """The two halves together are the whole function."""
    first, second = halves("a\nb\nc")

    assert f"{first}\n{second}" == "a\nb\nc"


def test_includes_and_exports_go():
    """Includes and export lists are left out."""
    assert drop_preamble("#include <vector>\nusing namespace std;\nint x;\n") == "int x;\n"
    assert drop_preamble("-module(a).\n-export([f/0]).\nf() -> 1.\n") == "f() -> 1.\n"


def test_views_repeat_with_the_seed():
    """The same seed gives the same views."""
    text = 'int f(int a) { return g("x") + a; } // c'

    assert random_view(text, "cpp", random.Random(4)) == random_view(text, "cpp", random.Random(4))
