"""What the editor shows about Codekin: one state for the window, told when it changes.

Knows the states of the folders and how they sum up; nothing of how they came about.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

WORKING = ("starting", "indexing")
"""States of a workspace, in the daemon's words, in which its answers may still be incomplete."""

Kind = Literal["Normal", "Error", "Warning", "Inactive"]


@dataclass(frozen=True, slots=True)
class FolderState:
    """One workspace folder; `done` of `total` files are indexed while `total` is above 0.

    `lost` and `problem` are sentences, empty when all is well; `about` is what the daemon
    last said of the workspace.
    """

    name: str
    root: str
    connected: bool = False
    lost: str = ""
    problem: str = ""
    done: int = 0
    total: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """The window's state, in the form that Copilot's language server made usual."""

    busy: bool
    message: str
    kind: Kind
    folders: tuple[FolderState, ...] = ()

    def as_params(self) -> dict[str, Any]:
        """The params of `codekin/status`."""
        return {**asdict(self), "folders": [asdict(folder) for folder in self.folders]}


class StatusBoard:
    """Keeps the folders' states and sends the sum when it is another than before."""

    def __init__(self, send: Callable[[Status], None]) -> None:
        self._send = send
        self._states: dict[str, FolderState] = {}
        self._sent: Status | None = None
        self._problem = ""

    @property
    def current(self) -> Status:
        """The state now."""
        return summary(self._states.values(), self._problem)

    def update(self, root: str, **changes: Any) -> None:
        """Change a folder's state; an unknown folder begins as one that is not connected."""
        state = self._states.get(root) or FolderState(name=changes.get("name", root), root=root)
        self._states[root] = replace(state, **changes)
        self._tell()

    def remove(self, root: str) -> None:
        """Forget a folder."""
        self._states.pop(root, None)
        self._tell()

    def complain(self, problem: str) -> None:
        """A problem of the whole window, such as a wrong setting; an empty one withdraws it."""
        self._problem = problem
        self._tell()

    def _tell(self) -> None:
        status = self.current
        if status != self._sent:
            self._sent = status
            self._send(status)


def summary(states: Iterable[FolderState], problem: str = "") -> Status:
    """The worst comes first: a lost daemon, then a problem, then work under way."""
    folders = tuple(states)
    if not folders:
        return Status(False, problem or "Open a folder to use Codekin.", "Warning" if problem else "Inactive")
    total, done = sum(state.total for state in folders), sum(state.done for state in folders)
    busy = total > 0 or any(_is_starting(state) for state in folders)
    if lost := next((state.lost for state in folders if state.lost), ""):
        return Status(True, lost, "Error", folders)
    if trouble := problem or next((state.problem for state in folders if state.problem), ""):
        return Status(busy, trouble, "Warning", folders)
    if total:
        return Status(True, f"Indexing: {done} of {total} files.", "Normal", folders)
    return Status(busy, "Codekin is starting." if busy else "Codekin is ready.", "Normal", folders)


def _is_starting(state: FolderState) -> bool:
    return not state.connected or state.about.get("state", WORKING[0]) in WORKING
