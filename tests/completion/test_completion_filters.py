"""What is shown of a raw completion: a table for each language, and a fuzz of all filters together."""

import random

import pytest

from codekin.completion.context import CursorPosition
from codekin.completion.corpus_snapshot import build_corpus
from codekin.completion.filters import apply_filters, cut_to_parse
from codekin.completion.ranking import Guess
from codekin.completion.suggestions import CompletionOptions, likely_guesses
from codekin.parsing import count_errors


def check(source: str, expected: str, language: str = "elixir") -> None:
    """`source` holds the document with ⟨the raw completion⟩ where the cursor is; `expected` is what is shown."""
    prefix, _, rest = source.partition("⟨")
    raw, _, suffix = rest.partition("⟩")
    cursor = CursorPosition("lib/a.ex", language, prefix, suffix)
    text = apply_filters(cursor, raw)
    assert (cut_to_parse(cursor, text) if text else "") == expected


ELIXIR = [
    ("def f(x) do\n  ⟨x + 1⟩\nend\n", "x + 1"),
    ("def f(x) do\n  ⟨x + 1\nend⟩\nend\n", "x + 1"),
    ("def f(x) do\n  ⟨if x do\n    1\n  end⟩\nend\n", "if x do\n    1\n  end"),
    ("def f(x) do\n  ⟨if x do\n    1\n  end\nend⟩\nend\n", "if x do\n    1\n  end"),
    ("def f(x) do\n  ⟨x + y\nend\n\ndef g(x), do: x⟩\nend\n", "x + y"),
    ("def f(x) do\n  g(⟨x, 1)⟩)\nend\n", "x, 1"),
    ("def f(x) do\n  g(⟨x, 1)⟩\nend\n", "x, 1)"),
    ("def f(x) do\n  g(x⟨))⟩\nend\n", ")"),
    ("def f(x) do\n  ⟨log(x)\n  g(x, 1, 2)⟩\n  g(x, 1, 2)\nend\n", "log(x)"),
    ("def f(x) do\n  ⟨g(x, 1, 2)⟩\n  g(x, 1, 2)\nend\n", ""),
    ("def f(x) do\n  log(:start)\n  ⟨log(:start)⟩\nend\n", ""),
    ("def f(x) do\n  ⟨a(x, 1)\n  b(x, 2)\n  b(x, 2)⟩\nend\n", "a(x, 1)\n  b(x, 2)"),
    ("def f(x) do\n  x = ⟨g(x)⟩ + 1\nend\n", ""),
    ("def f(x) do\n  x = ⟨g(x) + 1⟩ + 1\nend\n", "g(x)"),
    ("def f(x) do\n  Enum.map(x, fn y -> ⟨y + 1 end)⟩\nend\n", "y + 1 end)"),
    ("def f(x) do\n  Enum.map(x, fn y -> ⟨y + 1 end)⟩)\nend\n", "y + 1 end"),
    ("def f(x) do\n  ⟨   ⟩\nend\n", ""),
    ("def f(x) do\n  ⟨x |> g()\n  |> h()⟩\nend\n", "x |> g()\n  |> h()"),
    ("def f(x) do\n  ⟨case x do⟩\nend\n", "case x do"),
    ("def f(x) do\n  ⟨y = x + 1\n  case y do⟩\nend\n", "y = x + 1"),
    ("def f(x) do\n  ⟨case x do\n    1 -> 2⟩\nend\n", "case x do\n    1 -> 2"),
]
CPP = [
    ("int f(int x) {\n  ⟨return x + 1;⟩\n}\n", "return x + 1;"),
    ("int f(int x) {\n  ⟨return x;\n}⟩\n}\n", "return x;"),
    ("int f(int x) {\n  ⟨if (x) {\n    return 1;\n  }⟩\n  return 0;\n}\n", "if (x) {\n    return 1;\n  }"),
    ("int f(int x) {\n  ⟨return x;\n}\n\nint g() {⟩\n}\n", "return x;"),
    ("int f(int x) {\n  return g(⟨x);⟩);\n}\n", "x"),
    ("int f(int x) {\n  return g(x⟨));⟩\n}\n", ")"),
    ("int f(int x) {\n  ⟨std::vector<std::pair<int, int>> rows;⟩\n}\n", "std::vector<std::pair<int, int>> rows;"),
    ("int f(int x) {\n  ⟨return 0;⟩\n  return 0;\n}\n", ""),
    ("int f(int x) {\n  for (⟨int i = 0; i < x; ++i) {⟩\n}\n", "int i = 0; i < x; ++i) {"),
]


