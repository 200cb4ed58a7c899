"""The exception tree: every message is one sentence that says what to do.

CodekinError
├── UsageError          wrong arguments, paths or data handed in by the user
├── SettingsError       a settings file or an option has a wrong key or type
├── ModelError          a model is unknown, absent, refused or does not fit
│   └── CheckpointError a checkpoint is corrupt, foreign or not finite
├── StoreError          an index file cannot be used and could not be repaired
├── DaemonError         the daemon cannot be started, reached or understood
├── WireError           a server cannot be reached, or answers with a failure
├── LearningError       a learning run cannot start or was refused
│   └── NothingToLearnError  too little code, or nothing new
└── Cancelled           the request was withdrawn; never shown to a user
"""


class CodekinError(Exception):
    """Root of the tree; `str(error)` is the sentence shown to the user."""


class UsageError(CodekinError):
    """Wrong arguments, paths or data handed in by the user."""


class SettingsError(CodekinError):
    """A settings file or an option has a wrong key or type."""


class ModelError(CodekinError):
    """A model is unknown, absent, refused or does not fit."""


class CheckpointError(ModelError):
    """A checkpoint is corrupt, foreign or not finite."""


class StoreError(CodekinError):
    """An index file cannot be used and could not be repaired."""


class DaemonError(CodekinError):
    """The daemon cannot be started, reached or understood."""


class WireError(CodekinError):
    """A server cannot be reached, or answers with a failure.

    `status` is its HTTP status, 0 where no answer came; `kind` the error's name if it gave one.
    """

    def __init__(self, message: str, status: int = 0, kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class LearningError(CodekinError):
    """A learning run cannot start or was refused."""


class NothingToLearnError(LearningError):
    """There is too little code, or nothing new in it: by night that is no trouble."""


class Cancelled(CodekinError):  # noqa: N818 - a withdrawal is no error of anybody's
    """The request was withdrawn."""
