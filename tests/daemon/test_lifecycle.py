"""The daemon's life as real processes: one leader, replaced when outdated, gone when idle or killed."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from codekin import paths
from codekin.daemon.client import AsyncDaemonClient, DaemonClient
from codekin.daemon.process import build, startup
from codekin.errors import DaemonError
from daemons import daemons_of, eventually, indexers_of, kill, processes_of

CONNECT = "from codekin.daemon.client import DaemonClient; print(DaemonClient.connect().greeting['pid'])"


def leave_stale_socket(data: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(paths.socket_path(data)))


def test_twenty_clients_over_a_stale_socket_start_one_daemon(data):
    """All windows share one daemon, whatever socket was left behind."""
    leave_stale_socket(data)
    clients = [subprocess.Popen([sys.executable, "-c", CONNECT], stdout=subprocess.PIPE, text=True) for _ in range(20)]
    responses = [client.communicate(timeout=100)[0].strip() for client in clients]
    assert {client.returncode for client in clients} == {0}
    assert set(responses) == {str(pid) for pid in daemons_of(data)}
    assert len(set(responses)) == 1


def test_daemons_that_race_leave_one_leader(data):
    """Of daemons that are spawned together one leads, and the others leave."""
    command = [sys.executable, "-P", "-m", "codekin.daemon", "--data-dir", str(data)]
    racers = [subprocess.Popen(command) for _ in range(6)]
    eventually(lambda: sum(racer.poll() is None for racer in racers) == 1)
    with DaemonClient.connect(start=False) as client:
        assert [client.greeting["pid"]] == [racer.pid for racer in racers if racer.poll() is None]
        client.post("/shutdown")
    assert [racer.wait(30) for racer in racers] == [0] * 6


def test_the_socket_and_its_folder_are_private(data):
    """Only the user may connect."""
    with DaemonClient.connect():
        path = paths.socket_path(data)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_the_daemon_writes_is_the_users_alone(data, root):
    """Indexes, logs and keys are 0600 in folders of 0700, whatever the umask, also where they were open before."""
    (data / "logs").mkdir(mode=0o755)
    before = os.umask(0)
    try:
        with DaemonClient.connect() as client:
            list(client.lines("/index", {"root": str(root)}))
            written = [path for path in data.rglob("*") if path.exists()]
    finally:
        os.umask(before)
    assert len(written) > 5
    assert [path for path in written if path.stat().st_mode & 0o077] == []


def test_a_killed_daemon_is_started_again_by_the_next_call(data, root):
    """A crash costs a client one call's delay."""
    with DaemonClient.connect() as client:
        first = client.greeting["pid"]
        client.post("/workspaces/open", {"root": str(root)})
        eventually(lambda: client.get("/status", root=str(root))["state"] == "ready")
        os.kill(first, signal.SIGKILL)
        assert client.get("/status", root=str(root))["root"] == str(root)
        assert client.greeting["pid"] != first
    eventually(lambda: len(indexers_of(data)) == 1)


@pytest.mark.parametrize("pause", [0.0, 0.1, 0.4, 1.0])
def test_nothing_stays_behind_a_killed_daemon(data, root, pause):
    """The indexers of a dead daemon end with it."""
    with DaemonClient.connect(start=True) as client:
        client.post("/workspaces/open", {"root": str(root)})
        threading.Event().wait(pause)
        os.kill(client.greeting["pid"], signal.SIGKILL)
    eventually(lambda: not processes_of(data))


def test_a_killed_indexer_is_started_again(data, root):
    """The index follows the files after a crash of its indexer."""
    with DaemonClient.connect() as client:
        client.post("/workspaces/open", {"root": str(root)})
        eventually(lambda: client.get("/status", root=str(root))["state"] == "ready")
        (first,) = indexers_of(data)
        kill(first)
        (root / "gamma.ex").write_text("defmodule Gamma do\n  def late(x), do: x + 1\n  def later(x), do: x + 2\nend\n")
        eventually(lambda: client.get("/status", root=str(root))["files"] == 3)
        assert first not in indexers_of(data)


def test_a_killed_client_leaves_other_clients_unaffected(data, root):
    """The daemon outlives a window's crash."""
    code = f"{CONNECT}; import time; list(DaemonClient.connect().lines('/events?root={root}', method='GET'))"
    with DaemonClient.connect() as client:
        victim = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        victim.stdout.readline()
        victim.kill()
        victim.communicate()
        assert client.get("/handshake")["pid"] == client.greeting["pid"]


def test_an_older_daemon_is_replaced_and_a_newer_one_used(data, monkeypatch):
    """After an upgrade the new code answers, and two versions do not restart each other."""
    pids = []
    for number in ("1.0.0+100+old", "1.0.1+200+new", "1.0.0+100+old"):
        monkeypatch.setenv("CODEKIN_BUILD", number)
        build.this_build.cache_clear()
        with DaemonClient.connect() as client:
            pids.append(client.greeting["pid"])
    build.this_build.cache_clear()
    assert pids[0] != pids[1] == pids[2]
    eventually(lambda: daemons_of(data) == [pids[1]])


