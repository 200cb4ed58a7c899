"""C and C++ forms that their grammars lack: definitions by macro, modules, old-style results, `if consteval`."""

import pytest

from codekin.parsing import cut_chunks

BODY = "{\n    first(1);\n    second(2);\n    third(3);\n}\n"


def check(path: str, source: str, *expected: str) -> None:
    found, problems = cut_chunks(path, source)
    assert (problems, list(expected)) == (
        [],
        [f"{one.kind} {one.name} {one.start_line}-{one.end_line}" for one in found if one.kind != "file"],
    )


TEXT_MACROS = [
    'TEST_CASE("adds (two)", "[x]")',
    'TEST_CASE_METHOD(Fixture, "keeps { order", "[map]")',
    'TEMPLATE_TEST_CASE("sums", "[x]", int, (std::pair<int, float>))',
    'SCENARIO("a queue")',
    'BENCHMARK_CASE("fast")',
    'conformance_test("fast")',
]


@pytest.mark.parametrize("head", TEXT_MACROS)
@pytest.mark.parametrize("path", ["a.cpp", "a.hpp"])
def test_a_macro_with_a_text_defines_a_test(path: str, head: str) -> None:
    """Catch2, doctest and others name a test by a string."""
    source = f"#include <x.h>\n\n{head} {BODY}\n{head}\n{BODY}int after(int a) {BODY}"
    check(path, source, f"test {head} 3-7", f"test {head} 9-14", "function after 15-19")


def test_sections_belong_to_their_test() -> None:
    """A section is a part of its test, whose end it does not move."""
    inner = 'SECTION("with spaces") {\nWHEN("drained") { THEN("empty") { check(); } }\n}\nfirst(2);\n'
    check("a.cpp", f'TEST_CASE("a") {{\n{inner}}}\nint f(int a) {BODY}', 'test TEST_CASE("a") 1-6', "function f 7-11")


def test_a_suite_holds_its_tests() -> None:
    """A suite's braces hide no test."""
    inner = f'TEST_CASE("a") {BODY}TEST_SUITE("inner") {{\nTEST_CASE("b") {BODY}}}\n'
    check("a.cpp", f'TEST_SUITE("money") {{\n{inner}}}\n', 'test TEST_CASE("a") 2-6', 'test TEST_CASE("b") 8-12')


def test_a_text_as_default_argument_makes_no_macro() -> None:
    """A constructor stays one whatever its parameters default to."""
    source = (
        f'struct ABC {{\n  ABC(const char* s = "x") {BODY}}};\nABC::ABC(int a)\n    : base(a),\n      name("s") {BODY}'
    )
    check("a.cpp", source, "struct ABC 1-7", "constructor ABC::ABC 2-6", "constructor ABC::ABC 8-14")


def test_a_macro_with_a_text_among_members_hides_none() -> None:
    """A class whose name is registered by a macro is read whole."""
    source = f'class Solver\n: public base\n{{\n  TypeName("solver");\n  scalar norm() const {BODY}}};\n'
    check("a.C", source, "class Solver 1-10", "method Solver::norm 5-9")


C_MACROS = [
    ("NATIVE_FN(get_version)", "function"),
    ("PHP_FUNCTION(array_sum)", "function"),
    ("METHOD(person_t, get_name, const char*, private_person_t *this)", "function"),
    ("SYSCALL_DEFINE3(my_read, unsigned int, fd, char __user *, buf, size_t, count)", "function"),
    ("START_TEST(test_money)", "test"),
    ('TEST("adds")', "test"),
]


@pytest.mark.parametrize(("head", "kind"), C_MACROS)
@pytest.mark.parametrize("path", ["a.c", "a.cpp"])
def test_a_macro_defines_a_function(path: str, head: str, kind: str) -> None:
    """The name is the macro with its arguments, in C as in C++."""
    source = f"{head} {BODY}{head}\n{BODY}int after(int a) {BODY}"
    check(path, source, f"{kind} {head} 1-5", f"{kind} {head} 6-11", "function after 12-16")


@pytest.mark.parametrize("path", ["a.c", "a.cpp"])
def test_a_macro_between_definitions_belongs_to_none(path: str) -> None:
    """`END_TEST` on a line of its own neither moves nor hides what follows."""
    source = (
        f"START_TEST(test_a)\n{BODY}END_TEST\nSTART_TEST(test_b)\n{BODY}END_TEST\nstatic int *\nafter(int a)\n{BODY}"
    )
    check(path, source, "test START_TEST(test_a) 1-6", "test START_TEST(test_b) 8-13", "function after 15-21")


