"""`codekin check`: finds functions of a change that repeat what exists, for people, pre-commit and CI."""

import json as json_module
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from codekin import __version__, paths
from codekin.cli import options
from codekin.cli.output import print_json, print_line, print_note
from codekin.cli.progress import follow_events, wait_until_ready
from codekin.daemon.client import DaemonClient
from codekin.errors import UsageError
from codekin.paths import find_workspace_root
from codekin.util.files import write_atomically

EXIT_NONE, EXIT_FOUND = 0, 1
BASELINE_NAME = ".codekin-baseline.json"
"""In the workspace's folder, if no other is named: what is known already is reported no more."""

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_RULES = {
    "copy": "The same code exists elsewhere.",
    "renamed copy": "The same code exists elsewhere under other names.",
    "near-copy": "Nearly the same code exists elsewhere.",
    "same behaviour": "Other code does the same.",
    "counterpart in another language": "Code in another language does the same.",
}
_VERBS = {
    "same behaviour": "behaves like",
    "counterpart in another language": "is the counterpart in another language of",
}


class Format(Enum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


@dataclass(frozen=True, slots=True)
class Finding:
    """A function that was added, the best of what does the same, and by what a baseline knows it."""

    path: str
    line: int
    end_line: int
    name: str
    relation: str
    hit: Mapping[str, Any]
    evidence: tuple[str, ...]
    fingerprint: str

    @property
    def message(self) -> str:
        """One sentence: what repeats what, and what shows it."""
        place = f"{self.hit['path']}:{self.hit['code_line']}"
        repeats = _VERBS.get(self.relation, f"is a {self.relation} of")
        return f"{self.name} {repeats} {self.hit['name']} ({place}): {'; '.join(self.evidence)}."


def check(
    folder: Annotated[Path, typer.Argument(metavar="PATH", help="The workspace's folder.")] = Path(),
    diff: Annotated[
        str, typer.Option("--diff", metavar="BASE", help="The revision that the change began at.")
    ] = "HEAD",
    output: Annotated[Format, typer.Option("--format", help="How to print what is found.")] = Format.TEXT,
    min_score: options.MinScore = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help=f"A file of findings that are known; {BASELINE_NAME} if there is one.", show_default=False),
    ] = None,
    write_baseline: Annotated[
        bool, typer.Option("--write-baseline", help="Write all findings to the baseline.")
    ] = False,
    data_dir: options.DataDir = None,
) -> int:
    """Find functions that a change adds although the workspace has what does the same.

    The exit status is 1 if there are any. `codekin: allow` in a comment of a function allows it.
    """
    data = paths.data_dir(data_dir)
    root = find_workspace_root(data, folder)
    file = baseline or root / BASELINE_NAME
    known = frozenset[str]() if write_baseline else _read_baseline(file, is_named=baseline is not None)
    request = {"root": str(root), "base": diff, "min_score": min_score}
    with DaemonClient.connect(data) as client:
        # The tree is read again: a hook runs right after the last change, maybe before the watcher has seen it.
        follow_events(client.lines("/index", {"root": str(root)}), f"Indexing {root.name}")
        wait_until_ready(client, root)
        result = follow_events(client.lines("/check", request), "Comparing")
    findings = [finding for function in result["functions"] if (finding := _read_finding(function, known))]
    if write_baseline:
        _write_baseline(file, findings)
        print_note(f"{len(findings)} findings are known from now on, by {file}.")
        return EXIT_NONE
    _PRINTERS[output](findings)
    if output is Format.TEXT:
        print_note(f"{len(findings)} of {result['added']} added functions repeat what exists.")
    return EXIT_FOUND if findings else EXIT_NONE


def _read_finding(function: Mapping[str, Any], known: frozenset[str]) -> Finding | None:
    """The best of what does the same as a function, among what is not known; None where nothing is left."""
    query = function["query"]
    for one in function["existing"]:
        if one["fingerprint"] not in known:
            place = query["path"], query["start_line"], query["end_line"], query["name"]
            return Finding(*place, one["relation"], one["hit"], tuple(one["evidence"]), one["fingerprint"])
    return None


def _print_text(findings: Sequence[Finding]) -> None:
    for finding in findings:
        print_line(f"{finding.path}:{finding.line}: {finding.message}")


def _print_json(findings: Sequence[Finding]) -> None:
    print_json([{**asdict(finding), "message": finding.message} for finding in findings])


def _print_github(findings: Sequence[Finding]) -> None:
    """Annotations of a workflow run; its own signs are escaped."""
    for finding in findings:
        place = f"file={_escape(finding.path, ':,')},line={finding.line},endLine={finding.end_line}"
        print_line(f"::warning {place},title={_escape('Code that exists already', ':,')}::{_escape(finding.message)}")


def _escape(text: str, more: str = "") -> str:
    return "".join(f"%{ord(letter):02X}" if letter in "%\r\n" + more else letter for letter in text)


def _print_sarif(findings: Sequence[Finding]) -> None:
    rules = [{"id": _rule_id(name), "shortDescription": {"text": text}} for name, text in _RULES.items()]
    driver = {"name": "codekin", "version": __version__, "rules": rules}
    print_json(
        {
            "$schema": _SCHEMA,
            "version": "2.1.0",
            "runs": [{"tool": {"driver": driver}, "results": [_sarif_result(finding) for finding in findings]}],
        }
    )


def _sarif_result(finding: Finding) -> dict[str, Any]:
    hit = finding.hit
    return {
        "ruleId": _rule_id(finding.relation),
        "level": "warning",
        "message": {"text": finding.message},
        "locations": [_sarif_location(finding.path, finding.line, finding.end_line)],
        "relatedLocations": [_sarif_location(hit["path"], hit["start_line"], hit["end_line"])],
        "partialFingerprints": {"codekin/v1": finding.fingerprint},
    }


def _sarif_location(path: str, line: int, end_line: int) -> dict[str, Any]:
    region = {"startLine": line, "endLine": end_line}
    return {"physicalLocation": {"artifactLocation": {"uri": _quote(path)}, "region": region}}


def _quote(path: str) -> str:
    return quote(path, errors="replace")


def _rule_id(relation: str) -> str:
    return relation.replace(" ", "-")


def _read_baseline(file: Path, *, is_named: bool) -> frozenset[str]:
    """The fingerprints of known findings. Raises UsageError where the file is none, or was named and is missing."""
    if not is_named and not file.exists():
        return frozenset()
    try:
        rows = json_module.loads(file.read_text("utf-8"))["findings"]
        return frozenset(str(row["fingerprint"]) for row in rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file} is no baseline: write one with `codekin check --write-baseline`.") from error


def _write_baseline(file: Path, findings: Sequence[Finding]) -> None:
    rows = sorted(_baseline_rows(findings), key=lambda row: (row["place"], row["fingerprint"]))
    write_atomically(file, json_module.dumps({"version": 1, "findings": rows}, indent=1) + "\n")


def _baseline_rows(findings: Sequence[Finding]) -> Iterator[dict[str, str]]:
    for one in findings:
        places = {"place": f"{one.path}: {one.name}", "repeats": f"{one.hit['path']}: {one.hit['name']}"}
        yield {"fingerprint": one.fingerprint, **places}


_PRINTERS = {
    Format.TEXT: _print_text,
    Format.JSON: _print_json,
    Format.SARIF: _print_sarif,
    Format.GITHUB: _print_github,
}
