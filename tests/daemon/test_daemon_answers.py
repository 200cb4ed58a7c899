"""The routes over a real index, without an indexer or a model: shapes, checks, degraded answers."""

import os
import subprocess
import sys

import httpx
import pytest

from codekin import places, syntax
from codekin.daemon.app import build
from codekin.daemon.engine import Engine
from codekin.daemon.workspaces import Workspace
from codekin.index import FileState, Index
from fakes import FakeEmbedder


@pytest.fixture
def daemon(data, root, monkeypatch):
    """A daemon whose workspaces have no indexer; the index is written here."""
    monkeypatch.setattr(Workspace, "start_indexer", lambda self: setattr(self, "state", "ready"))
    monkeypatch.setattr(Engine, "begin", lambda self: None)
    with Index.open(places.workspace_folder(data, root), write=True) as index:
        embedder = FakeEmbedder()
        index.ensure_space(embedder.space, embedder.name, embedder.dimensions)
        for path in sorted(root.iterdir()):
            fragments, _ = syntax.fragments(path.name, path.read_text())
            vectors = embedder.embed([fragment.text for fragment in fragments])
            by_digest = dict(zip((fragment.digest for fragment in fragments), vectors, strict=True))
            index.replace_file(path.name, FileState(1, 1, 1, "x", "elixir"), fragments, by_digest)
        index.promote(embedder.space)
    return build(data)


@pytest.fixture
async def ask(daemon):
    """Posts to a route; gives status and answer."""

    async def post(route, **body):
        answer = await client.post(route, json=body)
        return answer.status_code, answer.json()

    async with httpx.AsyncClient(transport=httpx.ASGITransport(daemon.app), base_url="http://codekin") as client:
        yield post


async def test_similar_has_the_shape_of_its_contract(ask, root):
    """Editors and scripts could not read the answer."""
    status, answer = await ask("/similar", root=str(root), path="alpha.ex", line=3, limit=1)
    assert status == 200
    assert answer["query"] == {
        "path": "alpha.ex",
        "name": "Alpha.fetch/3",
        "language": "elixir",
        "start_line": 2,
        "end_line": 8,
    }
    (hit,) = answer["hits"]
    assert set(hit) == {"path", "name", "kind", "language", "start_line", "end_line", "code_line", "score", "reasons"}
    assert (hit["path"], hit["name"], hit["start_line"], hit["score"]) == ("beta.ex", "Beta.fetch/3", 2, 1.0)
    assert answer["space"] == "fake-1"
    assert answer["ms"] >= 0
    assert "degraded" not in answer  # its vector is stored, no model was needed


async def test_an_unsaved_text_counts_instead_of_the_file(ask, root):
    """What was typed since the last save could not be asked about."""
    text = "defmodule New do\n  def add(a, b) do\n    sum = a + b\n    {:ok, sum}\n  end\nend\n"
    _, given = await ask("/similar", root=str(root), path="alpha.ex", text=text, line=3)
    await ask("/buffers", root=str(root), path="alpha.ex", text=text, version=2)
    _, kept = await ask("/similar", root=str(root), path="alpha.ex", line=3)
    await ask("/buffers", root=str(root), path="alpha.ex", text="", version=1)
    _, stale = await ask("/similar", root=str(root), path="alpha.ex", line=3)
    await ask("/buffers", root=str(root), path="alpha.ex", text=None, version=3)
    _, saved = await ask("/similar", root=str(root), path="alpha.ex", line=3)
    names = [answer["query"]["name"] for answer in (given, kept, stale, saved)]
    assert names == ["New.add/2", "New.add/2", "New.add/2", "Alpha.fetch/3"]


async def test_a_text_that_needs_a_model_is_answered_by_words_while_it_loads(ask, root):
    """Nothing would be found in the first seconds, or nobody told that vectors had no part."""
    snippet = "def fetch(cache, key, other) do\n  Map.get(cache, key) || other\nend"
    status, answer = await ask("/similar", root=str(root), snippet=snippet, language="elixir")
    assert status == 200
    assert {hit["path"] for hit in answer["hits"]} >= {"alpha.ex", "beta.ex"}
    assert (answer["degraded"], answer["space"]) == ("model is loading", "")


async def test_search_finds_words_while_the_model_loads(ask, root):
    """Search would wait for the model."""
    status, answer = await ask("/search", root=str(root), text="fetch default from cache", limit=3)
    assert status == 200
    assert answer["query"] == {"text": "fetch default from cache"}
    assert answer["hits"]
    assert answer["degraded"] == "model is loading"


async def test_a_selection_is_asked_about_as_it_is(ask, root):
    """A selected block would be widened to its function."""
    _, answer = await ask("/similar", root=str(root), path="alpha.ex", line=3, end_line=7)
    assert (answer["query"]["start_line"], answer["query"]["end_line"]) == (3, 7)
    assert answer["hits"][0]["path"] == "beta.ex"


async def test_duplicates_come_in_groups(ask, root):
    """Copies would not be seen as such."""
    status, answer = await ask("/duplicates", root=str(root))
    assert status == 200
    assert {frozenset(hit["path"] for hit in group) for group in answer["groups"]} == {
        frozenset({"alpha.ex", "beta.ex"})
    }


async def test_lenses_count_kin_and_can_be_listed_first(ask, root):
    """An editor would wait for the counts of a whole file."""
    _, listed = await ask("/lens", root=str(root), path="alpha.ex", counts=False)
    _, counted = await ask("/lens", root=str(root), path="alpha.ex", lines=[2])
    place = {"name": "Alpha.fetch/3", "kind": "function", "start_line": 2, "end_line": 8, "code_line": 2}
    assert listed == {"lenses": [{**place, "similar": None}]}
    assert counted == {"lenses": [{**place, "similar": 1}]}


