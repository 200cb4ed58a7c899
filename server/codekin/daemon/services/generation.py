"""The daemon's generators: which are here, which one serves a request, and the user's own server beside them.

Three boundaries keep the start light: `_is_installed` brings numpy, `_connect_remote` tokenizers, `_load_service`
onnxruntime. torch comes with the first decoder that runs here.
"""

import asyncio
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codekin.daemon.services.context import ServiceContext
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.errors import CodekinError, ModelError, ModelNotFoundError
from codekin.models import planner
from codekin.models.catalogue import find_model, load_catalogue
from codekin.models.gguf_files import has_engine
from codekin.settings import ModelSettings, RemoteSettings

if TYPE_CHECKING:
    from codekin.models.catalogue import ModelSpec
    from codekin.models.generation.service import GenerationService, RemoteGenerator

REMOTE_GENERATOR = "remote"
"""The key of the user's own server, as `models.generators` knows it."""

REPOSITORY_MODEL = "repository"
"""The name of the model of the repository alone, without a generator."""

CHECK_SECONDS = 30.0
CHOICE_TTL_SECONDS = 30.0
"""Seconds for which it is remembered which weights lie on the disk."""


@dataclass(frozen=True, slots=True)
class ChosenGenerator:
    """Who completes: a generator's key, empty for the repository alone; `problem` says why not the one named."""

    key: str
    problem: str = ""


