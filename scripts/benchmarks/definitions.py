"""The definitions that Codekin finds in a checkout beside those that another tool lists.

    python scripts/benchmarks/definitions.py DIR [--language NAME] [--most N] [--show N] [--json]

universal-ctags lists functions and types of most languages; HEEx, Gleam, Livebook, Protobuf rpc and Terraform, which it
does not know, are listed by patterns of one line each, as are Markdown's headings. A component that a template uses
counts where it is a call of its chunk. A definition counts as found when a
chunk of its name covers its line, or when it is too small for a chunk of its own and is shown by one around it. ctags
is no judge: it errs too.
"""

import argparse
import json
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import Figure, show

from codekin.parsing import cut_chunks, detect_language
from codekin.types import Chunk

LARGEST = 1_000_000
LEAST_LINES = 3
_UNNAMED = ("__anon", "AnonymousFunction", "anonFunc", "<lambda>", "()")
CTAGS_LANGUAGES = {
    "elixir": ("Elixir", "pmfgait"),
    "erlang": ("Erlang", "fmr"),
    "cpp": ("C++", "fcsn"),
    "rust": ("Rust", "fsginP"),
    "go": ("Go", "fsi"),
    "java": ("Java", "cgim"),
    "kotlin": ("Kotlin", "cimo"),
    "csharp": ("C#", "cgims"),
    "javascript": ("JavaScript", "cfmg"),
    "typescript": ("TypeScript", "cfgim"),
    "ruby": ("Ruby", "cfmS"),
    "php": ("PHP", "cfit"),
    "lua": ("Lua", "f"),
    "haskell": ("Haskell", "f"),
    "ocaml": ("OCaml", "mMf"),
    "julia": ("Julia", "fmsn"),
    "r": ("R", "f"),
    "shell": ("Sh", "f"),
    "sql": ("SQL", "tVfp"),
    "protobuf": ("Protobuf", "mgsr"),
}
PATTERNS = {
    "heex": r"^[ \t]*<(\.[a-z_]\w*|[A-Z][\w.]*|:[a-z_]\w*)(?=[\s>])",
    "gleam": r"^[ \t]*(?:pub )?(?:fn|(?:opaque )?type) (\w+)",
    "markdown": r"^#{1,6}[ \t]+(\S.*?)[ \t#]*$",
    "livebook": r"^#{1,6}[ \t]+(\S.*?)[ \t#]*$",
    "terraform": r'^(?:resource|data|variable|module|output|provider) (?:"[^"]*" )?"([^"]*)"',
    "swift": r"^[ \t]*(?:@\w+ )*(?:(?:public|private|internal|fileprivate|open|static|final|override|mutating|class)"
    r"[ \t]+)*(?:func|struct|enum|protocol|extension|actor|class)[ \t]+(\w+)[^{};]*\{[ \t]*$",
    "scala": r"^[ \t]*(?:(?:private|protected|override|final|implicit|case|sealed|abstract|inline)(?:\[\w+\])?[ \t]+)*"
    r"(?:def|class|object|trait)[ \t]+(\w+)[^=]*[={][ \t]*$",
    "zig": r"^[ \t]*(?:pub |export |inline )*fn (\w+)\(.*\{$",
    "tsx": r"^(?:export )?(?:default )?(?:async )?function (\w+)",
}


@dataclass(frozen=True)
class Listed:
    """A definition as the other tool sees it."""

    path: str
    line: int
    name: str
    kind: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--language", default="", help="only this one")
    parser.add_argument("--most", type=int, default=1_000_000, help="at most so many files of each language")
    parser.add_argument("--show", type=int, default=0, help="so many of those that are missed, of each language")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if shutil.which("ctags") is None:
        parser.error("there is no ctags: install universal-ctags")
    texts = _texts(options.folder, options.language, options.most)
    figures, missed = [], defaultdict(list)
    for language in sorted(texts):
        listed = list(_listed(language, options.folder, texts[language]))
        cut = {path: cut_chunks(path, text, language)[0] for path, text in texts[language].items()}
        lines = {path: text.splitlines() for path, text in texts[language].items()}
        missed[language] = [one for one in listed if not _is_found(one, cut[one.path], lines[one.path])]
        if listed:
            share = 1 - len(missed[language]) / len(listed)
            figures += [Figure(f"{language}: {len(listed)} definitions in {len(cut)} files, share found", share)]
    show(figures, as_json=options.json)
    for language, some in missed.items():
        print(*(f"  {language} {one.path}:{one.line} {one.kind} {one.name}" for one in some[: options.show]), sep="\n")


