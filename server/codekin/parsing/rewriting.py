"""Rewrites forms that a grammar lacks into ones that it has, before the first parse and at the same length.

C and C++ get definitions by macro, C++20 modules and `export`, and old-style definitions with a pointer result; Elixir
gets the letters of every script. Offsets stay, and names and docs are read from the text as it was.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from codekin.parsing.tokens import Token, tokenize


def rewrite(language: str, source: bytes) -> bytes:
    """The text as the grammar of a language can read it."""
    for step in _STEPS.get(language, ()):
        source = step(source)
    return source


# The bytes of letters from U+3000 on, as UTF-8: Han, Hangul and the scripts beyond the basic plane, but no emoji.
_WIDE_LETTER = re.compile(rb"[\xe3-\xed][\x80-\xbf]{2}|\xf0[\x90-\x9e\xa0-\xaf][\x80-\xbf]{2}")
_KNOWN_LETTERS = {3: "あ".encode(), 4: "éé".encode()}


def _replace_letters(source: bytes) -> bytes:
    """Elixir allows letters of every script; each becomes one that the grammar knows and is as many bytes long."""
    if source.isascii():
        return source
    return _WIDE_LETTER.sub(lambda match: _KNOWN_LETTERS[len(match[0])], source)


_CLASS_MACRO = re.compile(
    rb"(\b(?:class|struct|union|enum)[ \t]{1,8})([A-Z][A-Z0-9_]{2,80}(?:\([^()\n]{0,200}\))?)"
    rb"(?=[ \t\r\n]{1,80}(?:\w|::){1,200}[ \t\r\n]{0,80}(?:final\b|[{:]))"
)
_OLD_STYLE = re.compile(
    rb"^([A-Za-z_][\w \t]{0,120}+)((?:\*[ \t\r\n]*)++)(\w++[ \t]*+\([ \t\r\n]*+\w++(?:[ \t\r\n]*+,[ \t\r\n]*+\w++)*+"
    rb"[ \t\r\n]*+\)\s++(?:[A-Za-z_][^;{}]{0,200}+;\s*+){1,24}+\{)",
    re.MULTILINE,
)
_NO_RESULT = re.compile(
    rb"^(?!(?:if|for|while|switch|do|else|return|sizeof|defined)\b)([A-Za-z_])\w(?=\w++[ \t]*+\([ \t\r\n]*+"
    rb"(?:\w++[ \t\r\n]*+,[ \t\r\n]*+)*+(?:\w++)?+[ \t\r\n]*+\)\s*+(?:[A-Za-z_][^;{}()]{0,200}+;\s*+){0,24}+\{)",
    re.MULTILINE,
)
_MAX_LINE_BYTES = 400


def blank_class_macros(source: bytes) -> bytes:
    """The same text without the macro in `class MACRO Name {`, which the grammar takes for a function."""
    return _CLASS_MACRO.sub(lambda match: match[1] + b" " * len(match[2]), source)


def _blank_pointer_results(source: bytes) -> bytes:
    """Of `char *name(a) char *a; {` the first star goes."""
    return _OLD_STYLE.sub(lambda match: match[1] + _blank(match[2]) + match[3], source)


def _split_names_without_result(source: bytes) -> bytes:
    """Of `main(argc, argv) char **argv; {` and `Test(suite, name) {` the second letter becomes a blank: a type."""

    def split(match: re.Match[bytes]) -> bytes:
        line = source[max(0, match.start() - _MAX_LINE_BYTES) : match.start()].rstrip().rpartition(b"\n")[2].strip()
        begins = not line or line.endswith((b";", b"}", b"*/")) or line.startswith((b"#", b"//"))
        return match[1] + b" " if begins else match[0]

    return _NO_RESULT.sub(split, source)


_MODULE_LINE = re.compile(
    rb"^[ \t]*+(?:export[ \t]++)?+(?:module|import)\b[ \t]*+(?:[\w.:]*+|<[^<>\n;]*+>|\"[^\"\n;]*+\")[ \t]*+;",
    re.MULTILINE,
)
_EXPORT = re.compile(rb"((?:^|[;{}>])[ \t]*+)export(?=[ \t\r\n]+(?:[\w\[~]|::))", re.MULTILINE)
_EXPORT_BLOCK = re.compile(rb"^[ \t]*+export[ \t\r\n]*+\{", re.MULTILINE)
_IF_CONSTEVAL = re.compile(rb"\bif[ \t\r\n]*+(?:!|not\b)?[ \t\r\n]*+consteval\b")


def _rewrite_modules(source: bytes) -> bytes:
    """Takes `export` and the lines of modules out, and gives `if consteval` a condition."""
    if b"consteval" in source:
        source = _IF_CONSTEVAL.sub(lambda match: b"if (1)" + _blank(match[0][6:]), source)
    if b"export" not in source and b"module" not in source and b"import" not in source:
        return source
    source = _EXPORT.sub(lambda match: match[1] + b" " * 6, _MODULE_LINE.sub(lambda match: _blank(match[0]), source))
    return _open_export_blocks(source) if _EXPORT_BLOCK.search(source) else source


def _open_export_blocks(source: bytes) -> bytes:
    """Takes the `export {` and its closing brace away from around what it exports."""
    found = tokenize("cpp", source.decode("utf-8", "replace"))
    gone: set[int] = set()
    opened: list[int] = []
    last = -1
    for at, token in enumerate(found):
        if token.text == "{":
            opened.append(last if last >= 0 and found[last].text == "export" else -1)
            gone |= {last, at} if opened[-1] >= 0 else set()
        elif token.text == "}" and opened and opened.pop() >= 0:
            gone.add(at)
        if token.kind not in _BLANK_KINDS:
            last = at
    return _without_tokens(found, gone)


_BLANK_KINDS = frozenset({"space", "newline", "comment"})
_MACRO_WORD = re.compile(r"[A-Z][A-Z0-9_]{2,}")
_C_MACRO_WORD = re.compile(r"[A-Z]\w{2,}")
_ACCESS_WORDS = frozenset({"public", "private", "protected", "signals", "slots"})
_CLASS_WORDS = frozenset({"class", "struct", "union"})
_SCOPE_WORDS = frozenset({"namespace", "extern"}) | _CLASS_WORDS
_PLAIN_ARGUMENTS = re.compile(r"[\w\s,:<>*&]*")
_MAY_DEFINE = {
    "c": re.compile(
        rb"^(?:[A-Z]\w{2,}[ \t]*+\(|[ \t]++(?!(?:if|for|while|switch|return)\b)\w++[ \t]*+\([^;{}()]{0,200}\)\s*+\{)",
        re.MULTILINE,
    ),
    "cpp": re.compile(
        rb"^[ \t]*+(?:\w+[ \t]*+\([^;{}()\"]{0,200}(?:[\"{(]|\)\s*+\{)|[A-Z][A-Z0-9_]{2,}[ \t]*+$)", re.MULTILINE
    ),
}


@dataclass(slots=True)
class _MacroSweep:
    """The state of a sweep over the tokens of a C or C++ text.

    `scopes` has, for each open brace, what may hold definitions, "class" or "namespace", or "" for a block;
    `statement` holds the places of the tokens since the last statement ended.
    """

    language: str
    tokens: list[Token]
    scopes: list[str] = field(default_factory=list)
    statement: list[int] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)
    replaced: dict[int, str] = field(default_factory=dict)


def _rewrite_macro_definitions(language: str, source: bytes) -> bytes:
    """Gives `MACRO("text", …) {` where functions are defined the form of a function without parameters.

    In C, which wants a type, the second letter of the macro becomes a blank. `TEST_SUITE("text") {` becomes a
    namespace, and within a function `SECTION("text") {` and `forAll(list, i) {` plain blocks.
    """
    if _MAY_DEFINE[language].search(source) is None:
        return source
    sweep = _MacroSweep(language, tokenize("cpp", source.decode("utf-8", "replace")))
    for at in _significant(sweep.tokens):
        text = sweep.tokens[at].text
        if text == "{":
            _enter_brace(sweep)
        elif text == "}":
            if sweep.scopes:
                sweep.scopes.pop()
            sweep.statement.clear()
        elif text == ";":
            _end_statement(sweep)
        elif text == ":" and sweep.statement and sweep.tokens[sweep.statement[-1]].text in _ACCESS_WORDS:
            sweep.statement.clear()
        else:
            sweep.statement.append(at)
    return _without_tokens(sweep.tokens, sweep.gone, sweep.replaced)


def _end_statement(sweep: _MacroSweep) -> None:
    """Takes a macro with a text away from among the members of a class, where a call has no place."""
    tokens = [sweep.tokens[at] for at in sweep.statement]
    if sweep.scopes and all(sweep.scopes) and any(token.kind == "string" for token in tokens[2:]):
        start = _call_start(sweep) if tokens[-1].text == ")" else None
        sweep.gone.update(sweep.statement[start:] if start is not None else ())
    sweep.statement.clear()


def _significant(tokens: list[Token]) -> Iterator[int]:
    """The places of the tokens that are neither blank nor part of a preprocessor directive."""
    in_directive, last = False, ""
    for at, token in enumerate(tokens):
        if token.kind == "directive":
            in_directive = True
        elif token.kind == "newline":
            in_directive = in_directive and last == "\\"
        elif token.kind not in _BLANK_KINDS and not in_directive:
            yield at
        last = token.text if token.kind != "space" else last


def _enter_brace(sweep: _MacroSweep) -> None:
    words = [sweep.tokens[at].text for at in sweep.statement]
    scope = "" if {"=", ")"}.intersection(words[-1:]) else _scope_of(words)
    if all(sweep.scopes):
        sweep.gone.update(_lone_macros(sweep))
    if words[-1:] == [")"] and (start := _call_start(sweep)) is not None:
        scope = "namespace" if _rewrite_call(sweep, start) else ""
    sweep.scopes.append(scope)
    sweep.statement.clear()


def _scope_of(words: list[str]) -> str:
    """What a brace behind these words opens: `class`, `namespace` or "" for a block."""
    if _SCOPE_WORDS.isdisjoint(words):
        return ""
    return "class" if _CLASS_WORDS.intersection(words) else "namespace"


def _rewrite_call(sweep: _MacroSweep, start: int) -> bool:
    """Rewrites the macro's call in front of a brace, a text's into a block; whether the brace opens a scope."""
    call = sweep.statement[start:]
    word = sweep.tokens[call[0]].text
    in_class = "class" in sweep.scopes  # where `Name(…) {` is a constructor
    is_macro = (_MACRO_WORD if in_class else _C_MACRO_WORD).fullmatch(word) is not None
    has_text = any(sweep.tokens[at].kind == "string" for at in call)
    if not all(sweep.scopes):
        sweep.gone.update(call if has_text or not sweep.scopes[-1] else ())
        return False
    if not has_text and not is_macro:
        return False
    sweep.gone.update(sweep.statement[:start])
    if "SUITE" in word and has_text:
        sweep.gone.update(call)
        sweep.replaced[call[0]] = "namespace" if len(word) >= len("namespace") else ""
        return True
    arguments = "".join(sweep.tokens[at].text for at in call[2:-1])
    is_curried = ")(" in arguments and sweep.language == "c"  # `Hook(name)(parameters) {` has a declarator's form
    if not is_curried and (sweep.language == "c" or not _PLAIN_ARGUMENTS.fullmatch(arguments)):
        sweep.gone.update(call[2:-1])
    if sweep.language == "c":
        sweep.replaced[call[0]] = f"{word[0]} {word[2:]}"
    return False


def _lone_macros(sweep: _MacroSweep) -> list[int]:
    """The macros on lines of their own that a statement begins with, such as `END_TEST`, but not its result type."""
    found: list[int] = []
    for place, at in enumerate(sweep.statement[:-2]):
        following = [sweep.tokens[other] for other in sweep.statement[place + 1 : place + 3]]
        is_result = following[0].kind == "name" and following[1].text in {"(", "::", "<"}
        if is_result or not _MACRO_WORD.fullmatch(sweep.tokens[at].text) or not _is_alone(sweep.tokens, at):
            break
        found.append(at)
    return found


def _is_alone(tokens: list[Token], at: int) -> bool:
    behind = next((token.kind for token in tokens[at + 1 : at + 3] if token.kind != "space"), "newline")
    return behind in {"newline", "comment"} and _begins_line(tokens, at)


def _call_start(sweep: _MacroSweep) -> int | None:
    """The place in the statement of the name whose call ends it, if only other macros of a line precede it."""
    tokens, depth = sweep.tokens, 0
    for place in range(len(sweep.statement) - 1, -1, -1):
        text = tokens[sweep.statement[place]].text
        depth += (text == ")") - (text == "(")
        if depth == 0 and (sweep.language == "cpp" or not place or tokens[sweep.statement[place - 1]].text != ")"):
            break
    start = place - 1
    if start < 0 or tokens[sweep.statement[start]].kind != "name" or not _begins_line(tokens, sweep.statement[start]):
        return None
    before = [tokens[at] for at in sweep.statement[:start]]
    return start if all(_MACRO_WORD.fullmatch(token.text) or token.text in "(),;" for token in before) else None


def _begins_line(tokens: list[Token], at: int) -> bool:
    before = at - 1
    while before >= 0 and tokens[before].kind == "space":
        before -= 1
    return before < 0 or tokens[before].kind == "newline" or tokens[before].text in {"{", "}", ";"}


def _without_tokens(tokens: list[Token], gone: set[int], replaced: dict[int, str] | None = None) -> bytes:
    """The text with some tokens blanked and others replaced by ones that are at most as long."""
    texts = []
    for at, token in enumerate(tokens):
        if replaced and at in replaced:
            texts.append(replaced[at].ljust(len(token.text)))
        else:
            texts.append(_blank(token.text.encode("utf-8", "replace")).decode() if at in gone else token.text)
    return "".join(texts).encode("utf-8", "replace")


def _blank(source: bytes) -> bytes:
    return re.sub(rb"[^\r\n]", b" ", source)


_CUDA_WORD = re.compile(
    rb"\b__(?:global|device|host|shared|constant|managed|grid_constant|forceinline|noinline|restrict|launch_bounds|"
    rb"cluster_dims)__(?:[ \t]*\([^()\n]{0,200}\))?"
)
_CUDA_LAUNCH = re.compile(rb"(?<!<)<<<(?!<)[^;{}]{0,400}?>>>(?!>)")


def blank_cuda(source: bytes) -> bytes:
    """CUDA without what C++ lacks: the words for where a function runs, and the sizes of a launch."""
    if b"__" not in source and b"<<<" not in source:
        return source
    return _CUDA_LAUNCH.sub(_blank_match, _CUDA_WORD.sub(_blank_match, source))


_OBJC_SIGN = re.compile(rb"^@(?:implementation|interface|protocol)\b", re.MULTILINE)
_OBJC_WORD = re.compile(rb"^@(interface|protocol|implementation|end)\b[^\n]*", re.MULTILINE)
_OBJC_LINE = re.compile(rb"^@(?:class|protocol|property|import|synthesize|dynamic)\b[^\n]*", re.MULTILINE)
_OBJC_IMPLEMENTATION = re.compile(
    rb"^@implementation([ \t]+\w+)([ \t]*(?:\([^)\n]*\))?[ \t]*)(\{[^{}]*\})?([ \t]*(?://[^\n]*)?)(\r?\n)", re.MULTILINE
)
_OBJC_METHOD = re.compile(rb"^([-+][ \t]*\([^\n{};]*?\)[ \t]*)(\w+)([^{};]{0,300}?)(\s\{\s)", re.MULTILINE)
_OBJC_LITERAL = re.compile(
    rb"@(?=[\"\[{(\d])|@(?:autoreleasepool|try|finally|selector|available|encode)\b|(?<=[(,=])[ \t]*\^(?=[ \t]*[({])"
)
_OBJC_SEND = re.compile(
    rb"(?<![\w)\]])\[(?=\s{0,20}[^\[\]{};,\s][^\[\]{};,]{0,200}?\s{1,20}\w{1,80}\s{0,20}[\]:])[^\[\]{};]{1,400}\]"
)
_OBJC_NESTED = 6


def rewrite_objective_c(source: bytes) -> bytes:
    """Objective-C++ as C++: an implementation is a struct, a method a function by its selector's first word."""
    if not _OBJC_SIGN.search(source):
        return source
    source = _OBJC_LINE.sub(_blank_match, _blank_declarations(source))
    source = _OBJC_IMPLEMENTATION.sub(_open_struct, source)
    source = re.sub(rb"^@end", b"};  ", source, flags=re.MULTILINE)
    source = _OBJC_METHOD.sub(_open_method, source)
    source = _OBJC_LITERAL.sub(_blank_match, source)
    for _ in range(_OBJC_NESTED):
        source = _OBJC_SEND.sub(_blank_send, source)
    return source


