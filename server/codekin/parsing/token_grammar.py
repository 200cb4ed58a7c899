"""The token grammar of each language: (token kind, pattern) in the order they are tried.

Every pattern runs in linear time: repetitions are possessive and a closing quote is optional, so that an unclosed
string reaches the end of the text (or of its line) at once. Blanks, names and single characters are the same for
every language and are defined in `tokens`. Languages of one family share a grammar and differ in their keywords.
"""

from collections.abc import Mapping
from types import MappingProxyType

Patterns = tuple[tuple[str, str], ...]


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

C = (
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

_DOUBLE = _quoted('"', '"', r'[^"\\\r\n]|\\(?:\r\n|.)')
_SINGLE = _quoted("'", "'", r"[^'\\\r\n]|\\(?:\r\n|.)")
_TRIPLE = _quoted('"""', '"""', r'[^"\\]|\\.|"(?!"")')
_BACKTICK = _quoted("`", "`", r"[^`\\]|\\.")
_ONE_CHARACTER = r"'(?:\\(?:u\{[^}]*+\}|.[^'\r\n]{0,8})|[^'\\\r\n])'"
_BRACE_COMMENT = r"//[^\r\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/)?"
_OPERATOR = (
    "operator",
    r"<=>|===|!==|\*\*|->|=>|<-|:=|=:=|=/=|=<|\|>|>>=?|<<=?|\?\.|\?:|\?\?|\+\+|--|[-+*/%&|^=!<>~]=|&&|\|\||::|\.\.[.=<]?",
)


def _family(comment: str, string: str, *more: tuple[str, str]) -> Patterns:
    return (("comment", comment), ("string", string), ("number", _NUMBER), *more, _OPERATOR)


BRACES = _family(_BRACE_COMMENT, f"{_TRIPLE}|{_DOUBLE}|{_SINGLE}|{_BACKTICK}", ("attribute", r"@[^\W\d]\w*+"))
QUOTED_ONCE = _family(_BRACE_COMMENT, rf"{_DOUBLE}|{_ONE_CHARACTER}|\\\\[^\r\n]*+")
HASH = _family(r"#(?!\{)[^\r\n]*+", f"{_TRIPLE}|{_DOUBLE}|{_SINGLE}", ("name", r"[^\W\d]\w*+[?!]?"))
LUA = _family(
    r"--(?:\[\[(?:[^\]]|\](?!\]))*+(?:\]\])?|[^\r\n]*+)", rf"{_DOUBLE}|{_SINGLE}|\[\[(?:[^\]]|\](?!\]))*+(?:\]\])?"
)
SQL = _family(r"--[^\r\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/)?", _DOUBLE + "|" + _quoted("'", "'", "[^']|''"))
HASKELL = _family(
    r"--(?![!#$%&*+./<=>?@^|~])[^\r\n]*+|\{-(?:[^-]|-(?!\}))*+(?:-\})?",
    rf"{_DOUBLE}|{_ONE_CHARACTER}",
    ("name", r"[^\W\d][\w']*+"),
)
OCAML = _family(r"\(\*(?:[^*]|\*(?!\)))*+(?:\*\))?", rf"{_DOUBLE}|{_ONE_CHARACTER}", ("name", r"[~?]?[^\W\d][\w']*+"))
ERLANG = _family(
    r"%[^\r\n]*+",
    "|".join((_TRIPLE, _quoted('"', '"', r'[^"\\]|\\.'), _SINGLE)),
    ("directive", r"(?m:^)-[a-z]\w*+"),
    ("atom", r"\$(?:\\.|\S)"),
    ("attribute", r"\?{1,2}[^\W\d]\w*+"),
)
TEXT = _family(r"<!--(?:[^-]|-(?!->))*+(?:-->)?|<%!--(?:[^-]|-(?!-%>))*+(?:--%>)?", _DOUBLE)
"""Templates and prose: an apostrophe begins no string."""

KEYWORDS: Mapping[str, str] = MappingProxyType(
    {
        "elixir": """
            after and catch cond case def defdelegate defexception defguard defguardp defimpl defmacro defmacrop
            defmodule defn defnp defoverridable defp defprotocol defstruct deftransform deftransformp do else end
            false fn for if import in nil not or quote raise receive alias require rescue super throw true try
            unless unquote unquote_splicing use when with
        """,
        "c": """
            auto bool break case char const continue default do double else enum extern false float for goto if
            inline int long NULL register return short signed sizeof static struct switch true typedef union
            unsigned void volatile while
        """,
        "cpp": """
            auto bool break case char const continue default do double else enum extern false float for goto if
            inline int long NULL register return short signed sizeof static struct switch true typedef union
            unsigned void volatile while alignas alignof and bitand bitor catch class co_await co_return co_yield
            compl concept const_cast consteval constexpr constinit decltype delete dynamic_cast explicit export
            final friend mutable namespace new noexcept not nullptr operator or override private protected public
            reinterpret_cast requires static_assert static_cast template this thread_local throw try typeid typename
            using virtual wchar_t xor
        """,
        "python": """
            False None True and as assert async await break class continue def del elif else except finally for from
            global if import in is lambda match nonlocal not or pass raise return try while with yield
        """,
        "erlang": """
            after and andalso band begin bnot bor bsl bsr bxor case catch cond div else end fun if let maybe not of
            or orelse receive rem try when xor
        """,
        "gleam": """
            as assert auto case const delegate derive echo else fn if implement import let macro opaque panic pub
            test todo type use
        """,
        "rust": """
            as async await break const continue crate dyn else enum extern false fn for if impl in let loop match
            mod move mut pub ref return self Self static struct super trait true type union unsafe use where while
        """,
        "go": """
            break case chan const continue default defer else fallthrough for func go goto if import interface map
            package range return select struct switch type var nil true false
        """,
        "java": """
            abstract assert boolean break byte case catch char class const continue default do double else enum
            extends final finally float for if implements import instanceof int interface long native new package
            private protected public record return short static super switch synchronized this throw throws
            transient try void volatile while yield var null true false
        """,
        "kotlin": """
            as break by catch class companion const constructor continue data do else enum false final finally for
            fun if import in init inline interface internal is it lateinit null object open operator override
            package private protected public return sealed super suspend this throw true try typealias val var
            vararg when where while
        """,
        "csharp": """
            abstract as async await base bool break byte case catch char checked class const continue decimal
            default delegate do double else enum event explicit extern false finally fixed float for foreach goto if
            implicit in int interface internal is lock long namespace new null object operator out override params
            private protected public readonly record ref return sealed short sizeof static string struct switch this
            throw true try typeof uint ulong unchecked unsafe using var virtual void volatile when where while yield
        """,
        "javascript": """
            async await break case catch class const continue debugger default delete do else export extends false
            finally for from function get if import in instanceof let new null of return set static super switch
            this throw true try typeof undefined var void while with yield
        """,
        "typescript": """
            abstract any as async await boolean break case catch class const continue declare default delete do else
            enum export extends false finally for from function get if implements import in infer instanceof
            interface is keyof let namespace never new null number object of private protected public readonly
            return satisfies set static string super switch this throw true try type typeof undefined unknown var
            void while yield
        """,
        "ruby": """
            alias and begin break case class def defined? do else elsif end ensure false for if in module next nil
            not or redo rescue retry return self super then true undef unless until when while yield
        """,
        "php": """
            abstract and array as break callable case catch class clone const continue declare default do echo else
            elseif empty enum extends final finally fn for foreach function global goto if implements include
            instanceof insteadof interface isset list match namespace new null or print private protected public
            readonly require require_once return static switch throw trait true false try unset use var while xor
            yield
        """,
        "swift": """
            actor as associatedtype async await break case catch class continue default defer deinit do else enum
            extension fallthrough false fileprivate final for func guard if import in init inout internal is lazy
            let mutating nil open operator override private protocol public repeat required rethrows return self
            Self some static struct subscript super switch throw throws true try typealias var weak where while
        """,
        "scala": """
            abstract case catch class def do else enum export extends false final finally for forSome given if
            implicit import lazy match new null object override package private protected return sealed super then
            this throw trait true try type using val var while with yield
        """,
        "lua": """
            and break do else elseif end false for function goto if in local nil not or repeat return then true
            until while
        """,
        "zig": """
            align allowzero and anyframe asm async await break catch comptime const continue defer else enum
            errdefer error export extern false fn for if inline noalias null opaque or orelse packed pub resume
            return struct suspend switch test threadlocal true try undefined union unreachable usingnamespace var
            volatile while
        """,
        "haskell": """
            case class data default deriving do else family forall foreign if import in infix infixl infixr instance
            let module newtype of qualified then type where
        """,
        "ocaml": """
            and as assert begin class constraint do done downto else end exception external false for fun function
            functor if in include inherit initializer lazy let match method module mutable new nonrec object of open
            private rec sig struct then to true try type val virtual when while with
        """,
        "julia": """
            abstract baremodule begin break catch const continue do else elseif end export false finally for
            function global if import in isa let local macro module mutable nothing primitive quote return struct
            true try type using where while
        """,
        "r": "break else FALSE for function if in Inf NA NaN next NULL repeat return TRUE while",
        "shell": """
            case do done elif else esac exit export fi for function if in local readonly return select set shift
            source then time trap unset until while
        """,
        "sql": """
            add all alter and any as asc begin between by case cast check column commit constraint create cross
            database default delete desc distinct drop else end exists explain false for foreign from full function
            grant group having if in index inner insert into is join key left like limit not null offset on or order
            outer over partition primary procedure references replace returning returns revoke right rollback select
            set table then to trigger true truncate union unique update using values view when where window with ADD
            ALL ALTER AND ANY AS ASC BEGIN BETWEEN BY CASE CAST CHECK COLUMN COMMIT CONSTRAINT CREATE CROSS DATABASE
            DEFAULT DELETE DESC DISTINCT DROP ELSE END EXISTS EXPLAIN FALSE FOR FOREIGN FROM FULL FUNCTION GRANT
            GROUP HAVING IF IN INDEX INNER INSERT INTO IS JOIN KEY LEFT LIKE LIMIT NOT NULL OFFSET ON OR ORDER OUTER
            OVER PARTITION PRIMARY PROCEDURE REFERENCES REPLACE RETURNING RETURNS REVOKE RIGHT ROLLBACK SELECT SET
            TABLE THEN TO TRIGGER TRUE TRUNCATE UNION UNIQUE UPDATE USING VALUES VIEW WHEN WHERE WINDOW WITH
        """,
        "protobuf": """
            bool bytes double enum extend extensions false fixed32 fixed64 float group import int32 int64 map max
            message oneof option optional package public repeated required reserved returns rpc service sfixed32
            sfixed64 sint32 sint64 stream string syntax to true uint32 uint64
        """,
        "terraform": """
            data dynamic each false for for_each if in local locals module null output provider resource self
            terraform true variable
        """,
        "yaml": "true false null yes no on off",
        "tsx": """
            abstract any as async await boolean break case catch class const continue declare default delete do else
            enum export extends false finally for from function get if implements import in infer instanceof
            interface is keyof let namespace never new null number object of private protected public readonly
            return satisfies set static string super switch this throw true try type typeof undefined unknown var
            void while yield
        """,
    }
)
