"""What the daemon says about itself and its workspaces: the status that every surface shows.

Each problem is a sentence that says what to do. Knows nothing of HTTP.
"""

import logging
from typing import Any

from codekin.daemon.state import Daemon
from codekin.daemon.work import Priority
from codekin.daemon.workspaces import Workspace
from codekin.errors import CodekinError

log = logging.getLogger(__name__)

_NOTHING = {"files": 0, "skipped": 0, "fragments": 0, "embedded": 0, "space": "", "journal": 0, "bytes": 0}


async def workspace_status(daemon: Daemon, workspace: Workspace) -> dict[str, Any]:
    """The status of one open workspace, the index counted in a worker thread."""
    counts, trouble = await daemon.workers.run(Priority.QUERY, _counts, workspace)
    engine = daemon.engine.state()
    problems = [*daemon.problems, *workspace.settings_problems, *workspace.problems, *trouble]
    problems += [str(engine["problem"])] if engine["problem"] else []
    parts = _extensions(daemon, workspace)
    problems += [str(part["problem"]) for part in parts.values() if part.get("problem")]
    return {
        "root": str(workspace.root),
        "state": workspace.state,
        **counts,
        "progress": workspace.progress,
        "model": engine,
        "degraded": daemon.engine.degraded(),
        "problems": list(dict.fromkeys(problems)) + _emptiness(workspace, counts),
        "last_run": workspace.summary,
        **parts,
    }


def daemon_status(daemon: Daemon) -> dict[str, Any]:
    """The status of the daemon as a whole."""
    return {
        "workspaces": [
            {
                "root": str(root),
                "state": workspace.state,
                "indexer": workspace.indexer.pid if workspace.indexer else None,
            }
            for root, workspace in daemon.workspaces.open.items()
        ],
        "model": daemon.engine.state(),
        "idle_seconds": round(daemon.activity.idle_seconds(), 1),
        "problems": list(daemon.problems),
        **_extensions(daemon, None),
    }


def _counts(workspace: Workspace) -> tuple[dict[str, Any], list[str]]:
    """What lies in the index; an index that cannot be read is a problem, not a failure."""
    try:
        if not workspace.has_index():
            return _NOTHING, []
        found = workspace.index().status()
    except CodekinError as error:
        return _NOTHING, [str(error)]
    except Exception:
        log.exception("The status of an index could not be read.")
        return _NOTHING, ["The index cannot be read; `codekin index --rebuild` builds it again."]
    counts = {
        "files": found.files,
        "skipped": found.skipped,
        "fragments": found.fragments,
        "embedded": found.vectors,
        "space": found.space,
        "journal": found.seq,
        "bytes": found.size_bytes,
    }
    return counts, []


def _emptiness(workspace: Workspace, counts: dict[str, Any]) -> list[str]:
    """Why a settled index may have nothing to say."""
    if workspace.state != "ready" or counts["fragments"]:
        return []
    if not counts["files"]:
        return ["No file here is in a known language or all are ignored; `codekin status --files` gives each reason."]
    return ["The files hold no functions or classes that could be cut out; `codekin status --files` lists them."]


def _extensions(daemon: Daemon, workspace: Workspace | None) -> dict[str, Any]:
    found = {}
    for part in daemon.extensions:
        if part.status:
            try:
                found[part.name] = part.status(daemon, workspace)
            except Exception:
                log.exception("The status of %s failed.", part.name)
                found[part.name] = {"problem": "Its status cannot be told; see the daemon's log."}
    return found
