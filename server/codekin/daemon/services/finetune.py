"""Runs fine-tuning, one run at a time, started by the user or the scheduler, and then switches the model."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin import paths
from codekin.daemon.process.children import ChildEvent, finetune_events
from codekin.daemon.services.context import Priority, ServiceContext
from codekin.daemon.services.heavy import finetune_records
from codekin.daemon.services.workspaces import INDEXING_STATES, OpenWorkspace
from codekin.errors import CodekinError
from codekin.models.planner import require_torch
from codekin.util.files import write_atomically

if TYPE_CHECKING:
    from codekin.daemon.services.finetune_records import FinetuneRecords

log = logging.getLogger(__name__)

SCHEDULE_CHECK_SECONDS = 60.0
BASE = "base"
"""What the pointer names where the model serves as it came."""

MAX_WORKSPACE_AGE = timedelta(days=14)
"""A workspace that was not opened for longer has no scheduled run."""


FitGate = Callable[[OpenWorkspace], Awaitable[None]]
"""What else a workspace learns in a run: from the outcomes of its suggestions."""


class FinetuneService:
    """The fine-tuning of all workspaces of one daemon; lives on its event loop."""

    name = "finetune"

    def __init__(self, context: ServiceContext, fit_gate: FitGate | None = None) -> None:
        self._context, self._fit_gate = context, fit_gate
        self._run_lock = asyncio.Lock()
        self._states: dict[Path, dict[str, Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way or waits for its turn."""
        return any(state.get("running") for state in self._states.values())

    def status(self, workspace: OpenWorkspace | None) -> dict[str, Any]:
        """For a workspace's status: running, phase, done, total; why the last run came to nothing, or none begins.

        `last_problem` is of the last run, `waiting_for` of the next scheduled one, `problem` of repeated scheduled
        failures.
        """
        if workspace is None:
            return {"running": self.is_busy}
        return dict(self._states.get(workspace.root, {"running": False}))

    async def open(self) -> None:
        """Begins to look at the clock."""
        self._spawn(self._run_schedule())

    async def close(self) -> None:
        """Ends what runs; a run that is stopped leaves the active model as it was."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, workspace: OpenWorkspace, trigger: str, options: Mapping[str, Any]) -> None:
        """Fine-tunes in the background. Raises ModelError where what trains is not installed."""
        require_torch("Fine-tuning")
        self._spawn(self._run_to_end(workspace, trigger, options))

    async def events(
        self, workspace: OpenWorkspace, trigger: str, options: Mapping[str, Any]
    ) -> AsyncGenerator[ChildEvent, None]:
        """Fine-tunes when it is this run's turn, and gives its progress; the last event is `done` or `problem`.

        Raises ModelError where what trains is not installed.
        """
        require_torch("Fine-tuning")
        state = self._states[workspace.root] = {"running": True, "phase": "waiting", "done": 0, "total": 0}
        try:
            async with self._run_lock, workspace.subscribe() as queue:
                while workspace.state in INDEXING_STATES:
                    await queue.get()
                if self._fit_gate is not None:
                    await self._fit_gate(workspace)
                previous = await asyncio.to_thread((await self._load_records(workspace.root)).active)
                arguments = {"triggered_by": trigger, **options, "settings": json.dumps(dict(workspace.overrides))}
                quiet = self._context.activity.quiet_seconds
                async with aclosing(finetune_events(workspace.data, workspace.root, arguments, quiet)) as events:
                    async for event in events:
                        yield await self._handle_event(workspace, state, event, previous)
                if state.get("last_problem") and not options.get("triplets"):
                    workspace.send({"event": "finetune", "running": False, "problem": state["last_problem"]})
        finally:
            state["running"] = False
            workspace.send({"event": "finetune", "running": False})

    async def roll_back(self, workspace: OpenWorkspace, checkpoint: str | None) -> str:
        """Makes that checkpoint (None: the one that served before) the active one; gives its id or "base".

        Raises CheckpointError where it is refused; the one that serves then serves on.
        """
        records = await self._load_records(workspace.root)
        async with self._run_lock:
            previous = await asyncio.to_thread(records.active)
            name = await asyncio.to_thread(records.point_back, checkpoint)
            try:
                problem_message = await switch_model(self._context, records, workspace)
            except (CodekinError, OSError):
                await asyncio.to_thread(records.activate, previous)
                raise
            await asyncio.to_thread(records.record_rollback, name)
            workspace.forget_refused()
        if problem_message:
            workspace.send({"event": "finetune", "running": False, "problem": problem_message})
        return name

    async def _handle_event(
        self, workspace: OpenWorkspace, state: dict[str, Any], event: ChildEvent, previous: str
    ) -> ChildEvent:
        """Records an event in the status, loads the new model where one took over, and notifies the listeners."""
        if event.get("event") == "progress":
            state |= {name: event.get(name) for name in ("phase", "done", "total", "seconds_left")}
            workspace.send({**event, "event": "finetune", "running": True})
        elif event.get("event") == "done":
            run = event["result"]
            if run.get("decision") == "activated":
                run = await self._take_over_model(workspace, run, previous)
                event = {**event, "result": run}
            if "decision" in run:
                workspace.send({"event": "finetune", "running": False, "run": run})
        elif event.get("event") == "note":
            state["note"] = str(event.get("message"))
        elif event.get("event") == "problem":
            state["last_problem"] = str(event.get("message"))
        return event

    async def _take_over_model(self, workspace: OpenWorkspace, run: ChildEvent, previous: str) -> ChildEvent:
        """Activates a new model; where that fails the previous one stays, recorded in the history. Returns the run."""
        records = await self._load_records(workspace.root)
        try:
            if problem_message := await switch_model(self._context, records, workspace):
                workspace.send({"event": "finetune", "running": True, "problem": problem_message})
            workspace.forget_refused()
        except (CodekinError, OSError) as error:
            reason = f"The new model could not take over, the old one serves on: {error}"
            log.warning("In a workspace: %s", reason)
            workspace.send({"event": "finetune", "running": True, "problem": reason})
            return dict(await asyncio.to_thread(records.restore, run["id"], previous, reason))
        return run

    async def _run_to_end(self, workspace: OpenWorkspace, trigger: str, options: Mapping[str, Any]) -> None:
        async with aclosing(self.events(workspace, trigger, options)) as events:
            async for event in events:
                if event.get("event") == "problem":
                    log.warning("Fine-tuning a workspace failed: %s", event.get("message"))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_schedule(self) -> None:
        while True:
            await asyncio.sleep(SCHEDULE_CHECK_SECONDS)
            try:
                await self.start_due_runs(datetime.now(UTC))
            except Exception:
                # The outermost loop: one bad workspace may not end the schedule of all.
                log.exception("The fine-tuning schedule could not be checked.")

    async def start_due_runs(self, now: datetime, quiet: bool = False) -> list[str]:
        """Begins the runs that are due among the workspaces that were open recently, one after another; gives those.

        `quiet` skips the check that the user is idle.
        """
        started = []
        for root, since in self._known_workspaces(now).items():
            if self._states.get(root, {}).get("running") or not root.is_dir():
                continue
            try:
                if await self._start_if_due(root, since, now, quiet=quiet):
                    started.append(str(root))
            except Exception:
                # The outermost loop of each workspace: an error in one does not stop the others.
                log.exception("The fine-tuning schedule of a workspace could not be checked.")
        return started

    def known_roots(self) -> list[Path]:
        """The workspaces that were open recently."""
        return list(self._known_workspaces(datetime.now(UTC)))

    async def remembered_questions(self, root: Path, questions: Sequence[str]) -> tuple[str, ...]:
        """The user's own questions about a workspace; new ones take the place of the last. Raises UsageError."""
        records = await self._load_records(root)
        return await asyncio.to_thread(records.questions, tuple(questions))

    async def history(self, root: Path) -> dict[str, Any]:
        """The runs of a workspace, newest first, and its active checkpoint."""
        records = await self._load_records(root)
        return await asyncio.to_thread(records.runs, close_interrupted=not self.is_busy)

    async def _start_if_due(self, root: Path, since: datetime, now: datetime, *, quiet: bool) -> bool:
        """Starts the run of one workspace if it is due; its status shows what it waits for."""
        records = await self._load_records(root)
        due = await asyncio.to_thread(records.due_run, root, since, now, quiet=quiet)
        state = self._states.setdefault(root, {"running": False})
        state |= {"waiting_for": due.waiting_for, "problem": due.problem}
        if due.date:
            self.start(self._context.workspaces.get(root), "schedule", {"date": due.date})
        return bool(due.date)

    async def _load_records(self, root: Path) -> "FinetuneRecords":
        return await asyncio.to_thread(finetune_records, self._context, root)

    def _known_workspaces(self, now: datetime) -> dict[Path, datetime]:
        """The roots that were open recently and since when each is known; a time in the future becomes now."""
        path = paths.checkpoints_dir(self._context.data) / "roots.json"
        known = _read_known_roots(path)
        previous = dict(known)
        for root in self._context.workspaces.open:
            first = known.get(str(root), (now.isoformat(), ""))[0]
            known[str(root)] = (first, now.date().isoformat())
        known = {root: _not_after(now, times) for root, times in known.items()}
        oldest = (now - MAX_WORKSPACE_AGE).date().isoformat()
        known = {root: times for root, times in known.items() if times[1] >= oldest}
        if known != previous:
            write_atomically(path, json.dumps(known))
        return {Path(root): datetime.fromisoformat(times[0]) for root, times in known.items()}


