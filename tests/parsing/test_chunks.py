"""What is cut out of a text, by a table of sources and the fragments expected of them."""

# ruff: noqa: E501, ISC004, FLY002 - the tables hold sources as they are read

import pytest

from codekin.parsing import chunk_at_line, chunk_parts, count_lines_before_code, cut_chunks, detect_language
from codekin.types import Chunk


def check(path: str, source: str, expected: str) -> None:
    """Each expected line: kind, name, first and last line."""
    found, _ = cut_chunks(path, source)
    assert [line.strip() for line in expected.strip().splitlines()] == [
        f"{one.kind} {one.name} {one.start_line}-{one.end_line}" for one in found
    ]


def one(path: str, source: str, name: str) -> Chunk:
    return next(chunk for chunk in cut_chunks(path, source)[0] if chunk.name == name)


SERVER = '''defmodule MyApp.Server do
  @moduledoc "Keeps counts."
  use GenServer

  @timeout 5_000

  @doc """
  Starts it.

  Under a name.
  """
  @spec start_link(keyword) :: GenServer.on_start()
  def start_link(opts \\\\ []) do
    {name, opts} = Keyword.pop(opts, :name)
    GenServer.start_link(__MODULE__, opts, name: name)
  end

  @impl true
  def init(opts), do: {:ok, opts}

  # Counts up.
  def handle_call(:up, _from, state) do
    next = state + 1
    {:reply, next, next}
  end

  @tag :odd
  def handle_call({:add, n}, _from, state) when n > 0 do
    {:reply, state + n, state + n}
  end

  defp other(x) do
    y = handle_call(x, 1, 2)
    y + 1
  end

  def handle_call(_, _from, state), do: {:reply, :error, state}
end
'''


def test_clauses_of_one_name_and_arity_are_one_chunk() -> None:
    """All clauses of a function, with its docs and specs, form one chunk."""
    check(
        "lib/server.ex",
        SERVER,
        """
        module MyApp.Server 1-38
        function MyApp.Server.start_link/1 7-16
        function MyApp.Server.handle_call/3 21-37
        function MyApp.Server.other/1 32-35
        """,
    )


def test_a_chunk_holds_its_clauses_only() -> None:
    """A function between two clauses of another is not part of that one's chunk."""
    text = one("a.ex", SERVER, "MyApp.Server.handle_call/3").text
    assert "Counts up" in text
    assert "{:reply, :error, state}" in text
    assert "defp other" not in text


def test_an_outline_has_heads_attributes_and_trivial_functions() -> None:
    """A module's chunk is its outline, with what was folded into it."""
    assert one("a.ex", SERVER, "MyApp.Server").text == "\n".join(
        [
            "defmodule MyApp.Server do",
            '  @moduledoc "Keeps counts."',
            "  use GenServer",
            "  @timeout 5_000",
            "  def start_link(opts \\\\ [])",
            "  @impl true",
            "  def init(opts), do: {:ok, opts}",
            "  def handle_call(:up, _from, state)",
            "  defp other(x)",
            "end",
        ]
    )


def test_a_short_function_that_calls_something_has_a_chunk_of_its_own() -> None:
    """It is found by its name and by what it does, however short it is; a mere accessor stays in its class."""
    text = "bool isDark(const Color& c)\n{\n    return luma(c) <= 0.5;\n}\n\nint width() const { return width_; }\n"
    found = [chunk.name for chunk in cut_chunks("a.cpp", text)[0]]
    assert "isDark" in found
    assert "width" not in found


def test_docs_are_cleaned_and_stay_in_the_text() -> None:
    """The cleaned documentation is kept in the chunk and in its text."""
    chunk = one("a.ex", SERVER, "MyApp.Server.start_link/1")
    assert chunk.doc == "Starts it.\nUnder a name."
    assert chunk.text.startswith('@doc """\nStarts it.')
    assert one("a.ex", SERVER, "MyApp.Server").doc == "Keeps counts."


def test_the_shape_of_a_callback_is_read() -> None:
    """The shape lists what a callback uses, calls and implements."""
    shape = one("a.ex", SERVER, "MyApp.Server.handle_call/3").shape
    assert shape.uses == ("GenServer",)
    assert shape.callbacks == ("handle_call/3",)
    shape = one("a.ex", SERVER, "MyApp.Server.start_link/1").shape
    assert shape.calls == ("Keyword.pop", "GenServer.start_link")
    assert one("a.ex", SERVER, "MyApp.Server").shape.callbacks == ("init/1", "handle_call/3")


