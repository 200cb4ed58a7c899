"""The language of a file: by its extension, by the forms of a header, by the user's own mapping."""

# ruff: noqa: E501 - the tables hold sources as they are read

import pytest

from codekin.parsing import cut_chunks, detect_language

CPP_EXTENSIONS = """C H h++ hp ixx cppm ccm cxxm c++m mpp mxx tpp txx tcc inc ino mm cpp cc cxx c++ hpp hh hxx ipp inl cu
cuh CPP HPP Cc"""


@pytest.mark.parametrize("extension", CPP_EXTENSIONS.split())
def test_extensions_of_cpp(extension: str) -> None:
    """C++ has many extensions; an upper-case C is one."""
    assert detect_language(f"src/a.{extension}", "int f(int a);\n") == "cpp"


@pytest.mark.parametrize(
    ("path", "language"), [("a.c", "c"), ("a.h", "c"), ("A.EX", "elixir"), ("a.m", None), ("C", None)]
)
def test_other_extensions(path: str, language: str | None) -> None:
    """A lower-case c stays C."""
    assert detect_language(path, "int f(int a);\n") == language


def test_a_page_of_php_is_no_cpp() -> None:
    """`.inc` is an extension of PHP as well."""
    assert detect_language("a.inc", "<?php echo 1;\n") == "php"


@pytest.mark.parametrize(
    ("path", "language"), [("a.upp", "cpp"), ("a.c", "cpp"), ("b/a.UPP", "cpp"), ("a.ex", "elixir")]
)
def test_the_user_maps_extensions(path: str, language: str) -> None:
    """A mapping adds extensions and changes known ones."""
    assert detect_language(path, "", {".upp": "cpp", ".c": "cpp"}) == language


CPP_HEADERS = [
    "struct Derived : Base {\n  int a;\n};",
    "struct D final : private A, B<int> {\n};",
    "void swap_ints(int& a, int& b);",
    "void swap_ints(int &a, int &b);",
    "int f(const T&);",
    "int f(T&&);",
    "const T& f(int a);",
    "struct P { P() = default; };",
    "struct P { P(const P *) = delete; };",
    "struct P {\n  ~P() {\n  }\n};",
    "struct P {\n  int n;\n  int size(void);\n};",
    "struct P {\n  int size() { return n; }\n  int n;\n};",
    "struct P {\n  static int *take(int size);\n};",
    "struct P {\n  P(int a);\n};",
    "struct V {\n  V(float a, float b) : x(a), y(b) {\n  }\n};",
    "struct V { float dot(struct V *o) const; };",
    "auto twice = [](int x) { return 2 * x; };",
    "static auto f = [&] { g(); };",
    "#include <QObject>\nstruct Item;",
    "#include <vector>\n",
    "#include <QtCore/QObject>\n",
    "void fill(QList<Item *> *out);",
    "inline void f(void) { for (auto *i : all()) g(i); }",
    "int f(int a, int b = 3);",
    "enum Color : int { RED };",
    "enum class Color { RED };",
    "inline T *make(void) { return new T(3); }",
    "inline void f(T *t) { delete t; }",
    "int count{0};",
    "static const int limit{3};",
    'static const char *s = R"(x)";',
    "inline int f(void) { try { g(); } catch (...) { } }",
    "union U { int a; int get(); };",
    "bool operator==(A a, B b);",
    "extern thread_local std::string s;",
    "::lib::T f(int a);",
    "inline bool f(void) { return static_cast<bool>(g()); }",
    "class Forward;",
]


@pytest.mark.parametrize("text", CPP_HEADERS)
def test_a_header_with_any_form_that_c_lacks_is_cpp(text: str) -> None:
    """One form is enough, words or not."""
    assert detect_language("a.h", f"#pragma once\n{text}\n") == "cpp"


C_HEADERS = [
    "#include <stdio.h>\n#include <sys/types.h>\nint f(int a);",
    "struct s {\n  int (*f)(int a);\n  void *(*g)(void);\n  const char *name;\n  unsigned a : 3, b : 2;\n  int n[4];\n};",
    "struct s { int a; } __attribute__((packed));",
    '#ifdef __cplusplus\nextern "C" {\n#endif\nint f(int a);\n#ifdef __cplusplus\n}\n#endif',
    "#define MAX(a, b) ((a) > (b) ? (a) : (b))\n#define BIT(x) (1 << (x) & MASK)\n",
    "static inline int f(int a, int b) { return (a & b) && (a & MASK) ? g(a) : h(b); }",
    "static inline int f(int *a) { return g(&a[0], &b) & ~mask(1); }",
    "static const int t[] = { [A] = 1, [B] = 2 };\nstruct p q = { .f = g, .n = 1 };",
    "static inline void f(void) { switch (x) { case A: g(); break; default: h(1); } again: i(2); }",
    "/* class of namespaces: a& b */ // template <x>\nint f(const char *s); /* T& x */",
    'static const char *s = "std::vector<int>& a";',
    "typedef int (*compare)(const void *, const void *);\nint sort(void *base, int (*cmp)(int, int));",
    "static inline int f(int a) { return a < b && c > d; }",
    "static inline int f(void) { for (int i = 0; i < 3; ++i) g(i); return sizeof &x; }",
    "int f(int new_size, int this_one);\nextern int errno_, class_id;",
    "struct list { struct list *next, *prev; };\nstruct item { struct list head; int (*free)(struct item *); };",
    "struct s { int n; DECLARE_BITMAP(bits, 8); };",
    "#define foreach(p, l) for (p = (l); p; p = p->next)\nenum color { RED, GREEN = 2 };",
    "int f(int a, ...);\nvoid g(unsigned long long, const struct s *restrict);",
]


@pytest.mark.parametrize("text", C_HEADERS)
def test_a_header_of_c_stays_c(text: str) -> None:
    """Function pointers, bit fields, operators and guarded C++ are C."""
    assert detect_language("a.h", f"#pragma once\n{text}\n") == "c"


def test_a_cpp_header_is_cut_like_an_hpp() -> None:
    """The chunks of a header do not depend on its extension."""
    text = "struct V {\n  float dot(const V& o) const {\n    a(1);\n    b(2);\n    return c(3);\n  }\n  int n;\n};\n"
    names = [[one.name for one in cut_chunks(path, text)[0]] for path in ("v.h", "v.hpp")]
    assert names == [["V", "V::dot"]] * 2
