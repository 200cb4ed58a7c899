"""The lexical grammar of each language: (token kind, pattern) in the order they are tried.

Every pattern runs in linear time: repetitions are possessive and a closing quote is optional,
so that an unclosed string reaches to the end of the text (or of its line) at once. Blanks, names
and the last resort, any single character, are the same everywhere and stand in `lexing`.
"""


def _quoted(opening: str, closing: str, inside: str) -> str:
    return rf"{opening}(?:{inside})*+(?:{closing})?"


_INTERPOLATION = r'#\{(?:[^{}"]|"(?:[^"\\]|\\.)*+"|\{[^{}]*\})*+\}'
_ELIXIR_STRING = "|".join(
    [
        _quoted('"""', '"""', r'[^"\\]|\\.|"(?!"")'),
        _quoted("'''", "'''", r"[^'\\]|\\.|'(?!'')"),
        _quoted('"', '"', rf'[^"\\#]|\\.|{_INTERPOLATION}|#'),
        _quoted("'", "'", r"[^'\\]|\\."),
    ]
)
_ELIXIR_SIGIL = "~(?:[a-z]|[A-Z][A-Z0-9]*)(?:{})[a-zA-Z]*".format(
    "|".join(
        [
            _quoted('"""', '"""', r'[^"\\]|\\.|"(?!"")'),
            _quoted("'''", "'''", r"[^'\\]|\\.|'(?!'')"),
            *(
                _quoted(rf"\{opening}", rf"\{closing}", rf"[^\{closing}\\]|\\.")
                for opening, closing in [*zip("([{<", ")]}>", strict=True), *zip("/|\"'", "/|\"'", strict=True)]
            ),
        ]
    )
)
_NUMBER = (
    r"0[xX][0-9a-fA-F_']++|0[bB][01_']++|0[oO][0-7_]++"
    r"|\d[\d_]*+(?:\.\d[\d_]*+)?(?:[eE][+-]?\d++)?[a-zA-Z]*+"
)
_C_NUMBER = r"\.?\d(?:[eEpP][+-]|'(?=\w)|[\w.])*+"

ELIXIR = (
    ("comment", r"#[^\r\n]*+"),
    ("string", f"{_ELIXIR_STRING}|{_ELIXIR_SIGIL}"),
    ("number", rf"{_NUMBER}|\?(?:\\.|\S)"),
    ("atom", r':"(?:[^"\\]|\\.)*+"?|:[^\W\d][\w@]*+[?!]?|[^\W\d]\w*+[?!]?:(?=\s)'),
    ("attribute", r"@[^\W\d]\w*+"),
    ("name", r"[^\W\d]\w*+[?!]?"),
    (
        "operator",
        r"\|>|->|<-|=>|\+\+\+?|---?|<>|\.\.\.?|===?|!==?|=~|<=|>=|&&&?|\|\|\|?|<<<|>>>|<<|>>|::|\\\\|~>>?|<~>?|\^\^\^",
    ),
)

_C_LEXEMES = (
    ("comment", r"//[^\r\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/)?"),
    (
        "string",
        (
            r'(?:u8|[uUL])?R"(?P<raw>[^()\\\s]{0,16})\((?:[^)]|\)(?!(?P=raw)"))*+(?:\)(?P=raw)")?'
            r'|(?:u8|[uUL])?"(?:[^"\\\r\n]|\\(?:\r\n|.))*+"?'
            r"|(?:u8|[uUL])?'(?:[^'\\\r\n]|\\.)++'"
        ),
    ),
    ("number", _C_NUMBER),
    ("directive", r"#[ \t]*+[a-z]\w*+(?:[ \t]*+<[^<>\r\n]*+>)?"),
    (
        "operator",
        r"->\*?|\+\+|--|<=>|<<=?|>>=?|[-+*/%&|^=!<>]=|&&|\|\||::|\.\.\.|##",
    ),
)
C = _C_LEXEMES
CPP = _C_LEXEMES

PYTHON = (
    ("comment", r"#[^\r\n]*+"),
    (
        "string",
        "(?i:[rbuf]{0,2})(?:"
        + "|".join(
            [
                _quoted('"""', '"""', r'[^"\\]|\\.|"(?!"")'),
                _quoted("'''", "'''", r"[^'\\]|\\.|'(?!'')"),
                _quoted('"', '"', r'[^"\\\r\n]|\\(?:\r\n|.)'),
                _quoted("'", "'", r"[^'\\\r\n]|\\(?:\r\n|.)"),
            ]
        )
        + ")",
    ),
    ("number", rf"{_NUMBER}|\.\d++"),
    ("operator", r"->|\*\*=?|//=?|<<=?|>>=?|[-+*/%&|^=!<>@:]=|\.\.\."),
)
