"""Elixir definitions that libraries add, docs that stand apart from their function, and letters of every script."""

import pytest

from codekin.parsing import cut_chunks
from codekin.types import Chunk

BODY = "    a = x\n    b = a\n    {a, b}\n  end\n"


def cut(lines: str) -> list[Chunk]:
    found, problems = cut_chunks("lib/a.ex", f"defmodule A do\n{lines}end\n")
    assert problems == []
    return found


def functions(lines: str) -> list[str]:
    return [f"{one.kind} {one.name} {one.start_line}-{one.end_line}" for one in cut(lines) if one.kind != "module"]


BETWEEN = [
    "  attr :since, :integer, required: true\n  slot :inner_block, required: true\n\n",
    "  @tracing true\n",
    "  @rate_limit max: 3\n  @permission :admin\n",
    "  @decorate cacheable(ttl: 10)\n",
    '  deprecated_since "1.0"\n',
    "  # A note.\n\n",
    "  @spec f(integer) :: tuple\n\n  @since 3\n",
    "  plug :load, only: [:show]\n",
    "  limit = 3\n",
]


@pytest.mark.parametrize("between", BETWEEN)
def test_a_doc_belongs_to_the_next_function_whatever_is_between(between: str) -> None:
    """The compiler attaches a doc to the next definition, and so does the chunk."""
    last = 1 + between.count("\n") + 6
    found = cut(f'  @doc "Weighs."\n{between}  def f(x) do\n{BODY}')
    function = next(one for one in found if one.name == "A.f/1")
    assert ("Weighs.", 2, last) == (function.doc.splitlines()[0], function.start_line, function.end_line)


def test_declarations_of_a_component_belong_to_it_without_a_doc() -> None:
    """Phoenix attaches `attr` and `slot` to the function component that follows."""
    assert functions(f"  attr :since, :integer\n\n  def f(x) do\n{BODY}") == ["function A.f/1 2-8"]


def test_a_constant_above_a_function_stays_with_the_module() -> None:
    """Only a doc, a spec or an attribute of functions binds what follows it."""
    assert functions(f"  @timeout 5_000\n  def f(x) do\n{BODY}") == ["function A.f/1 3-7"]


def test_the_doc_of_a_callback_does_not_reach_the_next_function() -> None:
    """A callback takes its doc itself."""
    found = cut(f'  @doc "Of the callback."\n  @callback run(term) :: term\n\n  def f(x) do\n{BODY}')
    assert next(one.doc for one in found if one.name == "A.f/1") == ""


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("defmemo fib(x), expires_in: 10 do", "function A.fib/1"),
        ("defmemop fib(x) do", "function A.fib/1"),
        ("defcached fib(x) when x > 0 do", "function A.fib/1"),
        ("defrpc fib do", "function A.fib/0"),
        ("defmacrox fib(x) do", "macro A.fib/1"),
        ("def (x <|> y) do", "function A.<|>/2"),
        ("def (fib(x)) do", "function A.fib/1"),
        ("def (x <|> y) when x > 0 do", "function A.<|>/2"),
        ('feature "a visitor", %{session: x} do', "test A.test a visitor"),
        ('test "long " <> "name", %{conn: x} do', "test A.test long name"),
        ('test "long " <> ~s(and ) <> "short" do', "test A.test long and short"),
        ('conn_test "opens" do', "test A.test opens"),
        ('it "adds" do', "test A.test adds"),
    ],
)
def test_what_a_library_defines_has_a_chunk(head: str, expected: str) -> None:
    """Any `def…` call with a head and a block defines, and any call of a test with a text and a block is one."""
    assert functions(f"  {head}\n{BODY}") == [f"{expected} 2-6"]


@pytest.mark.parametrize("head", ["defparsec :price do", 'scope "/" do', "deftest Foo do"])
def test_a_call_without_a_head_defines_nothing(head: str) -> None:
    """A block alone makes no definition."""
    assert functions(f"  {head}\n{BODY}") == []


def test_a_pending_test_is_found() -> None:
    """ExUnit lists a test without a body as one that is to be written."""
    assert functions('  test "to be written"\n') == ["test A.test to be written 2-2"]


@pytest.mark.parametrize(
    "name", ["価格", "цена", "سعر", "가격", "かな", "größe", "ราคา", "מחיר", "τιμή", "𠮷野", "中a_1"]
)
def test_names_of_every_script_are_read(name: str) -> None:
    """Elixir allows letters of every script in names."""
    assert functions(f"  def {name}(x) do\n    {name} = x\n    b = {name}\n    {{{name}, b}}\n  end\n") == [
        f"function A.{name}/1 2-6"
    ]


def test_a_comment_is_the_doc_of_the_function_below_it() -> None:
    """What is said in a comment right above a function is searched like a doc."""
    found = cut(f"  # Weighs parcels.\n  def f(x) do\n{BODY}")
    assert next(one.doc for one in found if one.name == "A.f/1") == "Weighs parcels."


@pytest.mark.parametrize("atom", [':"weird name"', ":plain?", ':"<|"', ":<>"])
def test_a_name_may_be_an_atom_that_is_unquoted(atom: str) -> None:
    """`def unquote(:"a b")(x)` defines `a b/1`."""
    name = atom[1:].strip('"')
    assert functions(f"  def unquote({atom})(x) do\n{BODY}") == [f"function A.{name}/1 2-6"]