def _texts(folder: Path, wanted: str, most: int) -> dict[str, dict[str, str]]:
    """The texts of the tracked files by language and path; of all files where git tracks none."""
    listed = subprocess.run(["git", "-C", folder, "ls-files", "-z"], check=False, capture_output=True, text=True).stdout
    listed = listed or "\0".join(sorted(str(path.relative_to(folder)) for path in folder.rglob("*")))
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name in listed.split("\0"):
        path = folder / name
        if not name or path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST:
            continue
        text = path.read_text("utf-8", "replace") if detect_language(name, "") else ""
        language = detect_language(name, text) if text else None
        if language and wanted in {"", language} and len(found[language]) < most:
            found[language][name] = text
    return found


def _listed(language: str, folder: Path, texts: dict[str, str]) -> Iterator[Listed]:
    if language in CTAGS_LANGUAGES:
        yield from _tagged(language, folder, texts)
    elif language in PATTERNS:
        for path, text in texts.items():
            yield from _matched(language, path, text)


def _matched(language: str, path: str, text: str) -> Iterator[Listed]:
    blank = lambda match: re.sub(r"[^\n]", " ", match[0])  # noqa: E731 - blanks keep the lines
    if language in {"markdown", "livebook"}:
        text = re.sub(r"(?ms)^[ ]*(`{3,}|~{3,}).*?(?:^[ ]*\1[`~]*[ ]*$|\Z)|<!--.*?-->|\A---\n.*?\n---$", blank, text)
    if language == "heex":
        text = re.sub(r"(?s)<!--.*?-->|<%.*?%>|<(?:script|style|pre|code).*?</(?:script|style|pre|code)>", blank, text)
    for match in re.finditer(PATTERNS[language], text, re.MULTILINE):
        yield Listed(path, text.count("\n", 0, match.start(1)) + 1, match[1])


def _tagged(language: str, folder: Path, texts: dict[str, str]) -> Iterator[Listed]:
    name, kinds = CTAGS_LANGUAGES[language]
    command = ["ctags", "--output-format=json", "--fields=+neK", f"--language-force={name}", f"--kinds-{name}={kinds}"]
    done = subprocess.run(
        [*command, "-L", "-", "-f", "-"], input="\n".join(texts), check=True, capture_output=True, text=True, cwd=folder
    )
    for line in done.stdout.splitlines():
        tag: dict[str, Any] = json.loads(line)
        is_parameter = language == "kotlin" and tag["kind"] == "method" and "fun " not in tag.get("pattern", "")
        if tag["name"].startswith(_UNNAMED) or is_parameter:
            continue
        yield Listed(tag["path"], tag["line"], tag["name"], tag.get("kind", ""))


def _is_found(one: Listed, chunks: Sequence[Chunk], lines: Sequence[str]) -> bool:
    """Whether a chunk of this name covers the line; a small definition may be shown by another chunk."""
    covering = [chunk for chunk in chunks if chunk.start_line - 1 <= one.line <= chunk.end_line]
    wanted = _last_word(one.name)
    if any(wanted in _words(chunk.name) for chunk in covering):
        return True
    if any(chunk.language == "heex" and one.name.lstrip(".") in chunk.shape.calls for chunk in covering):
        return True
    text = lines[one.line - 1].strip() if one.line <= len(lines) else ""
    is_shown = [chunk for chunk in covering if text and text in chunk.text]
    innermost = min(covering, key=lambda chunk: chunk.end_line - chunk.start_line, default=None)
    return bool(is_shown) and innermost in is_shown and _is_small(one, lines)


def _is_small(one: Listed, lines: Sequence[str]) -> bool:
    """Whether a definition ends within a few lines: the next line of its indentation, or less, is near."""
    indentation = len(lines[one.line - 1]) - len(lines[one.line - 1].lstrip())
    for count, line in enumerate(lines[one.line :]):
        if line.strip() and len(line) - len(line.lstrip()) <= indentation:
            return count < LEAST_LINES
    return len(lines) - one.line < LEAST_LINES


def _words(name: str) -> Counter[str]:
    return Counter([*re.split(r"::|[.:#/ >]+", name), name, name.rpartition(" > ")[2], name.rpartition(":")[2]])


def _last_word(name: str) -> str:
    name = re.sub(r"[`*]", "", name).strip().removeprefix(":") if " " in name else name.lstrip(".:")
    name = re.sub(r"/\d+$", "", name).strip("'\"")
    return name if " " in name else re.split(r"::|[.:#]", name)[-1] or name


if __name__ == "__main__":
    main()
