"""`POST /complete` in a real daemon app: the corpus is built beside, the answer has its shape, the switches count."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from codekin import parsing, paths
from codekin.completion.outcomes import read_events
from codekin.daemon.app import build_daemon
from codekin.daemon.services.embedding import EmbeddingEngine
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.storage import ChunkIndex, FileState

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
    monkeypatch.setattr(OpenWorkspace, "start_indexer", lambda self: setattr(self, "state", "ready"))
    monkeypatch.setattr(EmbeddingEngine, "start_loading", lambda self: None)
    with ChunkIndex.open(paths.index_dir(data, root), write=True) as index:
        for path in sorted(root.iterdir()):
            chunks, _ = parsing.cut_chunks(path.name, path.read_text())
            index.replace_file(path.name, FileState(1, 1, 1, path.name, "elixir"), chunks, None)
    daemon = build_daemon(data)

    async def post(route, **body):
        answer = await client.post(route, json={"root": str(root), **body}, timeout=100)
        return answer.status_code, answer.text if body.get("stream") else answer.json()

    async with httpx.AsyncClient(transport=httpx.ASGITransport(daemon.app), base_url="http://codekin") as client:
        yield post
    await daemon.heavy.close()


async def test_ghost_text_from_key_to_event(ask, data, root):
    """A request gives a suggestion, and the event about it is kept."""
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
    kept = list(read_events(paths.index_dir(data, root) / "completion" / "events.jsonl"))
    assert [(event.event, event.length) for event in kept] == [("shown", 3), ("partial", 3), ("accepted", 20)]


async def test_switches_and_wrong_requests(ask, root):
    """Ghost text that is switched off is not computed, and a wrong request is refused."""
    (root / ".codekin.toml").write_text('[completion]\nignore = ["secret/*"]\n')
    inside = {"text": TYPED, "line": 2, "column": 2}
    assert (await ask("/complete", path="secret/a.ex", **inside))[1]["items"] == []
    assert (await ask("/complete", path="notes.txt", **inside))[1]["items"] == []
    assert (await ask("/complete", path="../a.ex", **inside))[0] == 400
    assert (await ask("/complete", path="a.ex", **{**inside, "line": 0}))[0] == 400
    assert (await ask("/complete/events", id="x", event="eaten"))[0] == 400


async def test_a_newer_request_of_the_window_overtakes(ask):
    """A newer request of a window cancels the older one."""
    body = {"path": "ticket.ex", "line": 2, "window": "w", "trigger": "automatic"}
    texts = [TYPED.replace("  \n", f"  {'use'[:count]}\n") for count in range(4)]
    responses = await asyncio.gather(
        *(ask("/complete", **body, text=text, column=2 + count) for count, text in enumerate(texts))
    )
    assert all(status == 200 for status, _ in responses)
    assert sum("superseded" not in answer for _, answer in responses) >= 1


async def test_a_repository_that_is_not_read_in_time_is_reported(ask, monkeypatch):
    """A request that cannot wait for the corpus says that it is not ready."""
    monkeypatch.setattr("codekin.daemon.services.completion.SCAN_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(OpenWorkspace, "start_indexer", lambda self: setattr(self, "state", "starting"))
    body = {"path": "ticket.ex", "text": TYPED, "line": 2, "column": 2, "trigger": "invoked"}
    status, answer = await ask("/complete", **body, wait=True)
    assert status == 200
    assert "still being read" in answer["problem"]
    assert "problem" not in (await ask("/complete", **body))[1]


async def test_a_stream_ends_with_the_answer(ask):
    """A stream's parts are prefixes of its final answer."""
    body = {"path": "ticket.ex", "text": TYPED, "line": 2, "column": 2, "trigger": "invoked", "wait": True}
    _, answer = await ask("/complete", **body)
    _, text = await ask("/complete", **body, alternatives=2, stream=True)
    *pieces, last = [json.loads(line) for line in text.splitlines()]
    assert last["items"][0]["text"] == answer["items"][0]["text"]
    assert all(last["items"][0]["text"].startswith(piece["text"]) for piece in pieces)


