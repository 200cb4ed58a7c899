"""Reads the training sources: which repositories, under which licence, and the files in them.

Repositories are bare clones in one folder, named `owner+name` (`git clone --bare`); nothing of
them is run. A repository whose licence file does not say what sources.toml says is left out.
"""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).with_name("sources.toml")
LANGUAGE_OF = {
    ".ex": "elixir", ".exs": "elixir", ".erl": "erlang", ".cpp": "cpp", ".cc": "cpp", ".hpp": "cpp", ".h": "cpp",
    ".c": "c", ".py": "python", ".go": "go", ".rs": "rust", ".js": "javascript",
}  # fmt: skip
SIGNS = {
    "MIT": r"MIT License|Permission is hereby granted, free of charge|LICENSES/MIT",
    "Apache-2.0": r"Apache License|Apache-2\.0",
    "ISC": r"Permission to use, copy, modify",
    "BSD-2-Clause": r"Redistribution and use in source and binary forms",
    "BSD-3-Clause": r"Redistribution and use in source and binary forms",
    "BSL-1.0": r"Boost Software License",
}
FORBIDDEN = re.compile(r"rosetta|exercism|humaneval|mbpp|thealgorithms|poj", re.IGNORECASE)
NEVER = frozenset(
    """
    oban oban_web credo livebook plausible analytics teslamate hexpm changelog.com taskwarrior flameshot plug leveldb
    fmt re2 spdlog libuv
    """.split()  # noqa: SIM905 - a table of words reads best as words
)
"""Repositories that measure Codekin: neither trained on nor part of a development set."""
LARGEST = 200_000


@dataclass(frozen=True, slots=True)
class Source:
    """One repository. `path` is set where each matching file solves a task of `puzzle`."""

    repository: str
    licence: str
    held_out: bool = False
    puzzle: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A text with its language and, for a task's solution, the task's name."""

    path: str
    language: str
    text: str
    task: str = ""


def load_sources(table: Path = SOURCES) -> list[Source]:
    """Every repository of sources.toml."""
    rows = tomllib.loads(table.read_text(encoding="utf-8"))
    return [Source(**row) for kind in ("tasks", "functions") for row in rows[kind]]


def files(source: Source, clones: Path) -> Iterator[SourceFile]:
    """The source's code files; none where the clone is missing or its licence is another."""
    folder = clone_of(source, clones)
    if folder is None:
        print(f"left out: {source.repository} (measures Codekin, no clone, or no {source.licence} licence found)")
        return
    wanted = [
        (path, LANGUAGE_OF[Path(path).suffix])
        for path in git(folder, "ls-tree", "-r", "-z", "--name-only", "HEAD").split("\0")
        if Path(path).suffix in LANGUAGE_OF and not FORBIDDEN.search(path)
    ]
    matches = [(path, language, task) for path, language in wanted if (task := task_of(source, path)) is not None]
    texts = read_all(folder, [f"HEAD:{path}" for path, _, _ in matches])
    for (path, language, task), text in zip(matches, texts, strict=True):
        if text and len(text) <= LARGEST:
            yield SourceFile(path, language, text, task)


def clone_of(source: Source, clones: Path) -> Path | None:
    """The git folder of a source that may be read, None of one that may not or is absent."""
    folder = clones / source.repository.replace("/", "+") / "repo"
    folder = folder / ".git" if (folder / ".git").exists() else folder
    if source.repository.split("/")[1] in NEVER or not folder.exists() or not _licensed(folder, source.licence):
        return None
    return folder


def task_of(source: Source, path: str) -> str | None:
    """The task that the file solves, "" in a repository without tasks, None where the file is none."""
    if not source.path:
        return ""
    found = re.match(source.path, path)
    if not found:
        return None
    parts = found.groupdict()
    if source.puzzle == "advent":
        year = parts["year"] or source.repository[-4:]
        return f"advent-{year}-{int(parts['day'])}"
    return f"{source.puzzle}-{slug(parts['title'])}"


def slug(title: str) -> str:
    """A title's words in lower case, joined by dashes: `Two Sum`, `two_sum` → two-sum."""
    return "-".join(word.lstrip("0") or "0" for word in re.findall(r"[a-z0-9]+", title.lower().replace("'", "")))


def _licensed(folder: Path, licence: str) -> bool:
    names = git(folder, "ls-tree", "-r", "--name-only", "HEAD").split("\n")
    files_ = [
        n
        for n in names
        if n.count("/") <= 1 and re.match(r"(.*/)?(licen[cs]e|copying|readme|notice|legal)", n, re.IGNORECASE)
    ]
    said = "\n".join(read_all(folder, [f"HEAD:{name}" for name in files_[:12]])) + "\n".join(
        n for n in names if n.startswith("LICENSES/")
    )
    return bool(re.search(SIGNS[licence], said, re.IGNORECASE))


def read_all(folder: Path, objects: list[str]) -> list[str]:
    """The texts of blobs (`COMMIT:PATH`), in order; "" where one is no UTF-8 or absent."""
    asked = "".join(f"{name}\n" for name in objects).encode()
    out = subprocess.run(
        ["git", f"--git-dir={folder}", "cat-file", "--batch"], input=asked, capture_output=True, check=True
    ).stdout
    texts, at = [], 0
    for _ in objects:
        end = out.index(b"\n", at)
        header = out[at:end].rsplit(b" ", 2)
        if header[-1] == b"missing" or header[1] != b"blob":
            texts.append("")
            at = end + 1
            continue
        size = int(header[2])
        texts.append(_decoded(out[end + 1 : end + 1 + size]))
        at = end + 1 + size + 1
    return texts


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return ""


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints in a bare clone."""
    return subprocess.run(["git", f"--git-dir={folder}", *arguments], capture_output=True, check=True, text=True).stdout
