"""Reads a search as people type it: words and filters; turns filters into masks over the rows of a snapshot.

`lang:elixir path:lib/ kind:function retry -test` looks for "retry" in functions below lib, outside tests. Filters are
`lang:`, `kind:` and `path:`; a minus before a filter or a word leaves out what has it. Code is left as it is.

Path patterns are globs on the whole relative path: `*` stops at a slash, `**` does not, a pattern without a slash
matches at any depth, as in .gitignore, and a folder matches everything in it.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from codekin.errors import UsageError
from codekin.storage.snapshot import IndexSnapshot
from codekin.storage.terms import split_subtokens
from codekin.types import CHUNK_KINDS, LANGUAGE_NAMES, Filters

_FILTER = re.compile(r"(?<!\S)(-?)(language|lang|kind|path|file):(\"[^\"]*\"|\S+)")
_EXCLUDED_WORD = re.compile(r"(?<!\S)-([^\W\d]\w+)(?!\S)")
_PLAIN_WORD = re.compile(r"[\"'(]?[A-Za-z][a-z]*(?:[-'][a-z]+)*[\"').,?!:]*|[A-Z]+s?[,.?!]?")
_STATEMENT = re.compile(r"[;{}=|]|->|\bdo$", re.MULTILINE)
_MIN_SENTENCE, _PLAIN_SHARE = 4, 0.7
_LANGUAGE_ALIASES = {
    "ex": "elixir",
    "exs": "elixir",
    "c++": "cpp",
    "cxx": "cpp",
    "cc": "cpp",
    "py": "python",
    "erl": "erlang",
    "eex": "heex",
    "leex": "heex",
    "surface": "heex",
    "md": "markdown",
    "livemd": "livebook",
    "rs": "rust",
    "golang": "go",
    "kt": "kotlin",
    "c#": "csharp",
    "cs": "csharp",
    "js": "javascript",
    "ts": "typescript",
    "rb": "ruby",
    "hs": "haskell",
    "ml": "ocaml",
    "jl": "julia",
    "sh": "shell",
    "bash": "shell",
    "proto": "protobuf",
    "tf": "terraform",
    "hcl": "terraform",
    "yml": "yaml",
    "cuda": "cpp",
    "objcpp": "cpp",
}
_CODE_PATTERN = re.compile(r"\w\(|[{};]|\|>|->|=>|::|[=!<>]=|\w\[|\w\s?=\s?\S|\bdo$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """The words of a search and the filters typed among them."""

    words: str
    filters: Filters


def looks_like_code(text: str) -> bool:
    """Whether a text looks like code rather than words; a sentence that names an identifier is words."""
    return bool(_CODE_PATTERN.search(text)) and not _is_sentence(text)


def _is_sentence(text: str) -> bool:
    """Whether a line is plain words for the most part, without the signs of statements."""
    words = text.split()
    plain = sum(bool(_PLAIN_WORD.fullmatch(word)) for word in words)
    return len(words) >= _MIN_SENTENCE and plain >= _PLAIN_SHARE * len(words) and not _STATEMENT.search(text)


def parse_query(text: str, filters: Filters) -> SearchQuery:
    """The words without the filters among them, which are added to `filters`.

    Raises UsageError for a language or kind that does not exist.
    """
    if "\n" in text.strip():
        return SearchQuery(text, filters)
    found: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for minus, name, value in _FILTER.findall(text):
        key = {"lang": "language", "file": "path"}.get(name, name)
        found[key, bool(minus)].append(_checked_value(key, value.strip('"')))
    words = _FILTER.sub(" ", text)
    if not looks_like_code(words):
        found["word", True] = _EXCLUDED_WORD.findall(words)
        words = _EXCLUDED_WORD.sub(" ", words)
    return SearchQuery(" ".join(words.split()) if found else text, _with_filters(filters, found))


def _checked_value(key: str, value: str) -> str:
    """A filter's value in its usual spelling."""
    known = {"language": LANGUAGE_NAMES, "kind": CHUNK_KINDS}.get(key)
    if known is None:
        return value
    value = _LANGUAGE_ALIASES.get(value.lower(), value.lower()) if key == "language" else value.lower()
    if value not in known:
        raise UsageError(f"There is no {key} {value!r}; there are {', '.join(known)}.")
    return value


