from codekin.syntax import fragments


def test_a_module_gives_its_functions() -> None:
    """A module without named functions would leave nothing to search."""
    found, problems = fragments("a.ex", "defmodule A.B do\n  def f(x, y) do\n    g(x)\n    y\n  end\nend\n")
    assert ([("A.B", 1, 6), ("A.B.f/2", 2, 5)], []) == ([(f.name, f.start_line, f.end_line) for f in found], problems)
