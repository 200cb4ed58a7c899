"""Hints from the file system, their holding back, the polling where none come, and the clock."""

import errno
import logging
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from codekin.ingest import schedule as schedule_module
from codekin.ingest import watch as watch_module
from codekin.ingest.mounts import needs_polling
from codekin.ingest.pending import EVERYTHING, LONGEST_SECONDS, QUIET_SECONDS, STORM_RATE, Pending
from codekin.ingest.schedule import POLL_SECONDS, Schedule
from codekin.ingest.watch import Hint, watch

MOUNTS = r"""22 1 0:20 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:30 / /home/me/net\040work rw - nfs4 server:/x rw
31 30 0:31 / /home/me/net\040work/local rw - ext4 /dev/sdb rw
32 22 0:32 / /mnt/c rw - 9p drvfs rw
"""


def hints_of(root: Path, act: Callable[[], object], wanted: Hint) -> set[Hint]:
    """All hints up to the wanted one."""
    hints: SimpleQueue[Hint] = SimpleQueue()
    watching = watch(root, hints.put)
    assert watching is not None
    act()
    seen: set[Hint] = set()
    try:
        while wanted not in seen:
            seen.add(hints.get(timeout=30))
    finally:
        watching.stop()
    return seen


def test_saves_moves_and_deletions_are_hinted(tmp_path: Path) -> None:
    """A save would be found only by the next scan, minutes later."""
    (tmp_path / "a.ex").write_text("1")
    (tmp_path / "b.ex").write_text("1")

    def act() -> None:
        (tmp_path / "a.ex").rename(tmp_path / "c.ex")
        (tmp_path / "b.ex").unlink()
        (tmp_path / "new").mkdir()
        (tmp_path / "last.ex").write_text("1")

    assert hints_of(tmp_path, act, "last.ex") >= {"a.ex", "c.ex", "b.ex", "new", "last.ex"}


def test_reading_is_no_change(tmp_path: Path) -> None:
    """The indexer's own reading would hint at itself for ever."""
    (tmp_path / "a.ex").write_text("1")

    def act() -> None:
        (tmp_path / "a.ex").read_text()
        (tmp_path / "last.ex").write_text("1")

    assert hints_of(tmp_path, act, "last.ex") == {"last.ex"}


def test_gits_own_files_hint_only_when_a_branch_is_switched(tmp_path: Path) -> None:
    """Git's churn is not the tree's, but a checkout's events may be lost."""
    (tmp_path / ".git").mkdir()

    def act() -> None:
        (tmp_path / ".git/index").write_text("x")
        (tmp_path / ".git/HEAD").write_text("ref: x")

    assert hints_of(tmp_path, act, None) == {None}


def test_an_overflow_asks_for_a_scan(tmp_path: Path) -> None:
    """watchdog tells of lost events in its log alone."""
    hints: SimpleQueue[Hint] = SimpleQueue()
    watching = watch(tmp_path, hints.put)
    assert watching is not None
    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed; filesystem events were lost")
    assert hints.get(timeout=10) is None
    watching.stop()
    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed")
    with pytest.raises(Empty):
        hints.get_nowait()


@pytest.mark.parametrize("failing", ["start", "probe"])
def test_no_watches_left_means_polling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """With the system's watches used up, changes would never be seen."""
    really = watch_module.Observer

    class Exhausted(really):  # type: ignore[misc, valid-type]
        def start(self) -> None:
            recursive = next(iter(self._watches)).is_recursive
            if recursive == (failing == "start"):
                raise OSError(errno.ENOSPC, "inotify watch limit reached")
            super().start()

    monkeypatch.setattr(watch_module, "Observer", Exhausted)
    assert watch(tmp_path, lambda _path: None) is None


def test_silent_file_systems_are_told_apart(tmp_path: Path) -> None:
    """On a network mount the changes of others come without an event."""
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    asked = {
        path: needs_polling(Path(path), table) for path in ("/home/me", "/home/me/net work/a", "/mnt/c/x", "/mnt/cd")
    }
    assert asked == {"/home/me": False, "/home/me/net work/a": True, "/mnt/c/x": True, "/mnt/cd": False}
    assert not needs_polling(Path("/home/me/net work/local/x"), table)
    assert not needs_polling(tmp_path, tmp_path / "missing")


def test_paths_are_held_back_until_quiet() -> None:
    """A file would be read while the editor is still writing it."""
    pending = Pending()
    assert pending.wait(10.0) is None
    pending.add("a", 10.0)
    pending.add("b", 10.2)
    pending.add("a", 10.2)
    assert pending.take(10.2 + QUIET_SECONDS - 0.01) == []
    assert pending.take(10.2 + QUIET_SECONDS) == ["a", "b"]
    assert not pending


def test_a_path_that_never_rests_is_taken_all_the_same() -> None:
    """A log beside the code would keep saves from being seen."""
    pending = Pending()
    for tick in range(10):
        pending.add("a", 10.0 + tick / 10)
    assert pending.take(10.0 + LONGEST_SECONDS) == ["a"]


def test_a_storm_becomes_one_scan() -> None:
    """In a burst events are lost, and the list of paths would grow without end."""
    pending = Pending()
    for number in range(STORM_RATE + 1):
        pending.add(f"f{number}", 10.0)
    pending.add("one more", 10.1)
    assert pending.take(13.0) == [EVERYTHING]


def test_the_tree_is_compared_now_and_then() -> None:
    """What no event told of would stay wrong for good."""
    schedule = Schedule(every=600.0)
    now = time.monotonic()
    assert schedule.is_due(now)
    schedule.done(now + 1)
    assert not schedule.is_due(now + 599)
    assert schedule.is_due(now + 602)


def test_a_machine_that_has_just_started_compares_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The monotonic clock counts from there, and an interval is longer than that."""
    monkeypatch.setattr(schedule_module.time, "monotonic", lambda: 5.0)
    assert Schedule(every=600.0).is_due(5.0)


def test_polling_takes_a_small_share_of_the_time() -> None:
    """On a slow mount polling would never stop reading."""
    now = time.monotonic()
    for took, expected in ((0.01, POLL_SECONDS), (3.0, 60.0)):
        schedule = Schedule(every=600.0, polling=True)
        assert schedule.is_due(now)
        schedule.done(now + took)
        assert not schedule.is_due(now + took + expected - 0.1)
        assert schedule.is_due(now + took + expected + 0.1)


def test_waking_up_compares_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the machine slept, a network share or another system may have changed the tree."""
    now = time.monotonic()
    schedule = Schedule(every=600.0)
    assert schedule.is_due(now)
    schedule.done(now)
    assert not schedule.is_due(now + 1)
    really = time.time
    monkeypatch.setattr(schedule_module.time, "time", lambda: really() + 3600)
    assert schedule.is_due(now + 2)
    schedule.done(now + 2)
    assert not schedule.is_due(now + 3)
