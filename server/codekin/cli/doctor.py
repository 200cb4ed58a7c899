"""`codekin doctor`: every cause of silence, looked at one after the other, each with what to do.

Exit status 0 when all is well, 1 when something is not.
"""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from codekin import places
from codekin.cli import options
from codekin.cli.output import print_json, say
from codekin.cli.roots import find_root
from codekin.daemon.client import Client
from codekin.errors import CodekinError
from codekin.settings import load_settings

PARTS = (
    "torch",
    "tokenizers",
    "safetensors",
    "tree-sitter",
    "tree-sitter-elixir",
    "tree-sitter-cpp",
    "tantivy",
    "pygls",
)
LEAST_FREE = 1 << 30
"""Bytes: an index of a large repository takes some hundred megabytes."""

FEW_WATCHES = 65536
SLOW_MOUNTS = ("nfs", "cifs", "smb", "9p", "fuse.sshfs")
EDITORS = ("nvim", "code", "emacs", "hx", "zed")


@dataclass(frozen=True, slots=True)
class Finding:
    """One look at one thing: `advice` is empty where all is well."""

    what: str
    found: str
    advice: str = ""


def doctor(
    path: Annotated[Path, typer.Argument(help="A file or folder of the workspace.")] = Path(),
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Find out why Codekin is silent: looks at everything it needs and says what to do."""
    findings = list(_look(path, data_dir))
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            say(f"{'ok ' if not finding.advice else '!! '} {finding.what:<12} {finding.found}")
            if finding.advice:
                say(f"{'':<16} → {finding.advice}")
    return 1 if any(finding.advice for finding in findings) else 0


def _look(path: Path, data_dir: Path | None) -> Iterator[Finding]:
    yield _python()
    yield _parts()
    try:
        data = places.data_dir(data_dir)
        root = find_root(data, path)
    except CodekinError as error:
        yield Finding("folders", "not usable", str(error))
        return
    yield _data_folder(data)
    yield _settings(data, root)
    yield _watches()
    yield _editors()
    try:
        yield Finding("socket", str(places.socket_path(data)))
        with Client.connect(data) as client:
            yield Finding("daemon", f"process {client.greeting['pid']}, version {client.greeting['version']}")
            yield from _workspace(client, root)
    except CodekinError as error:
        yield Finding("daemon", "not usable", f"{error} Its log is {data / 'logs' / 'daemon.log'}.")


def _python() -> Finding:
    found = f"{sys.version.split()[0]} at {sys.executable}"
    return Finding("python", found, "" if sys.version_info >= (3, 11) else "Install Python 3.11 or newer.")


def _parts() -> Finding:
    found, missing = [], []
    for part in PARTS:
        try:
            found.append(f"{part} {version(part)}")
        except PackageNotFoundError:
            missing.append(part)
    advice = f"Install codekin again: {', '.join(missing)} missing." if missing else ""
    return Finding("packages", ", ".join(found), advice)


def _data_folder(data: Path) -> Finding:
    free = shutil.disk_usage(data).free
    kind = _mount_kind(data)
    found = f"{data}, {free / 1e9:.1f} GB free"
    if not os.access(data, os.W_OK):
        return Finding("data", found, f"Make {data} writable, or choose another folder with --data-dir.")
    if free < LEAST_FREE:
        return Finding("data", found, "Free some space, or choose another folder with --data-dir.")
    if kind.startswith(SLOW_MOUNTS):
        return Finding("data", f"{found}, on {kind}", "Choose a folder on a local disk with CODEKIN_DATA_DIR.")
    return Finding("data", found)


def _mount_kind(path: Path) -> str:
    """The kind of file system a path lies on, empty where it cannot be told."""
    try:
        rows = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    real = path.resolve()
    above = [(len(row[1]), row[2]) for row in rows if len(row) > 2 and real.is_relative_to(row[1])]
    return max(above, default=(0, ""))[1]


def _settings(data: Path, root: Path) -> Finding:
    _, problems = load_settings(data, root)
    return Finding("settings", f"{len(problems)} problems" if problems else "all understood", " ".join(problems))


def _watches() -> Finding:
    try:
        most = int(Path("/proc/sys/fs/inotify/max_user_watches").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return Finding("watching", "no limit known")
    advice = "Raise fs.inotify.max_user_watches, or large workspaces are polled." if most < FEW_WATCHES else ""
    return Finding("watching", f"{most} folders at most", advice)


def _editors() -> Finding:
    editors = [name for name in EDITORS if shutil.which(name)]
    found = f"{', '.join(editors) or 'none known'} found; they start `{shutil.which('codekin') or sys.argv[0]} lsp`"
    advice = (
        ""
        if shutil.which("codekin")
        else "Put the folder of the codekin command on the PATH, or name it in the editor."
    )
    return Finding("editors", found, advice)


def _workspace(client: Client, root: Path) -> Iterator[Finding]:
    status = client.get("/status", root=str(root))
    model = status["model"]
    yield Finding("model", f"{model['name'] or 'none'} ({model['phase']})", str(model["problem"]))
    yield Finding("workspace", f"{root} ({status['state']})", " ".join(status["problems"]))
    found = f"{status['files']} files, {status['fragments']} fragments, {status['embedded']} embedded"
    yield Finding("index", found, _why_empty(client, root, status))


def _why_empty(client: Client, root: Path, status: Mapping[str, Any]) -> str:
    if status["fragments"] and status["embedded"]:
        return ""
    if status["state"] in ("starting", "indexing"):
        return "It is being indexed: ask again in a moment."
    if status["fragments"]:
        return f"Nothing is embedded, so only words are found: {status['degraded'] or 'wait for the indexer'}."
    reasons = Counter(row["skipped"] for row in client.get("/files", root=str(root))["files"] if row["skipped"])
    most = ", ".join(f"{count} because: {reason}" for reason, count in reasons.most_common(3))
    return f"No code was found{f' (left out: {most})' if most else ''}; see `codekin status --files`."