@pytest.mark.parametrize(("source", "expected"), ELIXIR)
def test_elixir(source, expected):
    """What is inserted doubles no `end`, repeats no line below the cursor and breaks no block."""
    check(source, expected)


@pytest.mark.parametrize(("source", "expected"), CPP)
def test_cpp(source, expected):
    """What is inserted doubles no brace, repeats no line below the cursor and breaks no block."""
    check(source, expected, "cpp")


PIECES = {
    "elixir": [
        "def f(x) do",
        "  x",
        "end",
        "  fn a -> a end",
        "(",
        ")",
        "]",
        "  case x do",
        "    :ok -> 1",
        "  end",
        "}",
    ],
    "cpp": ["int f(int x) {", "  return x;", "}", "  if (x) {", "  }", "(", ");", "]", "};", "  g(x, [&] {", "  });"],
}
FRAMES = {
    "elixir": ("defmodule A do\n  def f(x) do\n    ", "\n  end\nend\n"),
    "cpp": ("namespace a {\nint f(int x) {\n  ", "\n  return 0;\n}\n}\n"),
}


@pytest.mark.parametrize("language", sorted(PIECES))
def test_what_is_inserted_parses_as_well_as_before(language):
    """An accepted completion adds no syntax errors, once the blocks that it opens are closed."""
    generator = random.Random(3)
    prefix, suffix = FRAMES[language]
    cursor = CursorPosition("a", language, prefix, suffix)
    before = count_errors(language, prefix + suffix)
    shown = 0
    for _ in range(150):
        raw = "\n".join(generator.choices(PIECES[language], k=generator.randint(1, 5)))
        text = apply_filters(cursor, raw)
        text = cut_to_parse(cursor, text) if text else ""
        assert raw.startswith(text)
        if text:
            shown += 1
            closed = text + "".join(f"\n{closer}" for closer in reversed(_opened(language, text)))
            texts = (prefix + text + suffix, prefix + closed + suffix)
            assert min(count_errors(language, whole) for whole in texts) <= before
    assert shown > 20


def _opened(language, text):
    from codekin.completion.filters import bracket_balance

    return bracket_balance(language, text).opened


@pytest.mark.parametrize(
    ("wanted", "threshold", "expected"),
    [
        (1, 0.1, ["call"]),
        (3, 0.1, ["call", "cast", "info"]),
        (1, 0.5, []),
        (3, 0.5, []),
        (3, 0.0, ["call", "cast", "info"]),
    ],
)
def test_alternatives_come_with_one_that_is_likely(wanted, threshold, expected):
    """Alternatives are listed behind a best guess that reaches the threshold, and none where it does not."""
    cursor = CursorPosition("lib/a.ex", "elixir", "defmodule A do\n  def handle_", "\nend\n")
    found = [Guess("cast", 0.03), Guess("call", 0.2), Guess("info", 0.02)]
    corpus = build_corpus([("lib/b.ex", "handle_call handle_cast handle_info")])
    likely = likely_guesses(corpus, cursor, CompletionOptions(alternatives=wanted, threshold=threshold), found)
    assert sorted(guess.text for guess in likely) == expected
    assert not likely or threshold == 0.0 or likely[0].text == "call"
