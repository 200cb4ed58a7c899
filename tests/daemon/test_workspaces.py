"""Workspaces of a daemon: who may open one, which problems it has, and what happens when its files are taken away."""

import json
import shutil

import httpx
import pytest

from codekin import paths
from codekin.daemon.app import build_daemon
from codekin.daemon.client import DaemonClient
from codekin.daemon.dashboard import server as dashboard
from codekin.daemon.services import workspaces
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.errors import UsageError
from daemons import daemons_of, eventually

QUESTIONS = {
    "/similar": {"path": "alpha.ex", "line": 2},
    "/search": {"text": "fetch"},
    "/duplicates": {},
    "/lens": {"path": "alpha.ex"},
    "/complete": {"path": "alpha.ex", "line": 1, "column": 0},
    "/rollback": {},
    "/dashboard": {},
}


@pytest.fixture
def workspace(tmp_path, root):
    return OpenWorkspace(root, tmp_path / "data")


@pytest.fixture
async def client(data):
    daemon = build_daemon(data)
    transport = httpx.ASGITransport(daemon.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://codekin") as client:
        client.daemon = daemon
        yield client


@pytest.mark.parametrize("route", QUESTIONS)
async def test_a_question_makes_no_workspace_of_a_folder(client, data, root, route):
    """A query for a folder without an index says how to index it, and changes nothing."""
    answer = await client.post(route, json={"root": str(root), **QUESTIONS[route]})
    assert answer.status_code == 400
    assert f"is not indexed: run `codekin index {root}`" in answer.json()["error"]["message"]
    assert client.daemon.workspaces.open == {}
    assert not paths.index_dir(data, root).exists()


async def test_a_status_makes_no_workspace_of_a_folder(client, data, root):
    """A diagnosis changes nothing."""
    answer = await client.get("/status", params={"root": str(root)})
    assert "is not indexed" in answer.json()["error"]["message"]
    assert not paths.index_dir(data, root).exists()


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/search", {"text": "fetch \ud800"}),
        ("/search", {"root": "/\ud800", "text": "x"}),
        ("/similar", {"path": "\ud800.ex", "line": 1}),
        ("/similar", {"path": "folder.ex", "line": 1}),
        ("/similar", {"snippet": "def \ud800", "language": "elixir"}),
    ],
)
async def test_no_request_is_a_failure_of_the_daemon(client, data, root, route, body, monkeypatch):
    """Lone surrogates and folders in place of files are answered or refused in a sentence."""
    monkeypatch.setattr(OpenWorkspace, "start_indexer", lambda self: None)
    paths.index_dir(data, root).mkdir(parents=True)
    (root / "folder.ex").mkdir()
    answer = await client.post(route, content=json.dumps({"root": str(root), **body}))
    assert answer.status_code in (200, 400)


def test_a_workspace_that_cannot_be_opened_is_not_half_open(data, root, monkeypatch):
    """Settings that cannot be read leave no workspace without an indexer behind."""
    daemon = build_daemon(data)

    def refuse(*_):
        raise UsageError("too deep")

    monkeypatch.setattr(workspaces, "load_settings", refuse)
    with pytest.raises(UsageError):
        daemon.workspaces.get(root)
    assert daemon.workspaces.open == {}


def test_a_problem_that_stopped_the_indexer_ends_when_it_is_ready(workspace):
    """What healed by itself does not stay in the status."""
    workspace.handle_event({"event": "ended", "failures": 1, "message": "The indexer ended."})
    workspace.handle_event({"event": "problem", "message": "The folder is missing.", "until": "ready"})
    workspace.handle_event({"event": "problem", "message": "A file is odd."})
    assert set(workspace.current_problems()) == {"The indexer ended.", "The folder is missing.", "A file is odd."}
    workspace.handle_event({"event": "ready"})
    assert workspace.current_problems() == ["A file is odd."]


def test_a_daemon_leaves_when_its_data_folder_is_taken_away(data, root):
    """The next call starts a daemon on what stands there, without `codekin daemon stop`."""
    with DaemonClient.connect() as client:
        list(client.lines("/index", {"root": str(root)}))
        first = client.greeting["pid"]
        shutil.rmtree(data)
        eventually(lambda: first not in daemons_of(data))
    data.mkdir()
    with DaemonClient.connect() as client:
        *_, last = client.lines("/index", {"root": str(root)})
        assert last["result"]["files"] == 2
        assert client.greeting["pid"] != first


def test_an_index_that_was_deleted_is_built_again(data, root):
    """`codekin index` ends, and searches find again."""
    with DaemonClient.connect() as client:
        list(client.lines("/index", {"root": str(root)}))
        shutil.rmtree(paths.index_dir(data, root))
        *_, last = client.lines("/index", {"root": str(root)})
        assert last["result"]["files"] == 2
        assert client.post("/search", {"root": str(root), "text": "fetch"})["hits"]
        assert client.get("/status", root=str(root))["problems"] == []


async def test_a_pass_of_the_dashboard_is_for_one_workspace(data, root, tmp_path):
    """A pass for one workspace's map does not open another's, and large bodies are refused."""
    daemon, other = build_daemon(data), tmp_path / "other"
    other.mkdir()
    for folder in (root, other):
        daemon.workspaces.open[folder] = OpenWorkspace(folder, data, state="ready")
    service = dashboard.Dashboard(daemon)
    granted = service._access.exchange_token(service._access.token(root))
    headers = {"Authorization": f"Bearer {granted}"}
    address = (await service.address(root)).split("?")[0]
    async with httpx.AsyncClient(base_url=address, headers=headers) as client:
        assert (await client.get("/data/state", params={"root": str(root)})).status_code == 200
        assert (await client.get("/data/state", params={"root": str(other)})).status_code == 403
        assert (await client.post("/do/open", content=b"x" * (dashboard.MAX_BODY_BYTES + 1))).status_code == 413
    await service.close()
    await daemon.close()


def test_the_way_to_the_dashboard_is_private(data):
    """The one-time address reaches the browser through a file that other users cannot read."""
    page = dashboard.write_redirect_page(data, 'http://127.0.0.1:1/?token=x&root="')
    assert page.stat().st_mode & 0o777 == 0o600
    assert "url=http://127.0.0.1:1/?token=x&amp;root=&quot;" in page.read_text()
    assert dashboard.write_redirect_page(data, "http://127.0.0.1:2/") == page


def test_a_condition_is_a_problem_until_it_is_solved(workspace):
    """What the indexer says lasts outlives a run, and ends with the indexer's word or with the indexer."""
    workspace.handle_event({"event": "problem", "message": "There is no folder.", "until": "solved"})
    workspace.handle_event({"event": "ready"})
    assert workspace.current_problems() == ["There is no folder."]
    workspace.handle_event({"event": "solved", "message": "There is no folder."})
    assert workspace.current_problems() == []
    workspace.handle_event({"event": "problem", "message": "No watches.", "until": "solved"})
    workspace.handle_event({"event": "ended", "message": "It ended."})
    assert workspace.current_problems() == ["It ended."]