CONTROL = [
    ("a.ex", "def f(x) do\n  case x do\n    1 -> if x, do: g(x)\n    _ -> x |> h() |> f()\n  end\nend\n", "f/1"),
    ("a.cc", "int f(int x) {\n  switch (x) { case 1: if (x) g(x); }\n  x = h(x);\n  return f(x);\n}\n", "f"),
    ("a.py", "def f(x):\n    match x:\n        case 1:\n            if x: g(x)\n    return f(h(x))\n", "f"),
]


@pytest.mark.parametrize(("path", "source", "name"), CONTROL)
def test_calls_and_control_are_read_in_every_language(path: str, source: str, name: str) -> None:
    """Calls and control flow are read in every language."""
    shape = one(path, source, name).shape
    assert {"g", "h", "f"} == set(shape.calls)
    assert {"if", "recursion"} < set(shape.control)
    assert {"case", "switch"} & set(shape.control)


ELIXIR = [
    (
        'defprotocol Size do\n  @doc "The number of elements, in constant time if it can."\n  def size(data)\nend\n\n'
        "defimpl Size, for: MyApp.Foo do\n  def size(foo) do\n    a = foo.a\n    b = foo.b\n    a + b\n  end\nend\n",
        """
        protocol Size 1-4
        function Size.size/1 2-3
        implementation Size.MyApp.Foo 6-12
        function Size.MyApp.Foo.size/1 7-11
        """,
    ),
    (
        "defmodule A do\n  defmodule B do\n    defmacro m(x) do\n      quote do\n        unquote(x) + 1\n      end\n    end\n"
        "  end\n  defguard ok(a, b) when is_map(a) and is_list(b) and\n    length(b) > 1 and\n    map_size(a) > 2\nend\n",
        "module A 1-12\nmodule A.B 2-8\nmacro A.B.m/1 3-7\nguard A.ok/2 9-11",
    ),
    (
        'defmodule ATest do\n  use ExUnit.Case\n\n  describe "f/1" do\n    test "adds" do\n      assert A.f(1) == 2\n'
        '    end\n  end\n\n  test "else", %{x: x} do\n    assert x\n  end\nend\n',
        "module ATest 1-13\ndescribe ATest.describe f/1 4-8\ntest ATest.test f/1 adds 5-7\ntest ATest.test else 10-12",
    ),
    (
        "defmodule M do\n  for {n, v} <- [a: 1] do\n    def unquote(n)(x) do\n      y = x + unquote(v)\n      y * 2\n    end\n"
        "  end\n\n  def a <~> b do\n    c = a\n    c + b\n  end\nend\n",
        "module M 1-13\nfunction M.unquote(n)/1 3-6\nfunction M.<~>/2 9-12",
    ),
    (
        "defmodule P do\n  def f(a, b \\\\ 1)\n\n  def f(a, b) when a > b do\n    c = a\n    c\n  end\n\n"
        "  # Otherwise.\n  def f(a, b) do\n    b\n    a\n  end\nend\n",
        "module P 1-14\nfunction P.f/2 2-13",
    ),
    (
        "defmodule A.B do\n  defmodule C do\n    defimpl String.Chars do\n      def to_string(c) do\n        d = c.d\n        d\n"
        '      end\n    end\n  end\n\n  defn add(a, b) do\n    c = a\n    c + b\n  end\n\n  defmacro unquote(:"<|")(a, b) do\n'
        "    c = a\n    c + b\n  end\nend\n",
        """
        module A.B 1-20
        module A.B.C 2-9
        implementation String.Chars.A.B.C 3-8
        function String.Chars.A.B.C.to_string/1 4-7
        function A.B.add/2 11-14
        macro A.B.<|/2 16-19
        """,
    ),
    ("import Config\n\nconfig :app, key: 1\n", "file a.exs 1-3"),
    ('defmodule A do\n  use Ecto.Schema\n  schema "a" do\n    field :x\n  end\nend', "module A 1-6"),
    ("# nothing but words\n", ""),
]


@pytest.mark.parametrize(("source", "expected"), ELIXIR)
def test_elixir(source: str, expected: str) -> None:
    """Every form of Elixir is a chunk with the right name."""
    check("a.exs", source, expected)