def _with_filters(filters: Filters, found: Mapping[tuple[str, bool], list[str]]) -> Filters:
    def values(name: str, *, excluded: bool) -> tuple[str, ...]:
        return tuple(found.get((name, excluded), ()))

    return replace(
        filters,
        languages=filters.languages + values("language", excluded=False),
        kinds=filters.kinds + values("kind", excluded=False),
        paths=filters.paths + values("path", excluded=False),
        excluded_languages=filters.excluded_languages + values("language", excluded=True),
        excluded_kinds=filters.excluded_kinds + values("kind", excluded=True),
        excluded_paths=filters.excluded_paths + values("path", excluded=True),
        excluded_words=filters.excluded_words + values("word", excluded=True),
    )


_GLOB_PARTS = re.compile(r"\*\*/|\*\*|\*|\?|\[!?[^\]/]+\]|[^*?\[]+|\[")
_MAX_RECURSIVE_STARS = 3


def build_mask(snapshot: IndexSnapshot, filters: Filters) -> NDArray[np.bool_]:
    """The rows that the filters let through (`min_score` aside)."""
    columns = snapshot.columns
    allowed = np.ones(len(snapshot), bool)
    for wanted, unwanted, column, names in (
        (filters.languages, filters.excluded_languages, columns.language, snapshot.languages),
        (filters.kinds, filters.excluded_kinds, columns.kind, snapshot.kinds),
    ):
        if wanted:
            allowed &= np.isin(column, [number for word, number in names.numbers.items() if word in wanted])
        if unwanted:
            allowed &= ~np.isin(column, [number for word, number in names.numbers.items() if word in unwanted])
    if filters.paths:
        allowed &= np.isin(columns.file, _files_matching(snapshot, filters.paths))
    if filters.excluded_paths:
        allowed &= ~np.isin(columns.file, _files_matching(snapshot, filters.excluded_paths))
    if filters.excluded_words:
        allowed &= ~_has_word(snapshot, filters.excluded_words)
    return allowed


def _files_matching(snapshot: IndexSnapshot, globs: Sequence[str]) -> list[int]:
    patterns = [compile_glob(glob) for glob in globs]
    return [key for key, path in snapshot.paths.items() if any(one.match(path) for one in patterns)]


def _has_word(snapshot: IndexSnapshot, words: Sequence[str]) -> NDArray[np.bool_]:
    """The rows whose path, name or kind has one of the words, in the singular or plural."""
    forms = {form for word in words for form in (word.lower(), word.lower() + "s", word.lower().removesuffix("s"))}
    columns = snapshot.columns
    files = [key for key, path in snapshot.paths.items() if forms & set(split_subtokens(path))]
    kinds = [number for kind, number in snapshot.kinds.numbers.items() if kind in forms]
    numbers = np.unique(columns.name).tolist()
    names = [number for number in numbers if forms & set(split_subtokens(snapshot.names.name(number)))]
    return np.isin(columns.file, files) | np.isin(columns.kind, kinds) | np.isin(columns.name, names)


@lru_cache(maxsize=256)
def compile_glob(glob: str) -> re.Pattern[str]:
    """A glob as a regular expression; raises UsageError when matching it could take long.

    A star takes as little as it can and never tries again (an atomic group), so that only
    `**` backtracks, over the few folders of a path.
    """
    body = re.sub(r"(?:\*\*/)+", "**/", re.sub(r"\*{3,}", "**", glob.removeprefix("./").strip("/")))
    if body.count("**") > _MAX_RECURSIVE_STARS:
        raise UsageError(f"the path pattern {glob!r} has more than {_MAX_RECURSIVE_STARS} `**`: leave some out")
    anchored = "/" in body or glob.startswith("/")
    return re.compile(("" if anchored else "(?:.*/)?") + _glob_to_regex(body) + r"(?:/.*)?\Z", re.DOTALL)


