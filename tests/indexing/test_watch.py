"""Hints from the file system, their holding back, the polling where none come, and the clock."""

import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from codekin.indexing import reconciliation as schedule_module
from codekin.indexing import watch as watch_module
from codekin.indexing.reconciliation import (
    MAX_WAIT_SECONDS,
    POLL_SECONDS,
    QUIET_SECONDS,
    STORM_RATE,
    WHOLE_TREE,
    PendingPaths,
    ReconciliationSchedule,
)
from codekin.indexing.watch import ChangeHint, WatchFailure, start_watch
from codekin.util.process import needs_polling

MOUNTS = r"""22 1 0:20 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:30 / /home/me/net\040work rw - nfs4 server:/x rw
31 30 0:31 / /home/me/net\040work/local rw - ext4 /dev/sdb rw
32 22 0:32 / /mnt/c rw - 9p drvfs rw
"""


def hints_of(root: Path, act: Callable[[], object], wanted: ChangeHint) -> set[ChangeHint]:
    """All hints up to the wanted one."""
    hints: SimpleQueue[ChangeHint] = SimpleQueue()
    watching = start_watch(root, hints.put)
    assert not isinstance(watching, WatchFailure)
    act()
    seen: set[ChangeHint] = set()
    try:
        while wanted not in seen:
            seen.add(hints.get(timeout=30))
    finally:
        watching.stop()
    return seen


def test_saves_moves_and_deletions_are_hinted(tmp_path: Path) -> None:
    """Saved, moved and deleted files are reported as events."""
    (tmp_path / "a.ex").write_text("1")
    (tmp_path / "b.ex").write_text("1")

    def act() -> None:
        (tmp_path / "a.ex").rename(tmp_path / "c.ex")
        (tmp_path / "b.ex").unlink()
        (tmp_path / "new").mkdir()
        (tmp_path / "last.ex").write_text("1")

    assert hints_of(tmp_path, act, "last.ex") >= {"a.ex", "c.ex", "b.ex", "new", "last.ex"}


def test_reading_is_no_change(tmp_path: Path) -> None:
    """Reading a file causes no event."""
    (tmp_path / "a.ex").write_text("1")

    def act() -> None:
        (tmp_path / "a.ex").read_text()
        (tmp_path / "last.ex").write_text("1")

    assert hints_of(tmp_path, act, "last.ex") == {"last.ex"}


def test_gits_own_files_hint_only_where_they_say_what_counts(tmp_path: Path) -> None:
    """Git's churn is not the tree's; its index says what it tracks, and a checkout's events may be lost."""
    (tmp_path / ".git").mkdir()

    def act() -> None:
        (tmp_path / ".git/index").write_text("x")
        (tmp_path / ".git/COMMIT_EDITMSG").write_text("x")
        (tmp_path / ".git/HEAD").write_text("ref: x")

    assert hints_of(tmp_path, act, None) == {".git/index", None}


def test_an_overflow_asks_for_a_scan(tmp_path: Path) -> None:
    """A log record of watchdog about lost events starts a scan."""
    hints: SimpleQueue[ChangeHint] = SimpleQueue()
    watching = start_watch(tmp_path, hints.put)
    assert not isinstance(watching, WatchFailure)
    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed; filesystem events were lost")
    assert hints.get(timeout=10) is None
    watching.stop()
    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed")
    with pytest.raises(Empty):
        hints.get_nowait()