def test_a_newer_daemon_of_another_protocol_is_named(data, monkeypatch):
    """A window of an older version gets a message to restart."""
    monkeypatch.setattr(build, "this_build", lambda: build.Build("0.9", 1, "x", protocol=0))
    with pytest.raises(DaemonError, match="restart this window"):
        DaemonClient.connect()
    assert len(daemons_of(data)) == 1


def test_a_daemon_that_hangs_is_named_not_waited_for(data, monkeypatch):
    """A daemon that does not answer is an error that says how to end it."""
    with DaemonClient.connect() as client:
        pid = client.greeting["pid"]
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(startup, "SILENCE_SECONDS", 0.3)
    with pytest.raises(DaemonError, match="codekin daemon stop"):
        DaemonClient.connect()
    assert startup.listener_pid(data) == pid


def test_a_daemon_that_takes_no_more_connections_is_named_and_found(data):
    """With as many waiting connections as the system keeps, a client gets its sentence, and the process is known."""
    with DaemonClient.connect() as client:
        pid = client.greeting["pid"]
    os.kill(pid, signal.SIGSTOP)
    waiting = fill_queue(paths.socket_path(data))
    with pytest.raises(DaemonError, match="codekin daemon stop"):
        DaemonClient.connect()
    assert startup.listener_pid(data) == pid
    os.kill(pid, signal.SIGCONT)
    for connection in waiting:
        connection.close()
    eventually(lambda: startup.read_handshake(data))


def fill_queue(path: Path) -> list[socket.socket]:
    """Connections to a socket until the system takes no further one."""
    connections = []
    while True:
        connections.append(socket.socket(socket.AF_UNIX))
        connections[-1].setblocking(False)
        try:
            connections[-1].connect(str(path))
        except BlockingIOError:
            return connections


def test_a_daemon_that_is_at_work_is_waited_for(data, monkeypatch):
    """A daemon that is silent and seen to work gets more time: it answers when it goes on."""
    with DaemonClient.connect() as client:
        pid = client.greeting["pid"]
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(startup, "SILENCE_SECONDS", 0.3)
    looks = []
    monkeypatch.setattr(
        startup, "is_at_work", lambda process: looks.append(process) or not os.kill(pid, signal.SIGCONT)
    )
    with DaemonClient.connect() as client:
        assert client.greeting["pid"] == pid
    assert set(looks) == {pid}


def test_an_idle_daemon_leaves_and_a_listening_window_keeps_it(data, root):
    """The daemon exits once it is idle, and not before."""
    (data / "settings.toml").write_text("[daemon]\nidle_minutes = 0.02\n")
    with DaemonClient.connect() as client:
        events = client.lines(f"/events?root={root}", method="GET")
        next(event for event in events if event.get("state") == "ready")
        threading.Event().wait(2.5)
        assert daemons_of(data) == [client.greeting["pid"]]
        events.close()
    eventually(lambda: not processes_of(data))
    assert not paths.socket_path(data).exists()


def test_a_daemon_whose_socket_is_taken_away_leaves(data):
    """After a clean-up of the runtime folder one daemon serves the data folder."""
    with DaemonClient.connect() as client:
        pid = client.greeting["pid"]
    paths.socket_path(data).unlink()
    with DaemonClient.connect() as client:
        assert client.greeting["pid"] != pid
    assert daemons_of(data) == [client.greeting["pid"]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_tidily(data, root, number):
    """Socket and children go with the daemon at the end of a session."""
    with DaemonClient.connect() as client:
        client.post("/workspaces/open", {"root": str(root)})
        os.kill(client.greeting["pid"], number)
    eventually(lambda: not processes_of(data))
    assert not paths.socket_path(data).exists()


async def test_a_window_hears_of_a_crash_and_of_the_return(data, root):
    """A window knows when to send its unsaved texts again."""
    client = await AsyncDaemonClient.connect()
    kinds = []
    async for event in client.events(str(root)):
        kinds.append(event["event"])
        if kinds.count("connected") == 2:
            break
        if kinds[-1] == "connected":
            os.kill(client.greeting["pid"], signal.SIGKILL)
    await client.close()
    assert "lost" in kinds


async def test_calls_that_fail_together_start_one_daemon(data):
    """A crash under load starts one daemon for all calls."""
    client = await AsyncDaemonClient.connect()
    os.kill(client.greeting["pid"], signal.SIGKILL)
    responses = await asyncio.gather(*(client.get("/handshake") for _ in range(10)))
    await client.close()
    assert {answer["pid"] for answer in responses} == set(daemons_of(data))


def test_a_daemon_that_cannot_start_says_why(data, monkeypatch):
    """The error holds the reason that the daemon gave."""
    monkeypatch.setenv("PYTHONPATH", str(data))
    (data / "starlette").mkdir()
    (data / "starlette" / "__init__.py").write_text("raise ImportError('no starlette today')")
    with pytest.raises(DaemonError, match="no starlette today"):
        DaemonClient.connect()