@pytest.mark.parametrize(
    ("route", "body", "sentence"),
    [
        ("/similar", {"path": "alpha.ex"}, "`line` is missing"),
        ("/similar", {"line": 1}, "`path` is missing"),
        ("/similar", {"path": "alpha.ex", "line": 0}, "`line` must be"),
        ("/similar", {"path": "alpha.ex", "line": True}, "`line` must be"),
        ("/similar", {"path": "alpha.ex", "line": 99}, "there is no line 99"),
        ("/similar", {"path": "alpha.ex", "line": 3, "end_line": 2}, "`end_line`"),
        ("/similar", {"path": "none.ex", "line": 1}, "cannot be read"),
        ("/similar", {"path": "../secret", "line": 1}, "outside the workspace"),
        ("/similar", {"path": "/etc/passwd", "line": 1}, "outside the workspace"),
        ("/similar", {"path": "link.ex", "line": 1}, "outside the workspace"),
        ("/similar", {"path": "pipe.ex", "line": 1}, "is not a file"),
        ("/similar", {"path": "a\0b", "line": 1}, "`path`"),
        ("/similar", {"path": "alpha.ex", "line": 1, "limit": 10**9}, "`limit`"),
        ("/similar", {"path": "alpha.ex", "line": 1, "filters": {"min_score": "x"}}, "`min_score`"),
        ("/similar", {"path": "alpha.ex", "line": 1, "filters": {"languages": "cpp"}}, "`languages`"),
        ("/similar", {"snippet": "x", "language": "cobol"}, "no language 'cobol'"),
        ("/search", {"text": "  "}, "`text`"),
        ("/search", {"text": ["x"]}, "`text`"),
        ("/lens", {"path": "alpha.ex", "lines": ["2"]}, "`lines`"),
        ("/buffers", {"path": "../x", "text": ""}, "outside the workspace"),
        ("/workspaces/open", {"settings": 3}, "`settings`"),
    ],
)
async def test_wrong_requests_name_what_is_wrong(ask, root, route, body, sentence):
    """A client's slip would end in a traceback, or read outside the workspace."""
    (root / "link.ex").symlink_to("/etc/passwd")
    os.mkfifo(root / "pipe.ex")
    status, answer = await ask(route, root=str(root), **body)
    assert status == 400
    assert sentence in answer["error"]["message"]
    assert answer["error"]["type"] == "UsageError"


@pytest.mark.parametrize("given", ["relative", "/", "/no/such/folder", "/etc/passwd", "a\0b", 5, None])
async def test_a_root_must_be_a_real_folder(ask, given):
    """A whole machine could be indexed by accident."""
    status, answer = await ask("/workspaces/open", root=given)
    assert status == 400
    assert answer["error"]["type"] == "UsageError"


async def test_bodies_that_are_no_objects_are_refused(daemon):
    """A broken client would see an internal error."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(daemon.app), base_url="http://codekin") as client:
        for body in (b"{", b"[1]", b"3", b"\xff\xfe", b"[" * 100_000):
            answer = await client.post("/similar", content=body)
            assert answer.status_code == 400
            assert answer.json()["error"]["type"] == "UsageError"


async def test_the_status_says_what_is_wrong_and_what_to_do(ask, daemon, root, data):
    """Silence would have no reason."""
    (root / ".codekin.toml").write_text("[models]\nembedder = 'evil'\n")
    (data / "settings.toml").write_text("[index]\nmax_file_kb = 'big'\n")
    _, status = await ask("/workspaces/open", root=str(root), settings={"similar": {"limit": -1}})
    assert {"root", "state", "files", "fragments", "embedded", "progress", "model", "space", "journal"} <= set(status)
    assert (status["state"], status["files"], status["space"]) == ("ready", 2, "fake-1")
    for key in ("models.embedder", "index.max_file_kb", "similar.limit"):
        assert any(key in problem for problem in status["problems"])


async def test_a_changed_settings_file_counts_at_once(ask, root):
    """Settings would count only after a restart."""
    (root / ".codekin.toml").write_text("[similar]\nlimit = 1\n")
    _, before = await ask("/search", root=str(root), text="fetch default from cache")
    (root / ".codekin.toml").write_text("[similar]\nlimit = 2\n")
    _, after = await ask("/search", root=str(root), text="fetch default from cache")
    assert (len(before["hits"]), len(after["hits"])) == (1, 2)


async def test_an_index_that_cannot_be_read_is_a_problem_not_a_failure(ask, root, data):
    """A damaged file would take the status down with it."""
    folder = places.workspace_folder(data, root)
    for path in folder.glob("index.sqlite*"):
        path.write_bytes(b"broken" * 1000)
    status, answer = await ask("/workspaces/open", root=str(root))
    assert status == 200
    assert answer["problems"]


def test_the_app_is_built_without_models(data):
    """The first handshake would wait for torch."""
    code = (
        "import sys; from pathlib import Path; from codekin.daemon.app import build; build(Path(sys.argv[1]));"
        "print([name for name in ('torch', 'numpy', 'tree_sitter', 'tantivy', 'tokenizers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(data)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_client_is_light():
    """Each window would hold what the daemon holds already."""
    heavy = (
        "starlette",
        "uvicorn",
        "numpy",
        "torch",
        "tree_sitter",
        "tantivy",
        "typer",
        "codekin.index",
        "codekin.models",
    )
    code = f"import sys, codekin.daemon.client; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