CPP = [
    (
        "namespace a::b {\n// Holds one.\ntemplate <class T>\nclass Box : public Base<T> {\n public:\n  explicit Box(T x) : x_(x) {\n"
        "    check(x);\n    log(x);\n  }\n  ~Box() override {\n    free(x_);\n    done();\n  }\n  T get() const { return x_; }\n"
        "  bool operator==(const Box& o) const {\n    if (this == &o) return true;\n    return x_ == o.x_;\n  }\n"
        "  operator bool() const {\n    if (x_) return true;\n    return false;\n  }\n private:\n  T x_;\n};\n}\n",
        """
        class a::b::Box 2-25
        constructor a::b::Box::Box 6-9
        destructor a::b::Box::~Box 10-13
        operator a::b::Box::operator== 15-18
        operator a::b::Box::operator bool 19-22
        """,
    ),
    (
        "namespace {\nint* C::D<int>::f(int a,\n        int b) {\n  g(a);\n  h(b);\n  return 0;\n}\n}\nstd::string C::g() const {\n  a();\n"
        "  b();\n  return c();\n}\n",
        "method C::D::f 2-7\nmethod C::g 9-13",
    ),
    (
        "ABSL_ATTRIBUTE_NOINLINE void f(int x) {\n  a(x);\n  b(x);\n}\n\nFOO_EXPORT\nint g(int x) ABSL_LOCKS_EXCLUDED(m) {\n"
        '  a(x);\n  return b(x);\n}\nextern "C" {\nint h(void) {\n  a(1);\n  return b(2);\n}\n}\n',
        "function f 1-4\nfunction g 7-10\nfunction h 12-15",
    ),
    (
        "TEST_F(Suite, Name) {\n  EXPECT_EQ(1, f());\n}\n\nauto twice = [](int x) {\n  int y = x;\n  log(y);\n  log(x);\n  return y + x;\n};\n",
        "test TEST_F(Suite, Name) 1-3\nlambda twice 5-10",
    ),
    (
        "uint128::operator float() const {\n  a(x);\n  b(x);\n  c(x);\n}\nint PRIVATE(_name)(int x) {\n  a(x);\n  b(x);\n  c(x);\n}\nstd::vector<int> (*get(int x))(double) {\n  a(x);\n  b(x);\n  c(x);\n}\n"
        "double POZ(double z) {\n  a(x);\n  b(x);\n  c(x);\n}\n",
        "operator uint128::operator float 1-5\nfunction _name 6-10\nfunction get 11-15\nfunction POZ 16-20",
    ),
    (
        "namespace n::inline v1 {\nNS_BEGIN\nnamespace _pb = ::google::protobuf;\nclass MUST_USE_RESULT Box {\n public:\n"
        "  T get(const K& key BOUND, int* NONNULL out) const\n      EXCLUSIVE_LOCK_FUNCTION(mu_) {\n  a(x);\n  b(x);\n  c(x);\n}\n"
        "  template <class U, U* = nullptr>\n  void set(U x) {\n    a(x);\n    b(x);\n    p.operator->()->c(x);\n  }\n  T value_;\n};\n"
        'FLAG(int, number, 10,\n     "help");\nextern template class Box<int>;\nNS_END\n}\n',
        """
        namespace n::v1 1-24
        class n::v1::Box 4-19
        method n::v1::Box::get 6-11
        method n::v1::Box::set 12-17
        """,
    ),
    (
        "#if A\nvoid f(int x) {\n#else\nvoid f(long x) {\n#endif\n  a(x);\n  b(x);\n}\n\nvoid g() {\n  a(1);\n  b(2);\n}\n",
        "function f 2-8\nfunction g 10-13",
    ),
]


@pytest.mark.parametrize(("source", "expected"), CPP)
def test_cpp(source: str, expected: str) -> None:
    """Every form of C++ is a chunk with the right name."""
    check("a.cc", source, expected)


OTHERS = [
    (
        "a.c",
        "/* Adds. */\nstatic int add(int a, int b) {\n  int c = a + b;\n  log(c);\n  return c;\n}\n\n"
        "typedef struct {\n  int x;\n  int y;\n} point;\n\nstruct node { struct node *next;\n  int v; };\n",
        "function add 1-6\nstruct point 8-11\nstruct node 13-14",
    ),
    (
        "a.py",
        "class A(B):\n    '''Says.'''\n    x = 1\n\n    @property\n    def f(self):\n        '''Tells.'''\n        y = g(self.x)\n"
        "        return y\n\n\ndef h():\n    def inner(x):\n        z = g(x)\n        return z\n    return inner\n",
        "class A 1-9\nmethod A.f 5-9\nfunction h 12-16\nfunction h.inner 13-15",
    ),
]


@pytest.mark.parametrize(("path", "source", "expected"), OTHERS)
def test_a_language_is_a_row_and_a_query(path: str, source: str, expected: str) -> None:
    """Adding a language takes one row and one query file."""
    check(path, source, expected)