class GeneratorService:
    """Chooses and holds the generators of one daemon; what looks at the disk or loads belongs in a thread."""

    name = "generators"
    is_busy = False

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._service: GenerationService | None = None
        self._remote: RemoteGenerator | None = None
        self._is_remote_known = False
        self._choices: dict[str, tuple[float, ChosenGenerator]] = {}
        self._maintenance: asyncio.Task[None] | None = None

    @property
    def _settings(self) -> ModelSettings:
        return self._context.settings.models

    def service(self) -> "GenerationService":
        """What loads and runs generators; the first call imports them."""
        remote = self.remote()
        with self._lock:
            if self._service is None:
                self._service = self._load_service(remote)
        return self._service

    def remote(self) -> "RemoteGenerator | None":
        """The server of the settings, where it serves completions; the first call may import its client."""
        with self._lock:
            if not self._is_remote_known:
                remote = self._settings.remote
                serves = remote is not None and remote.url and remote.serves != "embeddings"
                self._remote = _connect_remote(remote) if remote and serves else None
                self._is_remote_known = True
        return self._remote

    def installed(self) -> list[str]:
        """Keys of the generators whose weights are on this machine; looks at the disk."""
        rows = load_catalogue(self._settings.catalogue).values()
        runs = {True: has_engine(), False: planner.has_torch()}
        runnable = [row for row in rows if row.role == "generator" and runs[bool(row.file)]]
        return [row.key for row in runnable if _is_installed(row, self._settings)]

    def choose(self, name: str) -> str:
        """The key that a request names; `auto` and "" take the user's server, else the first that is here.

        Raises ModelError.
        """
        remote, is_any = self.remote(), name in ("", "auto")
        if name == REMOTE_GENERATOR and remote is None:
            raise ModelError("models.remote names no server for completions; set its url, and serves to both.")
        if remote is not None and (is_any or name == REMOTE_GENERATOR):
            if remote.is_up():
                return REMOTE_GENERATOR
            if not is_any:
                raise ModelError(remote.problem)
        if not is_any:
            self._require_installed(name)
            return name
        if not (here := self.installed()):
            problem = remote.problem if remote else "No generator is on this machine"
            raise ModelError(f"{problem.rstrip('.')}; `codekin models pull starcoder_1b` brings one.")
        return here[0]

    def choose_for_completion(self, name: str) -> ChosenGenerator:
        """Who writes ghost text where the settings name this model; never raises, looks at the disk now and then."""
        looked, chosen = self._choices.get(name, (0.0, ChosenGenerator("")))
        if name not in self._choices or time.monotonic() - looked > CHOICE_TTL_SECONDS:
            chosen = self._choose_with_fallback(name)
            self._choices[name] = time.monotonic(), chosen
        return chosen

    def substitution_note(self, key: str) -> str:
        """Why another generator answers than the user's server; empty where there is no fallback."""
        remote = self.remote()
        if remote is None or not remote.problem:
            return ""
        return f"{remote.problem.rstrip('.')}; {'a generator here' if key == REMOTE_GENERATOR else key} answers."

    def status(self, workspace: OpenWorkspace | None) -> dict[str, Any]:
        """The generators in memory, and why the chosen one does not complete."""
        status: dict[str, Any] = {"loaded": sorted(self._service.loaded()) if self._service else []}
        settings = workspace.settings if workspace else self._context.settings
        name = settings.completion.model
        if not self._is_remote_known or (name in ("auto", REPOSITORY_MODEL) and self._remote is None):
            return status
        problem = self.choose_for_completion(name).problem
        return {**status, "problem": problem} if problem else status

    async def open(self) -> None:
        """Begins to look after the models."""
        self._maintenance = asyncio.create_task(self._maintain())

    async def close(self) -> None:
        """Ends the generators and the connection to the user's server."""
        if self._maintenance:
            self._maintenance.cancel()
        if self._service is not None:
            await asyncio.to_thread(self._service.close)
        if self._remote is not None:
            await asyncio.to_thread(self._remote.close)

    async def _maintain(self) -> None:
        while True:
            await asyncio.to_thread(self._maintain_once)
            await asyncio.sleep(CHECK_SECONDS)

    def _maintain_once(self) -> None:
        """Unloads idle models, and checks whether a server that was down is up again."""
        self._context.engine.release_idle()
        is_first = not self._is_remote_known
        remote = self.remote()
        if remote is not None and (is_first or remote.problem):
            remote.check()
        if is_first:
            self.choose_for_completion(self._context.settings.completion.model)

    def _choose_with_fallback(self, name: str) -> ChosenGenerator:
        if name == REPOSITORY_MODEL:
            return ChosenGenerator("")
        remote, is_any = self.remote(), name in ("", "auto")
        here = self.installed()
        if is_any and remote is None:
            return ChosenGenerator(here[0] if here else "")
        try:
            key = self.choose(name)
        except CodekinError as error:
            problem = str(error)
        else:
            here = [key, *here]
            problem = remote.problem if remote and key != REMOTE_GENERATOR and is_any else ""
        key = here[0] if here else ""
        until_then = f"{problem.rstrip('.')}; {key or 'the repository alone'} completes until then."
        return ChosenGenerator(key, until_then if problem else "")

    def _require_installed(self, name: str) -> None:
        model = find_model(name, self._settings.catalogue)
        if model.role != "generator":
            raise ModelNotFoundError(
                f"{name} gives vectors; it writes no code: choose a generator from `codekin models list`."
            )
        if not _is_installed(model, self._settings):
            raise ModelNotFoundError(
                f"{model.key} is not on this machine; `codekin models pull {model.key}` brings it."
            )

    def _load_service(self, remote: "RemoteGenerator | None") -> "GenerationService":
        from codekin.models.fetching import describe_model  # noqa: PLC0415 - brings numpy
        from codekin.models.generation.service import GenerationService  # noqa: PLC0415 - brings tokenizers
        from codekin.models.loading import load_generator, load_options  # noqa: PLC0415 - brings onnxruntime

        options = load_options(self._settings)

        def size(key: str) -> int:
            model = describe_model(find_model(key, self._settings.catalogue), self._settings.dir)
            return planner.memory_need(model, "bfloat16", 4096).total

        def stand_in() -> str:
            return next(iter(self.installed()), "")

        cache = self._context.engine.model_cache()
        return GenerationService(lambda key: load_generator(key, options), size, cache, remote, stand_in)


def _is_installed(model: "ModelSpec", settings: ModelSettings) -> bool:
    from codekin.models.fetching import locate_model  # noqa: PLC0415 - brings numpy

    return locate_model(model, settings.dir) is not None


def _connect_remote(remote: RemoteSettings) -> "RemoteGenerator":
    from codekin.models.generation.service import RemoteGenerator  # noqa: PLC0415 - brings tokenizers

    key = os.environ.get(remote.api_key_env, "") if remote.api_key_env else ""
    return RemoteGenerator(remote.url, remote.model, key, remote.timeout_seconds)
