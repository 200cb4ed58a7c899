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

from codekin import places
from codekin.daemon import build, start
from codekin.daemon.client import AsyncClient, Client
from codekin.errors import DaemonError
from daemons import daemons_of, eventually, indexers_of, kill, processes_of

CONNECT = "from codekin.daemon.client import Client; print(Client.connect().greeting['pid'])"


def leave_stale_socket(data: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(places.socket_path(data)))


def test_twenty_clients_over_a_stale_socket_start_one_daemon(data):
    """Each window would hold its own models."""
    leave_stale_socket(data)
    clients = [subprocess.Popen([sys.executable, "-c", CONNECT], stdout=subprocess.PIPE, text=True) for _ in range(20)]
    answers = [client.communicate(timeout=100)[0].strip() for client in clients]
    assert {client.returncode for client in clients} == {0}
    assert set(answers) == {str(pid) for pid in daemons_of(data)}
    assert len(set(answers)) == 1


def test_daemons_that_race_leave_one_leader(data):
    """A client that spawns without asking could put two daemons over one index."""
    command = [sys.executable, "-P", "-m", "codekin.daemon", "--data-dir", str(data)]
    racers = [subprocess.Popen(command) for _ in range(6)]
    eventually(lambda: sum(racer.poll() is None for racer in racers) == 1)
    with Client.connect(start=False) as client:
        assert [client.greeting["pid"]] == [racer.pid for racer in racers if racer.poll() is None]
        client.post("/shutdown")
    assert [racer.wait(30) for racer in racers] == [0] * 6


def test_the_socket_and_its_folder_are_private(data):
    """Another user could ask for the code of this one."""
    with Client.connect():
        path = places.socket_path(data)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_killed_daemon_is_started_again_by_the_next_call(data, root):
    """A crash would leave every window dead until it is restarted."""
    with Client.connect() as client:
        first = client.greeting["pid"]
        client.post("/workspaces/open", {"root": str(root)})
        eventually(lambda: indexers_of(data))
        os.kill(first, signal.SIGKILL)
        assert client.get("/status", root=str(root))["root"] == str(root)
        assert client.greeting["pid"] != first
    eventually(lambda: len(indexers_of(data)) == 1)


@pytest.mark.parametrize("pause", [0.0, 0.1, 0.4, 1.0])
def test_nothing_stays_behind_a_killed_daemon(data, root, pause):
    """Indexers of dead daemons would pile up and fight over the index."""
    with Client.connect(start=True) as client:
        client.post("/workspaces/open", {"root": str(root)})
        threading.Event().wait(pause)
        os.kill(client.greeting["pid"], signal.SIGKILL)
    eventually(lambda: not processes_of(data))


def test_a_killed_indexer_is_started_again(data, root):
    """The index would silently fall behind the files."""
    with Client.connect() as client:
        eventually(lambda: client.get("/status", root=str(root))["state"] == "ready")
        (first,) = indexers_of(data)
        kill(first)
        (root / "gamma.ex").write_text("defmodule Gamma do\n  def late(x), do: x + 1\n  def later(x), do: x + 2\nend\n")
        eventually(lambda: client.get("/status", root=str(root))["files"] == 3)
        assert first not in indexers_of(data)


def test_a_killed_client_costs_nobody_else_anything(data, root):
    """One window's crash would take the others' daemon away."""
    code = f"{CONNECT}; import time; list(Client.connect().lines('/events?root={root}', method='GET'))"
    with Client.connect() as client:
        victim = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        victim.stdout.readline()
        victim.kill()
        victim.communicate()
        assert client.get("/handshake")["pid"] == client.greeting["pid"]


def test_an_older_daemon_is_replaced_and_a_newer_one_used(data, monkeypatch):
    """After an upgrade old code would answer, or two versions would restart each other for ever."""
    pids = []
    for number in ("1.0.0+100+old", "1.0.1+200+new", "1.0.0+100+old"):
        monkeypatch.setenv("CODEKIN_BUILD", number)
        build.this_build.cache_clear()
        with Client.connect() as client:
            pids.append(client.greeting["pid"])
    build.this_build.cache_clear()
    assert pids[0] != pids[1] == pids[2]
    eventually(lambda: daemons_of(data) == [pids[1]])


def test_a_newer_daemon_of_another_protocol_is_named(data, monkeypatch):
    """An old window would misread the answers of a new daemon."""
    monkeypatch.setattr(build, "this_build", lambda: build.Build("0.9", 1, "x", protocol=0))
    with pytest.raises(DaemonError, match="restart this window"):
        Client.connect()
    assert len(daemons_of(data)) == 1


def test_a_daemon_that_hangs_is_named_not_waited_for(data, monkeypatch):
    """A stuck daemon would hang the editor."""
    with Client.connect() as client:
        pid = client.greeting["pid"]
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(start, "ANSWER_SECONDS", 0.3)
    with pytest.raises(DaemonError, match="codekin daemon stop"):
        Client.connect()
    assert start.listener_pid(data) == pid


def test_an_idle_daemon_leaves_and_a_listening_window_keeps_it(data, root):
    """Memory would never be given back, or be taken from an open window."""
    (data / "settings.toml").write_text("[daemon]\nidle_minutes = 0.02\n")
    with Client.connect() as client:
        events = client.lines(f"/events?root={root}", method="GET")
        next(event for event in events if event.get("state") == "ready")
        threading.Event().wait(2.5)
        assert daemons_of(data) == [client.greeting["pid"]]
        events.close()
    eventually(lambda: not processes_of(data))
    assert not places.socket_path(data).exists()


def test_a_daemon_whose_socket_is_taken_away_leaves(data):
    """Two daemons could serve one data folder after a clean-up of the runtime folder."""
    with Client.connect() as client:
        pid = client.greeting["pid"]
    places.socket_path(data).unlink()
    with Client.connect() as client:
        assert client.greeting["pid"] != pid
    assert daemons_of(data) == [client.greeting["pid"]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_tidily(data, root, number):
    """Logging out would leave the socket or children behind."""
    with Client.connect() as client:
        client.post("/workspaces/open", {"root": str(root)})
        os.kill(client.greeting["pid"], number)
    eventually(lambda: not processes_of(data))
    assert not places.socket_path(data).exists()


async def test_a_window_hears_of_a_crash_and_of_the_return(data, root):
    """Unsaved texts would be unknown to the new daemon, and nobody would send them again."""
    client = await AsyncClient.connect()
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
    """A crash under load would start a daemon for each call."""
    client = await AsyncClient.connect()
    os.kill(client.greeting["pid"], signal.SIGKILL)
    answers = await asyncio.gather(*(client.get("/handshake") for _ in range(10)))
    await client.close()
    assert {answer["pid"] for answer in answers} == set(daemons_of(data))


def test_a_daemon_that_cannot_start_says_why(data, monkeypatch):
    """The user would only learn that something did not start."""
    monkeypatch.setenv("PYTHONPATH", str(data))
    (data / "starlette").mkdir()
    (data / "starlette" / "__init__.py").write_text("raise ImportError('no starlette today')")
    with pytest.raises(DaemonError, match="no starlette today"):
        Client.connect()