def describe_rollback(workspace: OpenWorkspace, active: str) -> dict[str, str]:
    """What a rollback did, in words: {"message", "active"}."""
    named = "the model as it came" if active == BASE else f"checkpoint {active}"
    when = "once all is embedded anew, and as before until then" if workspace.state == "indexing" else "from now on"
    return {"message": f"{workspace.root.name} is searched with {named} {when}.", "active": active}


def _not_after(now: datetime, times: tuple[str, str]) -> tuple[str, str]:
    """First and last day of a workspace, neither after `now`, as they are once the clock was set back."""
    first, last = times
    return (first if datetime.fromisoformat(first) <= now else now.isoformat()), min(last, now.date().isoformat())


def _read_known_roots(path: Path) -> dict[str, tuple[str, str]]:
    """First and last day by root; empty where the file cannot be read."""
    try:
        found = json.loads(path.read_text())
        for first, _last in found.values():
            datetime.fromisoformat(first)
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
    return {root: (first, last) for root, (first, last) in found.items()}


SWITCH_TIMEOUT_SECONDS = 60.0
"""How long the indexer may take to move all vectors until it is called slow; it goes on."""


QUIET_EVENT_SECONDS = 0.25
"""The indexer reports each step of the move; a small one may be over before it reports anything."""


async def switch_model(context: ServiceContext, records: "FinetuneRecords", workspace: OpenWorkspace) -> str:
    """Has the indexer move the vectors, and waits until they serve; a sentence where they do not in time.

    Raises CodekinError where what the pointer names cannot be opened; what served serves on.
    """
    await asyncio.to_thread(records.open_active)
    if workspace.indexer is None or workspace.pid is None:
        return ""  # the next indexer finds the pointer moved
    if await asyncio.to_thread(records.changes_encoder, workspace):
        workspace.state = "indexing"
        workspace.indexer.restart()  # it opens another encoder then, and the old space serves until all is embedded
        return ""
    before = workspace.current_problems()
    workspace.indexer.send({"do": "head"})
    try:
        async with asyncio.timeout(SWITCH_TIMEOUT_SECONDS):
            await _wait_until_serving(context, records, workspace)
    except TimeoutError:
        reasons = " ".join(problem for problem in workspace.current_problems() if problem not in before)
        return f"The new model does not serve yet, the old one does. {reasons or 'Its vectors are being moved.'}"
    workspace.send({"event": "model"})
    return ""


async def _wait_until_serving(context: ServiceContext, records: "FinetuneRecords", workspace: OpenWorkspace) -> None:
    async with workspace.subscribe() as events:
        while not await context.workers.run(Priority.QUERY, records.is_serving, workspace):
            try:
                await asyncio.wait_for(events.get(), QUIET_EVENT_SECONDS)
            except TimeoutError:
                continue
