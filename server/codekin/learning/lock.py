"""One learner for each user at a time, by a lock that dies with its holder. Knows nothing of what it guards."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codekin import places
from codekin.errors import LearningError

PATIENCE = 5.0
"""Seconds for a learner that was just stopped to be gone."""


@contextmanager
def one_learner(data: Path) -> Iterator[None]:
    """Holds the lock of the data folder. Raises LearningError while another learner has it."""
    folder = places.checkpoints_folder(data)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / "learner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LearningError("Another learning run is under way: wait for it, or stop it.") from None
            time.sleep(0.05)
        else:
            return
