"""A daemon that runs and does not answer costs seconds, is told in the status, and is used again once it answers."""

import asyncio
import time

import pytest

from codekin.errors import DaemonError
from codekin.lsp import daemon_link

INVOKED, AUTOMATIC = 1, 2
LIMIT = 3.0
"""Seconds until what nobody asked for is empty."""


@pytest.fixture
async def suspended(window, root, monkeypatch):
    """A window whose daemon has stopped answering, and the event that lets it answer again."""
    monkeypatch.setattr(daemon_link, "SILENCE_SECONDS", 1.0)
    await window.begin(root)
    window.open((root / "lib" / "b.ex").as_uri(), "abc")
    await window.until(lambda: kind(window) == "Normal" and not window.session.status.current.busy)
    resumed = asyncio.Event()

    def stopped(answer):
        async def wait(_body):
            await resumed.wait()
            return answer

        return wait

    for route, answer in list(window.daemon.answers.items()):
        window.daemon.answers[route] = stopped(answer)
    return resumed


def kind(window) -> str:
    return window.session.status.current.kind


def completion(root, trigger: int) -> dict:
    position = {"line": 0, "character": 1}
    uri = (root / "lib" / "b.ex").as_uri()
    return {"textDocument": {"uri": uri}, "position": position, "context": {"triggerKind": trigger}}


async def test_automatic_requests_are_empty_within_seconds(window, root, suspended):
    """Typing and scrolling never wait for a daemon that is suspended."""
    began = time.monotonic()
    lens = {"textDocument": {"uri": (root / "lib" / "b.ex").as_uri()}}
    numbers = [
        window.request("textDocument/inlineCompletion", completion(root, AUTOMATIC)),
        window.request("textDocument/completion", completion(root, AUTOMATIC)),
        window.request("textDocument/codeLens", lens),
    ]
    responses = [(await window.reply(number))["result"] for number in numbers]
    assert (responses[0]["items"], responses[1]["items"], responses[2]) == ([], [], [])
    assert time.monotonic() - began < LIMIT + 1.0
    assert not suspended.is_set()


async def test_an_invoked_request_gets_an_error_and_the_status_shows_it(window, root, suspended):
    """The status shows why requests fail, and when they work again."""
    error = await window.fail("textDocument/inlineCompletion", completion(root, INVOKED))
    assert error["message"] == daemon_link.UNRESPONSIVE
    status = window.notifications("codekin/status")[-1]
    assert (status["kind"], status["message"]) == ("Error", daemon_link.UNRESPONSIVE)
    suspended.set()
    await window.until(lambda: kind(window) == "Normal")
    assert (await window.ask("codekin/search", {"text": "x"}))["hits"]


async def test_a_daemon_that_is_busy_is_waited_for(window, root):
    """A slow answer of a daemon that answers handshakes is no fault."""
    await window.begin(root)
    gate = asyncio.Event()

    async def slow(_body):
        await gate.wait()
        return {"hits": [], "ms": 1}

    window.daemon.answers["/search"] = slow
    number = window.request("codekin/search", {"text": "x"})
    await window.until(lambda: window.daemon.bodies("/handshake"))
    gate.set()
    assert (await window.reply(number))["result"]["hits"] == []
    assert "Error" not in {status["kind"] for status in window.notifications("codekin/status")}


async def test_requests_that_come_while_the_daemon_starts_wait_for_one_start(window, root):
    """A key at a time while it starts does not begin a start for each."""
    await window.begin(root)
    starts, started = [], asyncio.Event()

    async def connect():
        starts.append(1)
        await started.wait()
        return window.daemon

    link = daemon_link.DaemonLink(connect, lambda _message: None)
    waiting = [asyncio.create_task(link.post("/similar", {})) for _ in range(5)]
    await asyncio.sleep(0.05)
    waiting[0].cancel()
    await asyncio.sleep(0.05)
    started.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert [answer["ms"] for answer in found[1:]] == [1, 1, 1, 1]
    assert len(starts) == 1
    await link.close()


async def test_requests_that_wait_for_one_start_share_its_failure():
    """A daemon that does not answer costs the requests of a window one wait together, and the next request another."""
    failing, begun = asyncio.Event(), []

    async def connect():
        begun.append(1)
        await failing.wait()
        raise DaemonError(daemon_link.UNRESPONSIVE)

    link = daemon_link.DaemonLink(connect, lambda _message: None)
    waiting = [asyncio.create_task(link.post("/similar", {})) for _ in range(5)]
    await asyncio.sleep(0.05)
    failing.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(error) for error in found] == [daemon_link.UNRESPONSIVE] * 5
    assert len(begun) == 1
    with pytest.raises(DaemonError):
        await link.post("/similar", {})
    assert len(begun) == 2


async def test_a_start_that_takes_long_is_reported_until_it_is_over(window, root, monkeypatch):
    """A slow start of the daemon is reported until it is over."""
    monkeypatch.setattr(daemon_link, "SLOW_START_SECONDS", 0.01)
    reports, started = [], asyncio.Event()

    async def connect():
        await started.wait()
        return window.daemon

    link = daemon_link.DaemonLink(connect, reports.append)
    answer = asyncio.create_task(link.post("/similar", {}))
    await window.until(lambda: reports == [daemon_link.STILL_STARTING])
    started.set()
    assert (await answer)["ms"] == 1
    assert reports == [daemon_link.STILL_STARTING, ""]
    await link.close()
