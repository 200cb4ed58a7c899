"""The generation service as the daemon holds it, and which generator answers: the one named, or what stands in.

Made when first asked for; models are released when idle. Knows the settings and the
catalogue; nothing of HTTP or of what is generated.
"""

import asyncio
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codekin.daemon.state import Daemon, Extension
from codekin.errors import CodekinError, ModelError
from codekin.settings import ModelSettings

if TYPE_CHECKING:
    from codekin.models.generators import GenerationService
    from codekin.models.remote_generation import RemoteGenerator
    from codekin.models.residency import Residency

REMOTE = "remote"
"""The key of the user's own server, as `models.generators` knows it."""

REPOSITORY = "repository"
"""The name of the model of the repository alone, without a generator."""

KEY = "generation"
CHECK_SECONDS = 30.0
LOOKS_EVERY = 30.0
"""Seconds for which it is remembered which weights lie on the disk."""

_making = threading.Lock()


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who completes: a generator's key, empty for the repository alone; `problem` says why not the one named."""

    key: str
    problem: str = ""


def generation_service(daemon: Daemon) -> "GenerationService":
    """The daemon's service; the first call imports torch, so call it in a thread."""
    with _making:
        service: GenerationService | None = daemon.extras.get(KEY)
        if service is None:
            service = _service(daemon.settings.models, daemon.engine.resident(), remote_of(daemon))
            daemon.extras[KEY] = service
    return service


def generators_here(settings: ModelSettings) -> list[str]:
    """Keys of the generators whose weights are on this machine; looks at the disk."""
    from codekin.models.catalogue import catalogue  # noqa: PLC0415 - asked for seldom
    from codekin.models.fetching import locate  # noqa: PLC0415

    rows = catalogue(settings.catalogue).values()
    return [row.key for row in rows if row.role == "generator" and locate(row, settings.dir)]


def chosen_generator(daemon: Daemon, name: str) -> str:
    """The key that a request names; `auto` and "" take the user's server, else the first that is here.

    Raises ModelError.
    """
    settings, remote = daemon.settings.models, remote_of(daemon)
    if name == REMOTE and remote is None:
        raise ModelError("models.remote names no server for completions; set its url, and serves to both.")
    if remote is not None and name in ("", "auto", REMOTE) and remote.is_up():
        return REMOTE
    if remote is not None and name == REMOTE:
        raise ModelError(remote.problem)
    if name not in ("", "auto"):
        _require_here(settings, name)
        return name
    here = generators_here(settings)
    if not here:
        problem = remote.problem if remote else "No generator is on this machine"
        raise ModelError(f"{problem.rstrip('.')}; `codekin models pull starcoder_1b` brings one.")
    return here[0]


def completing_generator(daemon: Daemon, name: str) -> Chosen:
    """Who writes ghost text where the settings name this model; never raises, and looks at the disk now and then."""
    known: dict[str, tuple[float, Chosen]] = daemon.extras.setdefault("completing", {})
    looked, chosen = known.get(name, (0.0, Chosen("")))
    if name not in known or time.monotonic() - looked > LOOKS_EVERY:
        chosen = _completing(daemon, name)
        known[name] = time.monotonic(), chosen
    return chosen


def remote_of(daemon: Daemon) -> "RemoteGenerator | None":
    """The server of the settings, where it is there for completions; the first call may import torch."""
    if "remote" not in daemon.extras:
        daemon.extras["remote"] = _remote(daemon.settings.models)
    remote: RemoteGenerator | None = daemon.extras["remote"]
    return remote


def _completing(daemon: Daemon, name: str) -> Chosen:
    if name == REPOSITORY:
        return Chosen("")
    settings, remote = daemon.settings.models, remote_of(daemon)
    here = generators_here(settings)
    if name in ("", "auto") and remote is None:
        return Chosen(here[0] if here else "")
    try:
        key = chosen_generator(daemon, name)
    except CodekinError as error:
        problem = str(error)
    else:
        here = [key, *here]
        problem = remote.problem if remote and key != REMOTE and name in ("", "auto") else ""
    key = here[0] if here else ""
    return Chosen(
        key, f"{problem.rstrip('.')}; {key or 'the repository alone'} completes until then." if problem else ""
    )


def _require_here(settings: ModelSettings, name: str) -> None:
    from codekin.models.catalogue import find_model  # noqa: PLC0415 - asked for seldom
    from codekin.models.fetching import locate  # noqa: PLC0415

    model = find_model(name, settings.catalogue)
    if model.role != "generator":
        raise ModelError(f"{name} gives vectors; it writes no code: choose a generator from `codekin models list`.")
    if locate(model, settings.dir) is None:
        raise ModelError(f"{model.key} is not on this machine; `codekin models pull {model.key}` brings it.")


def _service(settings: ModelSettings, resident: "Residency", remote: "RemoteGenerator | None") -> "GenerationService":
    from codekin.models import planner  # noqa: PLC0415 - bring torch
    from codekin.models.catalogue import find_model  # noqa: PLC0415
    from codekin.models.generators import GenerationService  # noqa: PLC0415
    from codekin.models.loading import load_generator, options_of  # noqa: PLC0415

    options = options_of(settings)

    def size(key: str) -> int:
        return planner.need(find_model(key, settings.catalogue), "bfloat16", 4096).total

    def stand_in() -> str:
        return next(iter(generators_here(settings)), "")

    return GenerationService(lambda key: load_generator(key, options), size, resident, remote, stand_in)


def _remote(settings: ModelSettings) -> "RemoteGenerator | None":
    remote = settings.remote
    if remote is None or not remote.url or remote.serves == "embeddings":
        return None
    from codekin.models.remote_generation import RemoteGenerator  # noqa: PLC0415 - brings torch

    key = os.environ.get(remote.api_key_env, "") if remote.api_key_env else ""
    return RemoteGenerator(remote.url, remote.model, key, remote.timeout_seconds)


async def _open(daemon: Daemon) -> None:
    daemon.extras["generation_reaper"] = asyncio.create_task(_reap(daemon))


async def _reap(daemon: Daemon) -> None:
    while True:
        await asyncio.to_thread(_look_after, daemon)
        await asyncio.sleep(CHECK_SECONDS)


def _look_after(daemon: Daemon) -> None:
    """Lets go of idle models, and asks a server that was down whether it is up again."""
    daemon.engine.release_idle()
    is_first = "remote" not in daemon.extras
    remote = remote_of(daemon)
    if remote is not None and (is_first or remote.problem):
        remote.check()
    if is_first:
        completing_generator(daemon, daemon.settings.completion.model)


async def _close(daemon: Daemon) -> None:
    daemon.extras["generation_reaper"].cancel()
    service, remote = daemon.extras.pop(KEY, None), daemon.extras.pop("remote", None)
    for part in (service, remote):
        if part is not None:
            await asyncio.to_thread(part.close)


def _status(daemon: Daemon, workspace: Any) -> dict[str, Any]:
    service = daemon.extras.get(KEY)
    status: dict[str, Any] = {"loaded": sorted(service.loaded()) if service else []}
    name = workspace.settings.completion.model if workspace else daemon.settings.completion.model
    if "remote" not in daemon.extras or (name in ("auto", REPOSITORY) and not daemon.extras["remote"]):
        return status
    problem = completing_generator(daemon, name).problem
    return {**status, "problem": problem} if problem else status


extension = Extension("generators", open=_open, close=_close, status=_status)
