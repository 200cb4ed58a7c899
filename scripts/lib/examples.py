"""Runs the commands of docs/examples.md in a folder and puts what they print in the place of what stands there.

A command stands in a fenced block after `$ `, alone or with a here-document; everything up to
the next command or the end of the block is its answer. The rest of the page is left as it is.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PAGE = Path("docs/examples.md")
FENCE = "```"
HERE_DOCUMENT = re.compile(r"<<'(\w+)'")


def main(folder: Path) -> int:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "200",
    }
    subprocess.run(["codekin", "index", folder], check=True, env=environment)
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    PAGE.write_text("\n".join(answered(lines, folder, environment)) + "\n", encoding="utf-8")
    return 0


def answered(lines: list[str], folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """The page's lines with fresh answers."""
    place, inside, answering = 0, False, False
    while place < len(lines):
        line = lines[place]
        if line.startswith(FENCE):
            inside, answering = not inside, False
        if inside and line.startswith("$ "):
            end = place + length_of_command(lines[place:])
            yield from lines[place:end]
            yield from answer("\n".join(lines[place:end])[2:], folder, environment)
            place, answering = end, True
            continue
        if not answering:
            yield line
        place += 1


def length_of_command(lines: list[str]) -> int:
    """How many lines a command takes, its here-document included."""
    found = HERE_DOCUMENT.search(lines[0])
    return lines.index(found[1], 1) + 1 if found else 1


def answer(command: str, folder: Path, environment: dict[str, str]) -> list[str]:
    """What a command prints on both of its outputs."""
    print(command.splitlines()[0], file=sys.stderr)
    done = subprocess.run(
        ["bash", "-c", command], check=False, capture_output=True, text=True, cwd=folder, env=environment
    )
    return [line.rstrip() for line in (done.stdout + done.stderr).rstrip("\n").splitlines()]


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