def _blank_declarations(source: bytes) -> bytes:
    """The same without interfaces and protocols, each up to its `@end`, in one pass."""
    parts, at, opened = [], 0, -1
    for match in _OBJC_WORD.finditer(source):
        if match[1] in {b"interface", b"protocol"} and not match[0].rstrip().endswith(b";"):
            opened = match.start() if opened < 0 else opened
        elif match[1] == b"end" and opened >= 0:
            parts += [source[at:opened], _blank(source[opened : match.end()])]
            at, opened = match.end(), -1
        elif match[1] == b"implementation":
            opened = -1
    return b"".join([*parts, source[at:]])


def _open_struct(match: re.Match[bytes]) -> bytes:
    between = _blank(b"".join(part or b"" for part in match.groups()[1:4]))
    return b"struct" + b" " * (len("@implementation") - len("struct")) + match[1] + between + b"{".rjust(len(match[5]))


def _open_method(match: re.Match[bytes]) -> bytes:
    """`- (int)add:(int)amount {` as `int add()`; what is blanked keeps its line breaks."""
    parameters = _blank(match[3])
    head = b"int".ljust(len(match[1])) + match[2]
    if b"\n" in parameters[:2] or len(parameters) < len(b"()"):
        return head + parameters + b"(){"
    return head + b"()" + parameters[2:] + match[4]


def _blank_send(match: re.Match[bytes]) -> bytes:
    """A message to an object is a value; what is inside it is sent first."""
    return b"0" + _blank(match[0][1:])


def _blank_match(match: re.Match[bytes]) -> bytes:
    return _blank(match[0])


_STEPS: Mapping[str, tuple[Callable[[bytes], bytes], ...]] = {
    "elixir": (_replace_letters,),
    "heex": (partial(re.compile(rb"(?<=<)#|(?<=</)#").sub, b"x"),),
    "zig": (partial(re.compile(rb"\bpub(?= )").sub, b"   "),),
    "c": (
        blank_class_macros,
        _blank_pointer_results,
        partial(_rewrite_macro_definitions, "c"),
        _split_names_without_result,
    ),
    "cpp": (
        blank_cuda,
        rewrite_objective_c,
        blank_class_macros,
        _rewrite_modules,
        partial(_rewrite_macro_definitions, "cpp"),
    ),
}