async def test_a_model_of_the_settings_that_is_missing_is_reported_beside_the_answer(ask, data):
    """Where the chosen model is missing, the repository answers and says why."""
    inside = {"path": "ticket.ex", "text": TYPED, "line": 2, "column": 2, "trigger": "invoked", "wait": True}
    (data / "settings.toml").write_text('[completion]\nmodel = "starcoder_1b"\n')
    status, answer = await ask("/complete", **inside)
    assert (status, answer["model"]) == (200, "repository")
    assert answer["items"]
    assert "codekin models pull starcoder_1b" in answer["problem"]
    (data / "settings.toml").write_text("")
    assert "problem" not in (await ask("/complete", **inside, alternatives=2))[1]


async def test_a_model_requested_by_name_answers_or_the_refusal_says_why(ask):
    """A model requested by name answers, or the refusal says why not."""
    inside = {"path": "ticket.ex", "text": TYPED, "line": 2, "column": 2, "trigger": "invoked", "wait": True}
    status, answer = await ask("/complete", **inside, model="starcoder_1b")
    assert status >= 400
    assert "codekin models pull starcoder_1b" in str(answer)
    _, text = await ask("/complete", **inside, model="starcoder_1b", stream=True)
    assert "codekin models pull starcoder_1b" in json.loads(text.splitlines()[-1])["error"]


async def test_an_edit_of_another_file_counts_at_once(ask, root):
    """An edit of another file counts in the next completion."""
    inside = {"path": "ticket.ex", "text": TYPED, "line": 2, "column": 2, "trigger": "invoked", "wait": True}
    assert (await ask("/complete", **inside))[1]["items"][0]["text"] == "use App, :controller"
    for file in root.iterdir():
        file.write_text(file.read_text().replace("use App, :controller", "use App.Web, :live_view"))
    assert (await ask("/complete", **inside, alternatives=2))[1]["items"][0]["text"] == "use App.Web, :live_view"


KEY = "AKIA" + "QW7XNPLM4RTZ8VBC"
VAULT = f'defmodule App.Vault do\n  @walrus "{KEY}"\n  def open_walrus(conn), do: sign(conn, @walrus)\n'


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("lib/vault.ex", VAULT),
        ("prod.secret.exs", VAULT.replace(KEY, "")),
        ("ignored/vault.ex", VAULT.replace(KEY, "")),
        ("deps/x/vault.ex", VAULT.replace(KEY, "")),
    ],
)
async def test_a_left_out_file_that_is_opened_reaches_no_other_file(ask, data, root, path, text):
    """Neither its words nor its secrets come as ghost text elsewhere, and nothing of it is kept."""
    (root / ".gitignore").write_text("ignored/\n")
    (root / "mix.exs").write_text("defmodule App.MixProject do\nend\n")
    await ask("/buffers", path=path, text=text, version=1)
    typed = "defmodule App.Ticket do\n  def open_\nend\n"
    elsewhere = {"path": "ticket.ex", "text": typed, "line": 2, "column": 11, "trigger": "invoked", "wait": True}
    answer = (await ask("/complete", **elsewhere, alternatives=5))[1]
    assert "walrus" not in json.dumps(answer)
    text += "  def open_walr\nend\n"
    line, column = text.count("\n") - 1, len("  def open_walr")
    inside = {"path": path, "text": text, "line": line, "column": column}
    assert (await ask("/complete", **inside))[1]["items"] == []
    items = (await ask("/complete", **inside, trigger="invoked"))[1]["items"]
    assert items[0]["text"].startswith("us(conn)")
    for item in items:
        assert (await ask("/complete/events", id=item["id"], event="accepted"))[1] == {"known": False}
    kept = b"".join(file.read_bytes() for file in data.rglob("*") if file.is_file())
    assert b"walrus" not in kept
    assert KEY.encode() not in kept


async def test_a_mapped_extension_is_completed_in_its_language(ask, root):
    """The user's own extension is read as the language that the settings say."""
    inside = {"text": TYPED, "line": 2, "column": 2, "trigger": "invoked", "wait": True}
    (root / ".codekin.toml").write_text('[index]\nextensions = {".exz" = "elixir"}\n')
    assert (await ask("/complete", path="ticket.exz", **inside))[1]["items"][0]["text"] == "use App, :controller"
