"""`codekin finetune --show`: the user's own questions, answered by the model as it came and by the one that serves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codekin.cli.output import print_json, print_line, print_rows
from codekin.cli.progress import wait_until_ready
from codekin.daemon.client import DaemonClient
from codekin.errors import UsageError

MAX_FILE_BYTES = 100_000
SHOWN = 3
"""Answers of each model that are shown side by side."""


def show_comparison(data: Path, root: Path, questions: Path | None, *, json: bool) -> int:
    """Prints which answers moved; the questions of a file are remembered for the next time. Raises UsageError."""
    request = {"root": str(root), "questions": read_questions(questions) if questions else []}
    with DaemonClient.connect(data) as client:
        wait_until_ready(client, root)
        response = client.post("/finetune/compare", request, timeout=600)
    if json:
        print_json(response)
        return 0
    for row in response["rows"]:
        cells = comparison_rows(row["before"], row["after"])
        print_rows((row["question"], "before", "after"), cells, always_headed=True)
    moved = sum(_hit_lines(row["before"]) != _hit_lines(row["after"]) for row in response["rows"])
    print_line(f"{moved} of {len(response['rows'])} questions have other answers by {response['active']}.")
    return 0


def read_questions(path: Path) -> list[str]:
    """The lines of a file that hold words. Raises UsageError where it cannot be read or holds none."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): give a file with a question a line.") from error
    if len(text) > MAX_FILE_BYTES:
        raise UsageError(f"{path} has more than {MAX_FILE_BYTES} bytes: give a question a line.")
    found = [line.strip() for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    if not found:
        raise UsageError(f"{path} holds no question: write one a line.")
    return found


def comparison_rows(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str, str]]:
    """Rank, answer before, and answer after with the rank that it had."""
    ranks = {place: rank for rank, place in enumerate(_hit_lines(before), 1)}
    rows = []
    for at in range(min(SHOWN, max(len(before), len(after)))):
        old = _answer(before[at]) if at < len(before) else ""
        new = f"{_answer(after[at])} {_moved(ranks.get(_place(after[at])), at + 1)}" if at < len(after) else ""
        rows.append((str(at + 1), old, new))
    return rows


def _moved(old: int | None, new: int) -> str:
    return "(new)" if old is None else "(=)" if old == new else f"(was {old})"


def _answer(hit: Mapping[str, Any]) -> str:
    return f"{hit['name'] or hit['path']} {hit['path']}:{hit['code_line']}"


def _hit_lines(hits: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    return [_place(hit) for hit in hits]


def _place(hit: Mapping[str, Any]) -> tuple[str, int]:
    return hit["path"], hit["start_line"]
