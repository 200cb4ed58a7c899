"""The generation service as the daemon holds it: made when first asked for, models released when idle.

Knows the settings and the catalogue; nothing of HTTP or of what is generated.
"""

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

from codekin.daemon.state import Daemon, Extension
from codekin.errors import CodekinError, ModelError
from codekin.settings import ModelSettings

if TYPE_CHECKING:
    from codekin.models.generators import GenerationService
    from codekin.models.remote_generation import RemoteGenerator
    from codekin.models.residency import Residency

log = logging.getLogger(__name__)

REMOTE = "remote"
"""The key of the user's own server, as `models.generators` knows it."""

KEY = "generation"
CHECK_SECONDS = 30.0


def generation_service(daemon: Daemon) -> "GenerationService":
    """The daemon's service; the first call imports torch, so call it in a thread."""
    service: GenerationService | None = daemon.extras.get(KEY)
    if service is None:
        service = _service(daemon.settings.models, daemon.engine.resident())
        daemon.extras[KEY] = service
    return service


def generators_here(settings: ModelSettings) -> list[str]:
    """Keys of the generators whose weights are on this machine; looks at the disk."""
    from codekin.models.catalogue import catalogue  # noqa: PLC0415 - asked for seldom
    from codekin.models.fetching import locate  # noqa: PLC0415

    rows = catalogue(settings.catalogue).values()
    return [row.key for row in rows if row.role == "generator" and locate(row, settings.dir)]


def chosen_generator(settings: ModelSettings, name: str) -> str:
    """The key that a setting or request names; `auto` and "" take the user's server, else the first that is here.

    Asks the server whether it answers; raises ModelError.
    """
    here = generators_here(settings)
    if name in ("", "auto", REMOTE) and _remote_answers(settings):
        return REMOTE
    if name not in ("", "auto"):
        from codekin.models.catalogue import find_model  # noqa: PLC0415 - asked for seldom

        find_model(name, settings.catalogue)
        return name
    if not here:
        raise ModelError("No generator is on this machine; `codekin models pull starcoder_1b` brings one.")
    return here[0]


def _service(settings: ModelSettings, resident: "Residency") -> "GenerationService":
    from codekin.models import planner  # noqa: PLC0415 - bring torch
    from codekin.models.catalogue import find_model  # noqa: PLC0415
    from codekin.models.generators import GenerationService  # noqa: PLC0415
    from codekin.models.loading import load_generator, options_of  # noqa: PLC0415

    options = options_of(settings)

    def size(key: str) -> int:
        return planner.need(find_model(key, settings.catalogue), "bfloat16", 4096).total

    return GenerationService(lambda key: load_generator(key, options), size, resident, _remote(settings))


def _remote(settings: ModelSettings) -> "RemoteGenerator | None":
    """The server of the settings, where it is there for completions."""
    from codekin.models.remote_generation import RemoteGenerator  # noqa: PLC0415 - brings torch

    remote = settings.remote
    if remote is None or not remote.url or remote.serves == "embeddings":
        return None
    key = os.environ.get(remote.api_key_env, "") if remote.api_key_env else ""
    return RemoteGenerator(remote.url, remote.model, key, remote.timeout_seconds)


def _remote_answers(settings: ModelSettings) -> bool:
    remote = _remote(settings)
    if remote is None:
        return False
    try:
        remote.check()
    except CodekinError as error:
        log.warning("%s A local model takes its place.", error)
        return False
    else:
        return True
    finally:
        remote.close()


async def _open(daemon: Daemon) -> None:
    daemon.extras["generation_reaper"] = asyncio.create_task(_reap(daemon))


async def _reap(daemon: Daemon) -> None:
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        await asyncio.to_thread(daemon.engine.release_idle)


async def _close(daemon: Daemon) -> None:
    daemon.extras["generation_reaper"].cancel()
    service = daemon.extras.pop(KEY, None)
    if service is not None:
        await asyncio.to_thread(service.close)


def _status(daemon: Daemon, workspace: Any) -> dict[str, Any]:  # noqa: ARG001 - the same for all workspaces
    service = daemon.extras.get(KEY)
    return {"loaded": sorted(service.loaded()) if service else []}


extension = Extension("generators", open=_open, close=_close, status=_status)