OLD_STYLE = [
    "char *lookup(table, key)\n    struct table *table;\n    char *key;\n",
    "static struct entry *\nlookup(list, n)\nstruct entry *list;\nint n;\n",
    "char **lookup(a)\nregister char **a;\n",
    "unsigned char * lookup(a, b, c)\n  int a, b;\n  int (*c)();\n",
    "int lookup(a)\nint a;\n",
]


@pytest.mark.parametrize("head", OLD_STYLE)
def test_an_old_style_function_is_found(head: str) -> None:
    """Whatever it gives back, a pointer or not."""
    last = head.count("\n") + 5
    check(
        "a.c",
        f"{head}{BODY}int after(void) {BODY}",
        f"function lookup 1-{last}",
        f"function after {last + 1}-{last + 5}",
    )


EXPORTED = [
    ("export int f(int a) ", "function f"),
    ("export template <class T>\nT f(T a) ", "function f"),
    ("export inline constexpr int f(int a) ", "function f"),
    ("export\nint f(int a) ", "function f"),
    ("export [[nodiscard]] int f(int a) ", "function f"),
    ("export ::lib::T f(int a) ", "function f"),
    ("export auto f(int a) -> int ", "function f"),
    ("export ns::Class::~Class() ", "destructor ns::Class::~Class"),
]


@pytest.mark.parametrize(("head", "expected"), EXPORTED)
def test_what_is_exported_keeps_its_name(head: str, expected: str) -> None:
    """`export` may stand before any declaration, and the chunk begins with it."""
    lines = head.count("\n") + 5
    check(
        "a.cpp", f"export module a.b:part;\nimport std;\nexport import :x;\n{head}{BODY}", f"{expected} 4-{3 + lines}"
    )
    found, _ = cut_chunks("a.cpp", f"export module a;\n{head}{BODY}")
    assert any(one.text.startswith("export") for one in found if one.kind != "file")


def test_modules_are_scopes_like_any_other() -> None:
    """Fragments of a module, exported namespaces, classes and blocks keep the names of what is inside."""
    source = f"""module;
#include <vector>
export module shop;
import <vector>;
import "local.h";
export namespace shop {{
export class Basket {{
    void put(int a) {BODY}}};
}}
export {{
int tail(int a) {BODY}
namespace in {{ int deep(int a) {BODY}}} }}
module :private;
int last(int a) {BODY}"""
    check(
        "a.ixx",
        source,
        "class shop::Basket 7-13",
        "method shop::Basket::put 8-12",
        "function tail 16-20",
        "function in::deep 22-26",
        "function last 29-33",
    )


@pytest.mark.parametrize("condition", ["consteval", "! consteval", "not consteval", "!consteval"])
def test_if_consteval_ends_no_function(condition: str) -> None:
    """The function goes on behind it."""
    check(
        "a.cpp",
        f"int f(int a) {{\n  if {condition} {{ a = 1; }} else {{ a = 2; }}\n  b(a);\n  return a;\n}}\n",
        "function f 1-5",
    )


TRY_BLOCKS = [
    ("Conn::Conn(int fd) try : fd_(fd) ", "constructor Conn::Conn"),
    ("Conn::Conn(int fd) noexcept(false)\ntry\n  : fd_(fd), b_{1} ", "constructor Conn::Conn"),
    ("Conn::~Conn() try ", "destructor Conn::~Conn"),
    ("int f(int a) try ", "function f"),
]


@pytest.mark.parametrize(("head", "expected"), TRY_BLOCKS)
def test_a_function_may_be_a_try_block(head: str, expected: str) -> None:
    """A constructor's initialisers stand within it."""
    last = head.count("\n") + 8
    check("a.cpp", f"{head}{BODY[:-1]} catch (...) {{\n  close(1);\n  throw;\n}}\n", f"{expected} 1-{last}")


LOOPS = ["forAll(list, i)", "Q_FOREACH (const int& x, list)", "for_each_cpu(cpu)", "LIST_FOREACH(it, head, next)"]


