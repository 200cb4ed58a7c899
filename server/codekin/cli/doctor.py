"""`codekin doctor`: checks everything Codekin depends on and says how to fix what is wrong.

Exit status 0 when all checks pass, 1 otherwise.
"""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from codekin import paths
from codekin.cli import options
from codekin.cli.output import print_json, print_line
from codekin.daemon.client import DaemonClient
from codekin.errors import CodekinError, SettingsError, UsageError, describe_os_error
from codekin.models.planner import has_torch
from codekin.paths import find_workspace_root
from codekin.settings import FinetuneSettings, load_settings
from codekin.util.process import file_system_of

PACKAGES = (
    "onnxruntime",
    "tokenizers",
    "safetensors",
    "tree-sitter",
    "tree-sitter-elixir",
    "tree-sitter-cpp",
    "tantivy",
    "pygls",
)
MIN_FREE_BYTES = 1 << 30
"""Bytes: an index of a large repository takes some hundred megabytes."""

MIN_WATCHES = 65536
SLOW_MOUNTS = ("nfs", "cifs", "smb", "9p", "fuse.sshfs")
EDITORS = ("nvim", "code", "emacs", "hx", "zed")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One look at one thing: `advice` is empty where all is well."""

    what: str
    found: str
    advice: str = ""


def doctor(
    path: Annotated[Path, typer.Argument(help="A file or folder of the workspace.")] = Path(),
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Find out why Codekin is silent: checks everything it needs and says what to do."""
    findings = list(_run_checks(path, data_dir))
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            print_line(f"{'ok ' if not finding.advice else '!! '} {finding.what:<12} {finding.found}")
            if finding.advice:
                print_line(f"{'':<16} → {finding.advice}")
    return 1 if any(finding.advice for finding in findings) else 0


def _run_checks(path: Path, data_dir: Path | None) -> Iterator[CheckResult]:
    yield _python()
    yield _packages()
    try:
        data = paths.data_dir(data_dir)
        root = find_workspace_root(data, path)
    except (CodekinError, OSError) as error:
        yield CheckResult("folders", "not usable", _sentence(error))
        return
    yield _data_folder(data)
    yield _settings(data, root)
    yield _watches()
    yield _editors()
    try:
        yield CheckResult("socket", str(paths.socket_path(data)))
        with DaemonClient.connect(data) as client:
            yield CheckResult("daemon", f"process {client.greeting['pid']}, version {client.greeting['version']}")
            yield from _workspace(client, root)
    except (CodekinError, OSError) as error:
        yield CheckResult("daemon", "not usable", f"{_sentence(error)} Its log is {data / 'logs' / 'daemon.log'}.")


def _sentence(error: CodekinError | OSError) -> str:
    return describe_os_error(error) if isinstance(error, OSError) else str(error)


def _python() -> CheckResult:
    found = f"{sys.version.split()[0]} at {sys.executable}"
    return CheckResult("python", found, "" if sys.version_info >= (3, 11) else "Install Python 3.11 or newer.")


def _packages() -> CheckResult:
    found, missing = [], []
    for part in PACKAGES:
        try:
            found.append(f"{part} {version(part)}")
        except PackageNotFoundError:
            missing.append(part)
    advice = f"Install codekin again: {', '.join(missing)} missing." if missing else ""
    torch = f"torch {version('torch')}" if has_torch() else "no torch: `pip install 'codekin[models]'` to fine-tune"
    return CheckResult("packages", ", ".join([*found, torch]), advice)


def _data_folder(data: Path) -> CheckResult:
    free = shutil.disk_usage(data).free
    kind = file_system_of(data.resolve())
    found = f"{data}, {free / 1e9:.1f} GB free"
    if not os.access(data, os.W_OK):
        return CheckResult("data", found, f"Make {data} writable, or choose another folder with --data-dir.")
    if free < MIN_FREE_BYTES:
        return CheckResult("data", found, "Free some space, or choose another folder with --data-dir.")
    if kind.startswith(SLOW_MOUNTS):
        return CheckResult("data", f"{found}, on {kind}", "Choose a folder on a local disk with CODEKIN_DATA_DIR.")
    return CheckResult("data", found)


def _settings(data: Path, root: Path) -> CheckResult:
    settings, problems = load_settings(data, root)
    problems += _schedule_problems(settings.finetune)
    return CheckResult("settings", f"{len(problems)} problems" if problems else "all understood", " ".join(problems))


def _schedule_problems(settings: FinetuneSettings) -> tuple[str, ...]:
    """Why the cron line or the time zone of fine-tuning cannot be used, a sentence if so."""
    from codekin.finetune.scheduler import next_cron_time  # noqa: PLC0415 - brings croniter

    try:
        next_cron_time(datetime.now(UTC), settings)
    except SettingsError as error:
        return (str(error),)
    return ()


def _watches() -> CheckResult:
    try:
        most = int(Path("/proc/sys/fs/inotify/max_user_watches").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return CheckResult("watching", "no limit known")
    advice = "Raise fs.inotify.max_user_watches, or large workspaces are polled." if most < MIN_WATCHES else ""
    return CheckResult("watching", f"{most} folders at most", advice)


def _editors() -> CheckResult:
    editors = [name for name in EDITORS if shutil.which(name)]
    found = f"{', '.join(editors) or 'none known'} found; they start `{shutil.which('codekin') or sys.argv[0]} lsp`"
    advice = (
        ""
        if shutil.which("codekin")
        else "Put the folder of the codekin command on the PATH, or name it in the editor."
    )
    return CheckResult("editors", found, advice)


def _workspace(client: DaemonClient, root: Path) -> Iterator[CheckResult]:
    try:
        status = client.get("/status", root=str(root))
    except UsageError as error:  # a diagnosis makes no workspace of a folder
        yield CheckResult("workspace", f"{root} (not indexed)", str(error))
        return
    model = status["model"]
    yield CheckResult("model", f"{model['name'] or 'none'} ({model['phase']})", str(model["problem"]))
    yield CheckResult("workspace", f"{root} ({status['state']})", " ".join(status["problems"]))
    found = f"{status['files']} files, {status['chunks']} chunks, {status['embedded']} embedded"
    yield CheckResult("index", found, _why_empty(client, root, status))


def _why_empty(client: DaemonClient, root: Path, status: Mapping[str, Any]) -> str:
    if status["chunks"] and status["embedded"]:
        return ""
    if status["state"] in ("starting", "indexing"):
        return "It is being indexed: ask again in a moment."
    if status["chunks"]:
        return f"Nothing is embedded, so only words are found: {status['degraded'] or 'wait for the indexer'}."
    reasons = Counter(row["skipped"] for row in client.get("/files", root=str(root))["files"] if row["skipped"])
    most = ", ".join(f"{count} because: {reason}" for reason, count in reasons.most_common(3))
    return f"No code was found{f' (left out: {most})' if most else ''}; see `codekin status --files`."