@pytest.mark.parametrize("failing", ["start", "probe"])
@pytest.mark.parametrize(
    ("number", "told"),
    [(errno.ENOSPC, "max_user_watches"), (errno.EMFILE, "max_user_instances"), (errno.EACCES, "Permission denied")],
)
def test_a_watch_that_fails_says_its_true_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, number: int, told: str
) -> None:
    """Advice that fits another cause would mislead."""
    really = watch_module.Observer

    class Exhausted(really):  # type: ignore[misc, valid-type]
        def start(self) -> None:
            recursive = next(iter(self._watches)).is_recursive
            if recursive == (failing == "start"):
                raise OSError(number, os.strerror(number))
            super().start()

    monkeypatch.setattr(watch_module, "Observer", Exhausted)
    failure = start_watch(tmp_path, lambda _path: None)
    assert isinstance(failure, WatchFailure)
    assert told in failure.sentence


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    """A missing folder is no lack of watches."""
    failure = start_watch(tmp_path / "gone", lambda _path: None)
    assert isinstance(failure, WatchFailure)
    assert str(tmp_path / "gone") in failure.sentence
    assert "watches left" not in failure.sentence


def test_silent_file_systems_are_distinguished(tmp_path: Path) -> None:
    """On a network mount the changes of others come without an event."""
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    polled = {
        path: needs_polling(Path(path), table) for path in ("/home/me", "/home/me/net work/a", "/mnt/c/x", "/mnt/cd")
    }
    assert polled == {"/home/me": False, "/home/me/net work/a": True, "/mnt/c/x": True, "/mnt/cd": False}
    assert not needs_polling(Path("/home/me/net work/local/x"), table)
    assert not needs_polling(tmp_path, tmp_path / "missing")


def test_paths_are_held_back_until_quiet() -> None:
    """A path is reported once it has been quiet."""
    pending = PendingPaths()
    assert pending.wait(10.0) is None
    pending.add("a", 10.0)
    pending.add("b", 10.2)
    pending.add("a", 10.2)
    assert pending.take(10.2 + QUIET_SECONDS - 0.01) == []
    assert pending.take(10.2 + QUIET_SECONDS) == ["a", "b"]
    assert not pending


def test_a_path_that_never_rests_is_taken_all_the_same() -> None:
    """A path that keeps changing is reported after the longest wait."""
    pending = PendingPaths()
    for tick in range(10):
        pending.add("a", 10.0 + tick / 10)
    assert pending.take(10.0 + MAX_WAIT_SECONDS) == ["a"]


def test_a_storm_becomes_one_scan() -> None:
    """A burst of events is replaced by one scan."""
    pending = PendingPaths()
    for number in range(STORM_RATE + 1):
        pending.add(f"f{number}", 10.0)
    pending.add("one more", 10.1)
    assert pending.take(13.0) == [WHOLE_TREE]


def test_the_tree_is_compared_now_and_then() -> None:
    """The tree is scanned again after each interval, with or without events."""
    schedule = ReconciliationSchedule(every=600.0)
    now = time.monotonic()
    assert schedule.is_due(now)
    schedule.done(now + 1)
    assert not schedule.is_due(now + 599)
    assert schedule.is_due(now + 602)


def test_a_machine_that_has_just_started_compares_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The monotonic clock counts from there, and an interval is longer than that."""
    monkeypatch.setattr(schedule_module.time, "monotonic", lambda: 5.0)
    assert ReconciliationSchedule(every=600.0).is_due(5.0)


def test_polling_takes_a_small_share_of_the_time() -> None:
    """Polling uses a small share of the time, however slow the disk is."""
    now = time.monotonic()
    for took, expected in ((0.01, POLL_SECONDS), (3.0, 60.0)):
        schedule = ReconciliationSchedule(every=600.0, polling=True)
        assert schedule.is_due(now)
        schedule.done(now + took)
        assert not schedule.is_due(now + took + expected - 0.1)
        assert schedule.is_due(now + took + expected + 0.1)


def test_waking_up_compares_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the machine slept, a network share or another system may have changed the tree."""
    now = time.monotonic()
    schedule = ReconciliationSchedule(every=600.0)
    assert schedule.is_due(now)
    schedule.done(now)
    assert not schedule.is_due(now + 1)
    really = time.time
    monkeypatch.setattr(schedule_module.time, "time", lambda: really() + 3600)
    assert schedule.is_due(now + 2)
    schedule.done(now + 2)
    assert not schedule.is_due(now + 3)