BROKEN = ["if x do", "foo(x", "[1, 2", '"abc', "fn a ->", "x =", "%{a: ", "}", "def ", "~s(", '@doc """', "foo(x, )"]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_function_hides_no_other(broken: str) -> None:
    """A function with a syntax error leaves the others of its file in the index."""
    body = "  def {0}(x) do\n    {1}\n    bar(x)\n    x\n  end\n"
    source = "defmodule A do\n" + "\n".join([body.format(*pair) for pair in [("a", "y"), ("b", broken), ("c", "y")]])
    names = [chunk.name for chunk in cut_chunks("a.ex", source + "end\n")[0]]
    assert names == ["A", "A.a/1", "A.b/1", "A.c/1"]


@pytest.mark.parametrize("broken", ["if (x) {", "foo(x", "[1, 2", '"abc', "}", "x + ", "auto a = [&](int a) {", "x ="])
def test_a_broken_method_hides_no_other(broken: str) -> None:
    """The same in C++."""
    body = "int {0}(int x) {{\n  {1}\n  bar(x);\n  return x;\n}}\n"
    source = "namespace n {\n" + "\n".join([body.format(*pair) for pair in [("a", ";"), ("b", broken), ("c", ";")]])
    names = [chunk.name for chunk in cut_chunks("a.cc", source + "}\n")[0]]
    assert names == ["n::a", "n::b", "n::c"]


def test_a_long_function_is_split_at_statements() -> None:
    """Parts begin at statements, carry the function's head, and together hold every line."""
    block = "    case g(x) do\n      1 ->\n        h(x)\n      _ ->\n        i(x)\n    end\n"
    source = "defmodule A do\n  def long(x) do\n" + block * 20 + "  end\nend\n"
    found = [chunk for chunk in cut_chunks("a.ex", source)[0] if chunk.name == "A.long/1"]
    assert [chunk.part for chunk in found] == [1, 2, 3]
    assert found == chunk_parts(found, found[1])
    covered = [line for chunk in found for line in range(chunk.start_line, chunk.end_line + 1)]
    assert covered == list(range(2, 124))
    assert all(chunk.text.startswith("def long(x)") for chunk in found)
    assert all(chunk.text.splitlines()[1] == "  case g(x) do" for chunk in found)


def test_the_innermost_chunk_is_found_by_its_line() -> None:
    """A line belongs to the innermost chunk around it."""
    found, _ = cut_chunks("a.ex", SERVER)
    names = {line: chunk.name for line in range(1, 39) if (chunk := chunk_at_line(found, line))}
    assert names[1] == names[5] == names[19] == "MyApp.Server"
    assert names[8] == names[14] == "MyApp.Server.start_link/1"
    assert names[33] == "MyApp.Server.other/1"
    assert names[37] == "MyApp.Server.handle_call/3"
    assert chunk_at_line(found, 99) is None


@pytest.mark.parametrize(
    ("path", "text", "language"),
    [
        ("a.ex", "", "elixir"),
        ("mix.EXS", "", "elixir"),
        ("a.hpp", "", "cpp"),
        ("a.h", "struct a { int b; };\nint f(struct a *x);\n", "c"),
        ("a.h", "#ifdef __cplusplus\nnamespace n {\n#endif\nint f(void);\n", "c"),
        ("a.h", "// class of things\nint f(void);\n", "c"),
        ("a.h", "namespace n { int f(); }\n", "cpp"),
        ("a.h", "class A;\n", "cpp"),
        ("a.erl", "-module(a).\n", "erlang"),
    ],
)
def test_the_language_of_a_file(path: str, text: str, language: str | None) -> None:
    """The language of a header is recognised from its contents."""
    assert language == detect_language(path, text)


def test_an_unknown_language_has_no_chunks_and_says_so() -> None:
    """A file of an unknown language has no chunks, and the result says why."""
    found, problems = cut_chunks("a.prolog", "-module(a).\n")
    assert (found, len(problems)) == ([], 1)


@pytest.mark.parametrize(
    ("language", "text", "lines"),
    [
        (
            "elixir",
            '  # a note\n  @doc """\n  Starts it.\n\n      @doc "no code"\n  """\n  @doc since: "1.2"\n  @spec go()',
            7,
        ),
        ("elixir", '@doc "Starts it."\ndef go, do: 1', 1),
        ("elixir", "@doc false\n\ndef go, do: 1", 2),
        ("elixir", "def go, do: 1", 0),
        ("cpp", "/** Says\n * much. */\n// And more.\ntemplate <typename T>\nT go();", 3),
        ("python", '# says much\ndef go():\n    """Goes."""', 1),
        ("elixir", "# nothing else", 0),
        ("nothing known", "a b", 0),
    ],
)
def test_the_code_begins_below_its_docs(language, text, lines):
    """The lines of documentation above the code are counted."""
    assert count_lines_before_code(language, text) == lines
