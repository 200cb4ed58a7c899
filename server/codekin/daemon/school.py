"""The night school as the daemon runs it: one learner at a time, by hand or by the clock, and the swap at its end.

Every minute it looks whether a workspace that was open lately is due. Knows nothing of HTTP.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin import places
from codekin.daemon.child import Event
from codekin.daemon.learner import learner_events
from codekin.daemon.takeover import take_over
from codekin.errors import CodekinError

if TYPE_CHECKING:
    from codekin.daemon.state import Daemon
    from codekin.daemon.workspaces import Workspace
    from codekin.learning.schedule import Due

log = logging.getLogger(__name__)

TICK_SECONDS = 60.0
REMEMBERED = timedelta(days=14)
"""A workspace that nobody opened for longer is left alone at night."""

UNDER_WAY = frozenset({"starting", "indexing"})


class School:
    """The learning of all workspaces of one daemon; lives on its event loop."""

    def __init__(self, daemon: "Daemon") -> None:
        self._daemon = daemon
        self._turn = asyncio.Lock()
        self._states: dict[Path, dict[str, Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether somebody learns or waits for a turn."""
        return any(state.get("running") for state in self._states.values())

    def status(self, workspace: "Workspace") -> dict[str, Any]:
        """For a workspace's status: running, phase, done, total; why the last run came to nothing, or none begins.

        `said` is of the last run, `waits` of the next one by the clock, `problem` of failures by the clock in a row.
        """
        return dict(self._states.get(workspace.root, {"running": False}))

    def open(self) -> None:
        """Begins to look at the clock."""
        self._spawn(self._watch_clock())

    async def close(self) -> None:
        """Ends what runs; a learner that is stopped leaves the active model as it was."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, workspace: "Workspace", asked_by: str, options: Mapping[str, Any]) -> None:
        """Learns in the background."""
        self._spawn(self._through(workspace, asked_by, options))

    async def events(
        self, workspace: "Workspace", asked_by: str, options: Mapping[str, Any]
    ) -> AsyncGenerator[Event, None]:
        """Learns, when it is this run's turn, and tells how it goes; the last event is `done` or `problem`."""
        state = self._states[workspace.root] = {"running": True, "phase": "waiting", "done": 0, "total": 0}
        try:
            async with self._turn, workspace.listening() as queue:
                while workspace.state in UNDER_WAY:
                    await queue.get()
                before = await asyncio.to_thread(_pointed, workspace)
                given = {"asked_by": asked_by, **options, "settings": json.dumps(dict(workspace.overrides))}
                quiet = self._daemon.activity.quiet_seconds
                async with aclosing(learner_events(workspace.data, workspace.root, given, quiet)) as events:
                    async for event in events:
                        yield await self._taken(workspace, state, event, before)
                if state.get("said") and not options.get("triplets"):
                    workspace.tell({"event": "learning", "running": False, "problem": state["said"]})
        finally:
            state["running"] = False
            workspace.tell({"event": "learning", "running": False})

    async def roll_back(self, workspace: "Workspace", checkpoint: str | None) -> str:
        """Makes that checkpoint (None: the one that served before) the active one; gives its id or "base".

        Raises CheckpointError where it is refused; the one that serves then serves on.
        """
        from codekin.learning import history  # noqa: PLC0415 - only when asked
        from codekin.learning.rollback import go_back  # noqa: PLC0415
        from codekin.models import checkpoints  # noqa: PLC0415

        folder = places.learning_folder(workspace.data, workspace.root)
        service = await asyncio.to_thread(self._daemon.engine.service)
        base = await asyncio.to_thread(service.embedder, 120)
        async with self._turn:
            before = await asyncio.to_thread(_pointed, workspace)
            name = await asyncio.to_thread(go_back, folder, checkpoint, base)
            try:
                said = await take_over(self._daemon, workspace)
            except (CodekinError, OSError):
                await asyncio.to_thread(checkpoints.point, folder, "active", before)
                raise
            await asyncio.to_thread(history.note_rollback, folder, name)
        if said:
            workspace.tell({"event": "learning", "running": False, "problem": said})
        return name

    async def _taken(self, workspace: "Workspace", state: dict[str, Any], event: Event, before: str) -> Event:
        """Notes an event in the status, swaps the model where one took over, and tells everyone who listens."""
        if event.get("event") == "progress":
            state |= {name: event.get(name) for name in ("phase", "done", "total", "seconds_left")}
            workspace.tell({**event, "event": "learning", "running": True})
        elif event.get("event") == "done":
            run = event["result"]
            if run.get("decision") == "activated":
                run = await self._activated(workspace, run, before)
                event = {**event, "result": run}
            if "decision" in run:
                workspace.tell({"event": "learning", "running": False, "run": run})
        elif event.get("event") == "note":
            state["note"] = str(event.get("message"))
        elif event.get("event") == "problem":
            state["said"] = str(event.get("message"))
        return event

    async def _activated(self, workspace: "Workspace", run: Event, before: str) -> Event:
        """Has a new model take over; where it cannot, the one before stays, and the history says so. Gives the run."""
        try:
            if said := await take_over(self._daemon, workspace):
                workspace.tell({"event": "learning", "running": True, "problem": said})
        except (CodekinError, OSError) as error:
            reason = f"The new model could not take over, the old one serves on: {error}"
            log.warning("In a workspace: %s", reason)
            workspace.tell({"event": "learning", "running": True, "problem": reason})
            return await asyncio.to_thread(_taken_back, workspace, run["id"], before, reason)
        return run

    async def _through(self, workspace: "Workspace", asked_by: str, options: Mapping[str, Any]) -> None:
        async with aclosing(self.events(workspace, asked_by, options)) as events:
            async for event in events:
                if event.get("event") == "problem":
                    log.warning("Learning in a workspace failed: %s", event.get("message"))

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch_clock(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                await self.look_at_clock(datetime.now(UTC))
            except Exception:
                # The outermost loop: one bad workspace may not end the nights of all.
                log.exception("The clock could not be looked at.")

    async def look_at_clock(self, now: datetime, quiet: bool = False) -> list[str]:
        """Begins the runs that are due among the workspaces that were open lately, one after another; gives those.

        With `quiet` it is taken for granted that nobody works.
        """
        begun = []
        for root, since in self._remember(now).items():
            if self._states.get(root, {}).get("running") or not root.is_dir():
                continue
            due = await asyncio.to_thread(self._due, root, since, now, quiet)
            state = self._states.setdefault(root, {"running": False})
            state |= {"waits": due.waits, "problem": due.problem}
            if due.date:
                workspace = self._daemon.workspaces.get(root)
                self.start(workspace, "schedule", {"date": due.date})
                begun.append(str(root))
        return begun

    def _due(self, root: Path, since: datetime, now: datetime, quiet: bool) -> "Due":
        from codekin.learning import history, schedule  # noqa: PLC0415 - once a minute, off the loop
        from codekin.settings import load_settings  # noqa: PLC0415

        workspace = self._daemon.workspaces.open.get(root)
        settings = workspace.settings if workspace else load_settings(self._daemon.data, root, {})[0]
        machine = schedule.Machine(inf if quiet else self._daemon.activity.quiet_seconds(), schedule.on_battery())
        folder = places.learning_folder(self._daemon.data, root)
        try:
            return schedule.due(now, since, history.runs(folder, 30), settings.learning, machine)
        except CodekinError as error:
            return schedule.Due(waits=str(error))

    def _remember(self, now: datetime) -> dict[Path, datetime]:
        """The roots that were open lately and since when each is known; those open now are noted."""
        path = places.checkpoints_folder(self._daemon.data) / "roots.json"
        known = _read_roots(path)
        before = dict(known)
        for root in self._daemon.workspaces.open:
            first = known.get(str(root), (now.isoformat(), ""))[0]
            known[str(root)] = (first, now.date().isoformat())
        oldest = (now - REMEMBERED).date().isoformat()
        known = {root: times for root, times in known.items() if times[1] >= oldest}
        if known != before:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(known))
            fresh.replace(path)
        return {Path(root): datetime.fromisoformat(times[0]) for root, times in known.items()}


def _pointed(workspace: "Workspace") -> str:
    """The checkpoint that the workspace's pointer names."""
    from codekin.models import checkpoints  # noqa: PLC0415 - brings numpy

    return checkpoints.pointed(places.learning_folder(workspace.data, workspace.root))


def _taken_back(workspace: "Workspace", run: int, before: str, reason: str) -> Event:
    """Points back to what served, and notes why; gives the run as it is noted now."""
    from codekin.learning import history  # noqa: PLC0415 - only when needed
    from codekin.models import checkpoints  # noqa: PLC0415

    folder = places.learning_folder(workspace.data, workspace.root)
    checkpoints.point(folder, "active", before)
    return history.as_row(history.note_refusal(folder, run, reason), before)


def _read_roots(path: Path) -> dict[str, tuple[str, str]]:
    """First and last day by root; what cannot be read is as good as nothing."""
    try:
        found = json.loads(path.read_text())
        for first, _last in found.values():
            datetime.fromisoformat(first)
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
    return {root: (first, last) for root, (first, last) in found.items()}
