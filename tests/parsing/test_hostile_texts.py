"""Hostile texts are parsed in bounded time, without a crash or deep recursion."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codekin.parsing import (
    count_errors,
    cut_chunks,
    read_cursor_context,
    read_local_names,
    rename_locals,
    tokenize,
)
from codekin.types import Chunk

REAL = {
    "elixir": '''defmodule A.B do
  @moduledoc """
  Says #{inspect("x")}.
  """
  use GenServer

  @doc ~S"""
  Doc.
  """
  def f([h | t], %{a: b} = c) when b > 1 do
    with {:ok, x} <- g(h), do: x |> Enum.map(&(&1 + 1)) |> Enum.sum()
    case c do
      <<a::8, _::binary>> -> ~r/a+/i
      _ -> ?a
    end
  rescue
    e in RuntimeError -> raise e
  end

  defimpl Enumerable, for: [X, Y] do
    def count(x), do: {:ok, Enum.count(x.all)}
  end

  describe "q" do
    test "é 漢 😀", %{x: x} do
      assert x == 'abc'
    end
  end
end
''',
    "cpp": """#include <vector>
#ifdef A
namespace a { namespace {
template <class T, int N = 3> class B final : public C<T>, D {
 public:
  B() : x_(1) { for (auto& y : z) y(); }
  operator bool() const override { return x_ ? true : false; }
  bool operator()(int a) { auto l = [&](int q) { return q + a; }; return l(1); }
 private:
  int x_ = 1'000;
};
#endif
int B<int>::f(const char* s) noexcept { try { throw R"x(a)x"; } catch (...) {} return 0; }
}}  // namespace
TEST(A, B) { EXPECT_EQ(1, 2) << "\\n"; }
""",
    "c": "struct a { int b; };\nstatic int f(int a, char **b) {\n  while (a--) { *b++ = 'x'; }\n  return a;\n}\n",
    "python": "class A(B):\n    '''d'''\n    @x\n    async def f(self, *a, b=1):\n        return [c for c in a if c]\n",
}
PATHS = {"elixir": "a.ex", "cpp": "a.cc", "c": "a.c", "python": "a.py"}


def cut(language: str, text: str) -> list[Chunk]:
    found, _ = cut_chunks(PATHS[language], text)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
    for chunk in found:
        assert 1 <= chunk.start_line <= chunk.end_line <= lines
        assert chunk.name
        assert chunk.text
    return found


DEEP = ["(", "f(", "a |> ", "fn -> ", "if x do ", "{{", "a<", "if (a) {"]


@pytest.mark.parametrize("language", REAL)
@pytest.mark.parametrize("opening", DEEP)
def test_nesting_of_any_depth(language: str, opening: str) -> None:
    """Nesting 20,000 deep is parsed without exhausting the stack."""
    text = opening * (20_000 // max(1, opening.count("{")))
    cut(language, text)
    read_cursor_context(language, text, len(text))


HOSTILE = {
    "empty": "",
    "blank": "\n\n  \n",
    "nul": "\0" * 1000,
    "nul inside": "defmodule A do\n  def f(x) do\n    \0\n  end\nend\n",
    "long line": "x = [" + "a, " * 60_000 + "1]\n",
    "long string": 'def f() do\n  "' + "a" * 1_000_000 + '"\nend\n',
    "surrogates": "def f do\n  \ud800\n  :ok\nend\n",
    "breaks": "def f do\f\n\u2028\x85\v x\n y\nend\n",
    "byte order mark": "\ufeffdefmodule A do\nend\n",
    "quotes": '"' * 5_000,
    "openers": '~s("#{' * 4_000,
    "raw": 'R"a(' * 4_000,
    "directives": "#if A\n" * 4_000,
    "continued directives": "#if A \\\n" * 20_000,
    "uneven branches": "#if A\n(\n" * 10_000 + "#endif\n" * 10_000,
    "macros": "A_B(" * 5_000,
    "guards": "#ifdef __cplusplus\n" * 4_000,
    "commas": "a<b," * 4_000,
}


@pytest.mark.parametrize("language", REAL)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts(language: str, name: str) -> None:
    """Hostile texts give their chunks within the time limit."""
    text = HOSTILE[name]
    cut(language, text)
    assert "".join(token.text for token in tokenize(language, text)) == text


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("language", REAL)
def test_lines_end_as_in_the_protocol(language: str, line_break: str) -> None:
    """Lines end at LF, CRLF and CR alone, as in the language server protocol."""
    expected = [(one.name, one.start_line, one.end_line) for one in cut(language, REAL[language])]
    text = REAL[language].replace("\n", line_break)
    assert [(one.name, one.start_line, one.end_line) for one in cut(language, text)] == expected


def test_other_breaks_count_no_lines() -> None:
    """A form feed or U+2028 does not move the chunks below it."""
    text = "# a\f\u2028b\x85\vc\ndefmodule A do\n  def f(x) do\n    y = x\n    y\n  end\nend\n"
    assert [(one.name, one.start_line) for one in cut("elixir", text)] == [("A", 1), ("A.f/1", 3)]


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, str]:
    language = draw(st.sampled_from(sorted(REAL)))
    text = REAL[language]
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 40)))
        alphabet = st.sampled_from(
            ["", "end", "do", "{", "}", "(", ")", '"', "'", "#", "\r", "\0", "fn", "<", "é", "😀", '"""', "\n"]
        )
        text = text[:start] + draw(alphabet) + text[end:]
    return language, text[: draw(st.integers(0, len(text)))]


@settings(max_examples=60)
@given(damaged(), st.integers(-5, 2000))
def test_damaged_code_never_raises(case: tuple[str, str], offset: int) -> None:
    """Damaged code is parsed without an exception."""
    language, text = case
    cut(language, text)
    found = tokenize(language, text)
    assert "".join(token.text for token in found) == text
    assert all(text[token.start : token.end] == token.text for token in found)
    read_cursor_context(language, text, offset)
    count_errors(language, text)
    names = read_local_names(language, text)
    assert rename_locals(text, language, {}) == text
    rename_locals(text, language, {name: f"{name}_2" for name in names})


@settings(max_examples=40)
@given(st.sampled_from(sorted(REAL)), st.text(max_size=300))
def test_any_text_never_raises(language: str, text: str) -> None:
    """Any text is parsed without an exception."""
    cut(language, text)
    assert "".join(token.text for token in tokenize(language, text)) == text
    read_cursor_context(language, text, len(text) // 2)
