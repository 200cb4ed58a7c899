"""A workspace's checkpoints and fine-tuning history as the daemon reads and changes them, off the event loop.

Brings numpy: `services.finetune` imports it at the first need.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any

from codekin.daemon.services.context import ServiceContext
from codekin.daemon.services.embedding import QueryEmbedder
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.errors import CodekinError, FinetuneError, ModelError, UsageError
from codekin.finetune import history, publication, scheduler
from codekin.models import checkpoints
from codekin.models.embedding.finetuned import active_head, is_encoder_checkpoint
from codekin.models.planner import require_torch
from codekin.protocols import Embedder
from codekin.settings import load_settings
from codekin.util.files import write_atomically

BASE_TIMEOUT_SECONDS = 120.0
RUNS_FOR_SCHEDULE = 30
QUESTIONS_NAME = "questions.json"


@dataclass(frozen=True, slots=True)
class FinetuneRecords:
    """The records of one workspace root; every method may block."""

    context: ServiceContext
    folder: Path

    def active(self) -> str:
        """The checkpoint that the pointer names."""
        return checkpoints.read_pointer(self.folder)

    def activate(self, checkpoint: str) -> None:
        """Points to a checkpoint."""
        checkpoints.set_pointer(self.folder, "active", checkpoint)

    def runs(self, *, close_interrupted: bool) -> dict[str, Any]:
        """The runs, newest first, and the active checkpoint; `close_interrupted` where none is under way."""
        if close_interrupted:
            history.close_interrupted_runs(self.folder)
        active = self.active()
        return {"runs": [history.run_to_json(run, active) for run in history.list_runs(self.folder)], "active": active}

    def questions(self, new: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The user's own questions; `new` ones are kept in place of the last. Raises UsageError without any."""
        path = self.folder / QUESTIONS_NAME
        if new:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(path, json.dumps(new))
            return new
        try:
            return tuple(str(each) for each in json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            raise UsageError("There are no questions yet: give a file with one a line by --questions.") from None

    def point_back(self, checkpoint: str | None) -> str:
        """Points to that checkpoint (None: the one that served before); gives its id. Raises CheckpointError."""
        base = self.context.engine.service().embedder(BASE_TIMEOUT_SECONDS)
        return publication.roll_back(self.folder, checkpoint, base)

    def record_rollback(self, checkpoint: str) -> None:
        """Notes in the history that the user went back."""
        history.record_rollback(self.folder, checkpoint)

    def restore(self, run: int, previous: str, reason: str) -> Mapping[str, Any]:
        """Points back to what served, and notes why; gives the run as it is noted now."""
        self.activate(previous)
        return history.run_to_json(history.record_takeover_failure(self.folder, run, reason), previous)

    def due_run(self, root: Path, since: datetime, now: datetime, *, quiet: bool) -> scheduler.DueRun:
        """Whether a scheduled run is due; `quiet` skips the check that the user is idle."""
        workspace = self.context.workspaces.open.get(root)
        settings = workspace.settings if workspace else load_settings(self.context.data, root, {})[0]
        seconds = inf if quiet else self.context.activity.quiet_seconds()
        machine = scheduler.MachineState(seconds, scheduler.on_battery())
        try:
            if settings.finetune.enabled:
                require_torch("Fine-tuning at night")
            history.correct_future_times(self.folder, now.timestamp())
            runs = history.list_runs(self.folder, RUNS_FOR_SCHEDULE)
            return scheduler.find_due_run(now, since, runs, settings.finetune, machine)
        except ModelError as error:
            return scheduler.DueRun(waiting_for=str(error))  # an installation without it was chosen
        except CodekinError as error:
            return scheduler.DueRun(waiting_for=str(error), problem=str(error))

    def open_active(self) -> None:
        """Reads the active checkpoint as the answers will. Raises CodekinError."""
        name = self.active()
        try:
            if name != checkpoints.BASE:
                self.context.engine.finetuned_embedder(self.folder, name)
        except MemoryError as error:
            raise FinetuneError(f"There is no memory to open {name}: close other programs.") from error

    def is_serving(self, workspace: OpenWorkspace) -> bool:
        """Whether the space that serves is the one that the pointer names."""
        serving = workspace.index().serving_space()
        return serving is not None and serving.fingerprint == self._target_space()

    def changes_encoder(self, workspace: OpenWorkspace) -> bool:
        """Whether a trained encoder serves, or shall."""
        base, serving = self.context.engine.embedder(), workspace.index().serving_space()
        on_base = base is None or serving is None or serving.fingerprint.startswith(base.space)
        return not on_base or is_encoder_checkpoint(self.folder, self.active())

    def trained_encoder(self) -> Embedder | None:
        """The encoder that the pointer names; None for the base or a head over it. Raises CheckpointError."""
        name = self.active()
        if name == checkpoints.BASE:
            return None
        found = self.context.engine.finetuned_embedder(self.folder, name)
        return found.within if isinstance(found, QueryEmbedder) else None

    def _target_space(self) -> str:
        """The space of what the pointer names; empty while the base is not loaded."""
        base = self.context.engine.embedder()
        if base is None:
            return ""
        head = active_head(self.folder, base.space)
        return head.space if head else base.space
