"""`POST /complete` in a real daemon app: the corpus is built beside, the answer has its shape, the switches count."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from codekin import places, syntax
from codekin.completion.events import read_events
from codekin.daemon.app import build
from codekin.daemon.engine import Engine
from codekin.daemon.workspaces import Workspace
from codekin.index import FileState, Index

HANDLER = """defmodule App.{name} do
  use App, :controller

  def show(conn, id) do
    {word} = Repo.get!({name}, id)
    render(conn, {word})
  end
end
"""
TYPED = "defmodule App.Ticket do\n  \nend\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    for name in ("User", "Order", "Invoice"):
        (folder / f"{name.lower()}.ex").write_text(HANDLER.format(name=name, word=name.lower()))
    return folder


@pytest.fixture
async def ask(data, root, monkeypatch):
    """Posts to a route of a daemon whose index is written here."""
    monkeypatch.setattr(Workspace, "start_indexer", lambda self: setattr(self, "state", "ready"))
    monkeypatch.setattr(Engine, "begin", lambda self: None)
    with Index.open(places.workspace_folder(data, root), write=True) as index:
        for path in sorted(root.iterdir()):
            fragments, _ = syntax.fragments(path.name, path.read_text())
            index.replace_file(path.name, FileState(1, 1, 1, path.name, "elixir"), fragments, None)
    daemon = build(data)

    async def post(route, **body):
        answer = await client.post(route, json={"root": str(root), **body}, timeout=100)
        return answer.status_code, answer.text if body.get("stream") else answer.json()

    async with httpx.AsyncClient(transport=httpx.ASGITransport(daemon.app), base_url="http://codekin") as client:
        yield post
    await daemon.extras["completion"].close()


async def test_ghost_text_from_key_to_event(ask, data, root):
    """The whole way from a request to the kept event would be broken somewhere."""
    body = {"path": "ticket.ex", "text": TYPED, "line": 2, "column": 2, "window": "w"}
    status, answer = await ask("/complete", **body, trigger="invoked", wait=True)
    assert status == 200
    item = answer["items"][0]
    offset = TYPED.index("  ") + 2
    assert (item["text"], item["kind"]) == ("use App, :controller", "line")
    assert (item["replace_start"], item["replace_end"], answer["model"]) == (offset, offset, "repository")
    for event in ("shown", "partially_accepted", "accepted"):
        assert (await ask("/complete/events", id=item["id"], event=event, length=3))[1] == {"known": True}
    assert (await ask("/complete/events", id="stranger", event="shown"))[1] == {"known": False}
    kept = list(read_events(places.workspace_folder(data, root) / "completion" / "events.jsonl"))
    assert [(event.event, event.length) for event in kept] == [("shown", 3), ("partial", 3), ("accepted", 20)]


async def test_switches_and_wrong_requests(ask, root):
    """Ghost text would appear where it was switched off, or a wrong request would look like an empty answer."""
    (root / ".codekin.toml").write_text('[completion]\nignore = ["secret/*"]\n')
    inside = {"text": TYPED, "line": 2, "column": 2}
    assert (await ask("/complete", path="secret/a.ex", **inside))[1]["items"] == []
    assert (await ask("/complete", path="notes.txt", **inside))[1]["items"] == []
    assert (await ask("/complete", path="../a.ex", **inside))[0] == 400
    assert (await ask("/complete", path="a.ex", **{**inside, "line": 0}))[0] == 400
    assert (await ask("/complete/events", id="x", event="eaten"))[0] == 400


async def test_a_newer_request_of_the_window_overtakes(ask):
    """Old ghost text would be drawn over new."""
    body = {"path": "ticket.ex", "line": 2, "window": "w", "trigger": "automatic"}
    texts = [TYPED.replace("  \n", f"  {'use'[:count]}\n") for count in range(4)]
    answers = await asyncio.gather(
        *(ask("/complete", **body, text=text, column=2 + count) for count, text in enumerate(texts))
    )
    assert all(status == 200 for status, _ in answers)
    assert sum("superseded" not in answer for _, answer in answers) >= 1


async def test_who_cannot_wait_for_the_whole_repository_is_told(ask, monkeypatch):
    """In a large folder a terminal would wait until it gives up, and get nothing."""
    monkeypatch.setattr("codekin.daemon.routes.completion.WAITS_FOR_FILES", 0.0)
    body = {"path": "ticket.ex", "text": TYPED, "line": 2, "column": 2, "trigger": "invoked"}
    status, answer = await ask("/complete", **body, wait=True)
    assert status == 200
    assert "still being read" in answer["problem"]
    assert "problem" not in (await ask("/complete", **body))[1]


async def test_a_stream_ends_with_the_answer(ask):
    """A terminal that shows lines as they come would show none, or others than the answer's."""
    body = {"path": "ticket.ex", "text": TYPED, "line": 2, "column": 2, "trigger": "invoked", "wait": True}
    _, answer = await ask("/complete", **body)
    _, text = await ask("/complete", **body, alternatives=2, stream=True)
    *pieces, last = [json.loads(line) for line in text.splitlines()]
    assert last["items"][0]["text"] == answer["items"][0]["text"]
    assert all(last["items"][0]["text"].startswith(piece["text"]) for piece in pieces)


async def test_a_model_of_the_settings_that_is_missing_is_told_beside_the_answer(ask, data):
    """Whoever set a model would never learn that the repository answers in its place, or would get no answer at all."""
    inside = {"path": "ticket.ex", "text": TYPED, "line": 2, "column": 2, "trigger": "invoked", "wait": True}
    (data / "settings.toml").write_text('[completion]\nmodel = "starcoder_1b"\n')
    status, answer = await ask("/complete", **inside)
    assert (status, answer["model"]) == (200, "repository")
    assert answer["items"]
    assert "codekin models pull starcoder_1b" in answer["problem"]
    (data / "settings.toml").write_text("")
    assert "problem" not in (await ask("/complete", **inside, alternatives=2))[1]


async def test_a_model_that_is_asked_for_by_name_answers_or_says_why_not(ask):
    """The repository's answer would pass for that of the model that was asked for."""
    inside = {"path": "ticket.ex", "text": TYPED, "line": 2, "column": 2, "trigger": "invoked", "wait": True}
    status, answer = await ask("/complete", **inside, model="starcoder_1b")
    assert status >= 400
    assert "codekin models pull starcoder_1b" in str(answer)
    _, text = await ask("/complete", **inside, model="starcoder_1b", stream=True)
    assert "codekin models pull starcoder_1b" in json.loads(text.splitlines()[-1])["error"]


async def test_an_edit_of_another_file_counts_at_once(ask, root):
    """What was just written next door would be known only some time later."""
    inside = {"path": "ticket.ex", "text": TYPED, "line": 2, "column": 2, "trigger": "invoked", "wait": True}
    assert (await ask("/complete", **inside))[1]["items"][0]["text"] == "use App, :controller"
    for file in root.iterdir():
        file.write_text(file.read_text().replace("use App, :controller", "use App.Web, :live_view"))
    assert (await ask("/complete", **inside, alternatives=2))[1]["items"][0]["text"] == "use App.Web, :live_view"
