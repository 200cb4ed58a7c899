"""Draws completion cases from a checkout: rows `{id, language, path, kind, prefix, suffix, truth}` as JSON lines.

`truth` is the rest of the cursor's line. The cursor stands after the indentation ("line") or further in ("middle":
mostly before a token, sometimes inside a word). Lines of comments, documentation and generated files are left out.

    scripts/build_completion_cases.py CHECKOUT --out cases.jsonl --per-kind 100 --seed 7
"""

import argparse
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

LANGUAGES = {
    ".ex": "elixir", ".exs": "elixir", ".cc": "cpp", ".cpp": "cpp", ".cxx": "cpp", ".h": "cpp", ".hpp": "cpp",
}  # fmt: skip
LARGEST_FILE = 200_000
SHORTEST_LINE = 12
SHORTEST_TRUTH = 6
_SKIPPED_FOLDERS = {"third_party", "deps", "node_modules", "vendor", "_build", "single_include"}
_COMMENT = {"elixir": re.compile(r"\s*#"), "cpp": re.compile(r"\s*(//|/\*|\*)")}
_TOKEN = re.compile(r"\w+[?!]?|[^\w\s]+")


def main() -> None:
    arguments = _arguments()
    generator = random.Random(arguments.seed)
    candidates = list(_sites(arguments.checkout))
    generator.shuffle(candidates)
    wanted = {f"{language}/{kind}": arguments.per_kind for language in ("elixir", "cpp") for kind in ("line", "middle")}
    with arguments.out.open("w", encoding="utf-8") as out:
        for path, language, text, line_start in candidates:
            kind = generator.choice(("line", "middle"))
            column = _column(_line(text, line_start), kind, generator)
            if column is None or not wanted[f"{language}/{kind}"]:
                continue
            wanted[f"{language}/{kind}"] -= 1
            out.write(json.dumps(_row(path, language, kind, text, line_start + column)) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-kind", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def _sites(checkout: Path) -> Iterator[tuple[str, str, str, int]]:
    """Path, language, text and line start of every line that may become a case."""
    for path in sorted(checkout.rglob("*")):
        relative = path.relative_to(checkout)
        language = LANGUAGES.get(path.suffix)
        if language is None or not path.is_file() or _SKIPPED_FOLDERS & set(relative.parts):
            continue
        text = path.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n")
        if len(text) <= LARGEST_FILE:
            for start in _code_lines(text, language):
                yield relative.as_posix(), language, text, start


def _code_lines(text: str, language: str) -> Iterator[int]:
    start, documentation = 0, False
    for line in text.split("\n"):
        quotes = line.count('"""') if language == "elixir" else line.count("/*") - line.count("*/")
        inside, documentation = documentation, documentation ^ bool(quotes % 2)
        if (
            not inside
            and not documentation
            and len(line.strip()) >= SHORTEST_LINE
            and not _COMMENT[language].match(line)
        ):
            yield start
        start += len(line) + 1


def _line(text: str, start: int) -> str:
    end = text.find("\n", start)
    return text[start : len(text) if end < 0 else end]


def _column(line: str, kind: str, generator: random.Random) -> int | None:
    indentation = len(line) - len(line.lstrip())
    if kind == "line":
        return indentation
    tokens = [match for match in _TOKEN.finditer(line) if match.start() > indentation]
    if generator.random() < 0.15:
        columns = [match.start() + 2 for match in tokens if match.group()[0].isalpha() and len(match.group()) > 3]
    else:
        columns = [match.start() for match in tokens]
    columns = [column for column in columns if len(line[column:].strip()) >= SHORTEST_TRUTH]
    return generator.choice(columns) if columns else None


def _row(path: str, language: str, kind: str, text: str, offset: int) -> dict[str, str]:
    end = text.find("\n", offset)
    end = len(text) if end < 0 else end
    return {
        "id": f"{path}:{text.count(chr(10), 0, offset) + 1}:{kind}",
        "language": language,
        "path": path,
        "kind": kind,
        "prefix": text[:offset],
        "suffix": text[end:],
        "truth": text[offset:end],
    }


if __name__ == "__main__":
    main()