@pytest.mark.parametrize("head", LOOPS)
@pytest.mark.parametrize("path", ["a.c", "a.cpp"])
def test_a_loop_by_macro_is_no_function(path: str, head: str) -> None:
    """A macro in front of a block within a function defines nothing."""
    found, _ = cut_chunks(path, f"int walk(int a) {{\n{head} {BODY}return a;\n}}\nint after(int a) {BODY}")
    assert [one.name for one in found if one.kind != "file"] == ["walk", "after"]


def test_a_test_may_be_a_literal_with_a_lambda() -> None:
    """Boost.UT names a test by a literal, also within a suite."""
    test = f'"b c"_test = [] {BODY[:-1]};\n'
    source = f'"a"_test = [] {BODY[:-1]};\nsuite<"errors"> errors = [] {{\n{test}}};\n'
    check("a.cpp", source, "test a 1-5", "lambda errors 6-12", "test b c 7-11")


@pytest.mark.parametrize("path", ["a.c", "a.cpp"])
@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("Ensure(a,b)", "test Ensure(a,b)"),
        (
            "Test(suite, name, .init = setup, .fini = teardown)",
            "test Test(suite, name, .init = setup, .fini = teardown)",
        ),
        ("Test(suite, name, .signal = SIGSEGV)", "test Test(suite, name, .signal = SIGSEGV)"),
        ("ParameterizedTest(struct pair *p, suite, sums)", "test ParameterizedTest(struct pair *p, suite, sums)"),
        ("Theory((int a, int b), algebra, commutes)", "test Theory((int a, int b), algebra, commutes)"),
        ("BeforeEach(Stack)", "function BeforeEach(Stack)"),
        ("ReportHook(PRE_TEST)(struct criterion_test *t)", "function PRE_TEST"),
    ],
)
def test_frameworks_of_c_define_by_macros_in_mixed_case(path: str, head: str, expected: str) -> None:
    """Criterion's designated initialisers and parameter lists, and cgreen's words, in C and in C++."""
    source = f"#include <a.h>\n\n{head} {BODY}{head} {BODY}int after(int a) {BODY}"
    check(path, source, f"{expected} 3-7", f"{expected} 8-12", "function after 13-17")


@pytest.mark.parametrize("path", ["a.c", "a.cpp"])
@pytest.mark.parametrize("macro", ["Ensure(a, b)", "forAll(list, i)", "list_for_each_entry(a, &b, c)", "Verify(a)"])
def test_a_macro_in_front_of_a_block_is_neither_a_definition_nor_a_fault(path: str, macro: str) -> None:
    """Within a function such a call opens a plain block."""
    source = (
        f"int run(int a) {{\n  {macro} {{\n    work(a);\n  }}\n  {macro}\n  {{\n    work(b);\n  }}\n  return a;\n}}\n"
    )
    check(path, source + f"int after(int a) {BODY}", "function run 1-10", "function after 11-15")


def test_a_constructor_without_names_is_no_macro() -> None:
    """Within a class `Name(A, B) {` is a constructor, and in a local class as well."""
    check("a.cpp", f"struct Pair {{\n  Pair(A, B) {BODY}}};\n", "struct Pair 1-7", "constructor Pair::Pair 2-6")
    local = f"int f() {{\n  struct Local {{\n    Local(A, B) {BODY}  }};\n  return 1;\n}}\n"
    names = ("function f 1-10", "struct f::Local 2-8", "constructor f::Local::Local 3-7")
    check("a.cpp", local, *names)


NO_RESULT = [
    ("main()\n", "function main"),
    ("main(argc, argv)\nint argc;\nchar **argv;\n", "function main"),
    ("Test(suite, name) ", "test Test(suite, name)"),
    ("Test(suite, name, .init = setup) ", "test Test(suite, name, .init = setup)"),
    ("Ensure(Stack, is_empty) ", "test Ensure(Stack, is_empty)"),
]


@pytest.mark.parametrize(("head", "expected"), NO_RESULT)
def test_a_function_of_c_may_lack_a_result(head: str, expected: str) -> None:
    """An implicit `int`, or a macro in small letters, which C's grammar reads as a call."""
    last = head.count("\n") + 5
    check(
        "a.c",
        f"#include <a.h>\n{head}{BODY}{head}{BODY}int *\nafter(a)\nint a;\n{BODY}",
        f"{expected} 2-{1 + last}",
        f"{expected} {2 + last}-{1 + 2 * last}",
        f"function after {2 + 2 * last}-{9 + 2 * last}",
    )
