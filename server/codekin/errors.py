"""The exception tree; every message is one sentence with the remedy.

CodekinError
├── UsageError          wrong arguments, paths or data from the user
├── SettingsError       a settings file or an option has a wrong key or type
├── ModelError          a model is unknown, absent, refused or does not fit
│   ├── ModelNotFoundError no model of that name is known, or on this machine
│   └── CheckpointError a checkpoint is corrupt, foreign or not finite
├── StoreError          an index file is unusable and could not be repaired
├── DaemonError         the daemon cannot be started, reached or understood
├── HttpError           a server cannot be reached, or responds with a failure
├── FinetuneError       a fine-tuning run cannot start or was refused
│   └── NothingToTrainError  too little code, or nothing new
└── Cancelled           the request was cancelled; never shown to a user
"""

import errno


class CodekinError(Exception):
    """Root of the tree; `str(error)` is the sentence shown to the user."""


class UsageError(CodekinError):
    """Wrong arguments, paths or data handed in by the user."""


class SettingsError(CodekinError):
    """A settings file or an option has a wrong key or type."""


class ModelError(CodekinError):
    """A model is unknown, absent, refused or does not fit."""


class ModelNotFoundError(ModelError):
    """No model of that name is known, or on this machine."""


class CheckpointError(ModelError):
    """A checkpoint is corrupt, foreign or not finite."""


class StoreError(CodekinError):
    """An index file cannot be used and could not be repaired."""


class DaemonError(CodekinError):
    """The daemon cannot be started, reached or understood."""


class HttpError(CodekinError):
    """A server cannot be reached, or answers with a failure.

    `status` is its HTTP status, 0 where no answer came; `kind` the error's name if it gave one.
    """

    def __init__(self, message: str, status: int = 0, kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class FinetuneError(CodekinError):
    """A fine-tuning run cannot start or was refused."""


class NothingToTrainError(FinetuneError):
    """There is too little code, or nothing new in it; a scheduled run skips quietly."""


class Cancelled(CodekinError):  # noqa: N818 - a cancellation is no failure
    """The request was cancelled."""


_DISK_ADVICE = {
    errno.ENOSPC: "free some space, or choose another data folder with CODEKIN_DATA_DIR",
    errno.EDQUOT: "free some space, or choose another data folder with CODEKIN_DATA_DIR",
    errno.EROFS: "make it writable, or choose another data folder with CODEKIN_DATA_DIR",
    errno.EACCES: "give yourself access to it, or choose another one",
    errno.EPERM: "give yourself access to it, or choose another one",
    errno.EMFILE: "close other programs, or raise `ulimit -n`",
    errno.ENFILE: "close other programs, or raise the system's limit on open files",
}


def describe_os_error(error: OSError, where: object = "") -> str:
    """What the system refused and what to do about it, in one sentence; `where` is named if the error names no file."""
    subject = error.filename if isinstance(error.filename, str) else where
    what = f"{subject} cannot be used: {error.strerror or error}" if subject else f"{error.strerror or error}"
    return f"{what}; {_DISK_ADVICE.get(error.errno or 0, 'run `codekin doctor` to find out why')}."


_DISK_WORDS = {
    "No space left": errno.ENOSPC,
    "disk is full": errno.ENOSPC,
    "quota": errno.EDQUOT,
    "Read-only file system": errno.EROFS,
    "readonly database": errno.EROFS,
}


def describe_store_error(what: str, error: Exception) -> str:
    """What a library could not do with a file and, where the disk is the reason, what helps, in one sentence."""
    number = next((number for words, number in _DISK_WORDS.items() if words in str(error)), None)
    return f"{what} ({error}); {_DISK_ADVICE[number]}." if number else f"{what} ({error})"