def _glob_to_regex(body: str) -> str:
    """The glob without its anchors; each star is bound to the fixed text that follows it."""
    done, star = "", ""
    for part in _GLOB_PARTS.findall(body):
        if part == "*" or part.startswith("**"):
            done, star = done + star + (")" if star else ""), ""
            if part == "*":
                star = "(?>[^/]*?"
            else:
                done += "(?:.*/)?" if part == "**/" else ".*"
        elif star:
            star += _literal_to_regex(part)
        else:
            done += _literal_to_regex(part)
    if star == "(?>[^/]*?":
        return done + "[^/]*"
    # The last star must reach the end of its name, so it may not stop at the first fit.
    return done + star.replace("(?>[^/]*?", "[^/]*", 1)


def _literal_to_regex(part: str) -> str:
    """A piece of a glob without stars."""
    if part == "?":
        return "[^/]"
    if part.startswith("[") and part.endswith("]"):
        inner = part[1:-1].replace("\\", r"\\").replace("[", r"\[")
        return "[" + ("^" + inner[1:] if inner.startswith("!") else inner.replace("^", r"\^")) + "]"
    return re.escape(part)


_VERBS = frozenset(
    """
    add allow append apply ask assign attach avoid bind block bring build bypass calculate call cancel cap capitalize
    cast catch change check choose clean clear close collapse collect combine compare compile compute connect convert
    copy count create cut decide decode decrypt delete deliver deny detect determine disable discard dispatch display
    download draw drop dump emit enable encode encrypt enforce ensure escape evaluate evict execute expand expire export
    extend extract fail fall fetch fill filter find finish fix flush force forget format forward free generate get give
    go group guard guess handle hash hide ignore import increase insert inspect install invoke join keep kill leave let
    limit list load lock log look lower make map mark mask match measure merge migrate move normalize notify open pack
    parse pass pause perform persist pick place poll prepare prevent print process produce prune publish pull purge push
    put query queue raise randomize read rebuild receive recompile reconcile record recover redirect reduce refresh
    refuse register reject release reload remove rename render replace report request require reset resize resolve
    restart restore restrict resume retry return reuse reverse rewrite roll rotate round run sanitize save scan schedule
    search select send separate serialize set shift show shrink shut sign skip sleep slice sort split spawn start stop
    store strip subscribe sum suppress swap switch sync take tell terminate test throw tokenize tolerate track trade
    transform translate trigger trim truncate try turn undo unlock unpack unsubscribe update upgrade upload use validate
    verify visit wait walk warn watch work wrap write
    """.split()  # noqa: SIM905 - as for the other words
)
_ASKING = frozenset(
    """
    why which does do did where is are was were can could should would what when who whose has have had a an the all
    another don't at if
    """.split()  # noqa: SIM905
)
_IN_CLAUSES = frozenset("that when which who too same many it they so never".split())  # noqa: SIM905
_AFTER_HOW = frozenset("do does is are can to long many much often was".split())  # noqa: SIM905


def asks_about_topic(question: str) -> bool:
    """Whether a question names a topic ("cookie parsing and attributes"): it asks for what is about it.

    Such a question starts with a noun, or with "how" and its subject. A question that says what is done starts with a
    verb, asks whether or where, or has a clause. What cannot be told apart ("filter expressions") counts as said by
    the verb.
    """
    words = question.lower().replace("?", " ").split()
    if not words or _IN_CLAUSES & set(words):
        return False
    if words[0] == "how":
        return words[1:2] != [] and words[1] not in _AFTER_HOW
    return words[0] not in _VERBS | _ASKING
