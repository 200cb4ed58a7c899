"""The routes over a real index, without an indexer or a model: shapes, checks, degraded answers."""

import os
import subprocess
import sys

import httpx
import pytest

from codekin import parsing, paths
from codekin.daemon.app import build_daemon
from codekin.daemon.services.embedding import EmbeddingEngine
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.storage import ChunkIndex, FileState
from fakes import FakeEmbedder


@pytest.fixture
def daemon(data, root, monkeypatch):
    """A daemon whose workspaces have no indexer; the index is written here."""
    monkeypatch.setattr(OpenWorkspace, "start_indexer", lambda self: setattr(self, "state", "ready"))
    monkeypatch.setattr(EmbeddingEngine, "start_loading", lambda self: None)
    with ChunkIndex.open(paths.index_dir(data, root), write=True) as index:
        embedder = FakeEmbedder()
        index.ensure_space(embedder.space, embedder.name, embedder.dimensions)
        for path in sorted(root.iterdir()):
            chunks, _ = parsing.cut_chunks(path.name, path.read_text())
            vectors = embedder.embed([chunk.text for chunk in chunks])
            by_digest = dict(zip((chunk.digest for chunk in chunks), vectors, strict=True))
            index.replace_file(path.name, FileState(1, 1, 1, "x", "elixir"), chunks, by_digest)
        index.promote(embedder.space)
    return build_daemon(data)


@pytest.fixture
async def ask(daemon):
    """Posts to a route; gives status and answer."""

    async def post(route, **body):
        answer = await client.post(route, json=body)
        return answer.status_code, answer.json()

    async with httpx.AsyncClient(transport=httpx.ASGITransport(daemon.app), base_url="http://codekin") as client:
        yield post


async def test_similar_has_the_shape_of_its_contract(ask, root):
    """The answer has exactly the keys that editors and scripts read."""
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
    """What was typed since the last save is what the answer is about."""
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
    """Before the model is loaded, a search uses words alone, and its result says so."""
    snippet = "def fetch(cache, key, other) do\n  Map.get(cache, key) || other\nend"
    status, answer = await ask("/similar", root=str(root), snippet=snippet, language="elixir")
    assert status == 200
    assert {hit["path"] for hit in answer["hits"]} >= {"alpha.ex", "beta.ex"}
    assert (answer["degraded"], answer["space"]) == ("model is loading", "")


async def test_search_finds_words_while_the_model_loads(ask, root):
    """Search does not wait for the model."""
    status, answer = await ask("/search", root=str(root), text="fetch default from cache", limit=3)
    assert status == 200
    assert answer["query"] == {"text": "fetch default from cache"}
    assert answer["hits"]
    assert answer["degraded"] == "model is loading"


async def test_a_selection_is_searched_as_it_is(ask, root):
    """A selected block is not widened to its function."""
    _, answer = await ask("/similar", root=str(root), path="alpha.ex", line=3, end_line=7)
    assert (answer["query"]["start_line"], answer["query"]["end_line"]) == (3, 7)
    assert answer["hits"][0]["path"] == "beta.ex"


async def test_duplicates_come_in_groups(ask, root):
    """Copies of one function are one group."""
    status, answer = await ask("/duplicates", root=str(root))
    assert status == 200
    assert {frozenset(hit["path"] for hit in group) for group in answer["groups"]} == {
        frozenset({"alpha.ex", "beta.ex"})
    }


async def test_lenses_count_similar_code_and_can_be_listed_first(ask, root):
    """An editor gets the places at once and the counts for the lines it asks for."""
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
    """A wrong request gets one sentence that names the key; no file outside the workspace is read."""
    (root / "link.ex").symlink_to("/etc/passwd")
    os.mkfifo(root / "pipe.ex")
    status, answer = await ask(route, root=str(root), **body)
    assert status == 400
    assert sentence in answer["error"]["message"]
    assert answer["error"]["type"] == "UsageError"


@pytest.mark.parametrize("given", ["relative", "/", "/no/such/folder", "/etc/passwd", "a\0b", 5, None])
async def test_a_root_must_be_a_real_folder(ask, given):
    """Only an absolute path to a folder below the root of the file system is a workspace."""
    status, answer = await ask("/workspaces/open", root=given)
    assert status == 400
    assert answer["error"]["type"] == "UsageError"


async def test_bodies_that_are_no_objects_are_refused(daemon):
    """A body that is not a JSON object is a wrong request, not a failure."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(daemon.app), base_url="http://codekin") as client:
        for body in (b"{", b"[1]", b"3", b"\xff\xfe", b"[" * 100_000):
            answer = await client.post("/similar", content=body)
            assert answer.status_code == 400
            assert answer.json()["error"]["type"] == "UsageError"


async def test_the_status_says_what_is_wrong_and_what_to_do(ask, daemon, root, data):
    """Each setting that was refused is among the problems."""
    (root / ".codekin.toml").write_text("[models]\nembedder = 'evil'\n")
    (data / "settings.toml").write_text("[index]\nmax_file_kb = 'big'\n")
    _, status = await ask("/workspaces/open", root=str(root), settings={"similar": {"limit": -1}})
    assert {"root", "state", "files", "chunks", "embedded", "progress", "model", "space", "journal"} <= set(status)
    assert (status["state"], status["files"], status["space"]) == ("ready", 2, "fake-1")
    for key in ("models.embedder", "index.max_file_kb"):
        assert any(key in problem for problem in status["problems"])
    assert not any("similar.limit" in problem for problem in status["problems"])  # its own window reports that


async def test_a_changed_settings_file_counts_at_once(ask, root):
    """The next request follows the settings as they are now."""
    (root / ".codekin.toml").write_text("[similar]\nlimit = 1\n")
    _, before = await ask("/search", root=str(root), text="fetch default from cache")
    (root / ".codekin.toml").write_text("[similar]\nlimit = 2\n")
    _, after = await ask("/search", root=str(root), text="fetch default from cache")
    assert (len(before["hits"]), len(after["hits"])) == (1, 2)


async def test_an_index_that_cannot_be_read_is_a_problem_not_a_failure(ask, root, data):
    """The status answers over a damaged file, and names it."""
    folder = paths.index_dir(data, root)
    for path in folder.glob("index.sqlite*"):
        path.write_bytes(b"broken" * 1000)
    status, answer = await ask("/workspaces/open", root=str(root))
    assert status == 200
    assert answer["problems"]


def test_the_app_is_built_without_models(data):
    """The first handshake waits for no heavy library."""
    code = (
        "import sys; from pathlib import Path; from codekin.daemon.app import build_daemon;"
        "build_daemon(Path(sys.argv[1]));"
        "print([name for name in ('torch', 'numpy', 'tree_sitter', 'tantivy', 'tokenizers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(data)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_client_is_light():
    """The daemon's client imports no heavy library."""
    heavy = (
        "starlette",
        "uvicorn",
        "numpy",
        "torch",
        "tree_sitter",
        "tantivy",
        "typer",
        "rich",
        "codekin.storage",
        "codekin.models",
    )
    code = f"import sys, codekin.daemon.client; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_link_inside_the_workspace_is_the_file_it_leads_to(ask, root):
    """A function is not similar to itself, whichever path leads to it."""
    (root / "alias.ex").symlink_to("alpha.ex")
    (root / "folder").symlink_to(".")
    (root / "outside.ex").symlink_to("/etc/hostname")
    responses = [await ask("/similar", root=str(root), path=path, line=3) for path in ("alias.ex", "folder/alpha.ex")]
    for status, answer in responses:
        assert (status, answer["query"]["path"]) == (200, "alpha.ex")
        assert [hit["path"] for hit in answer["hits"] if hit["score"] == 1.0] == ["beta.ex"]
    status, answer = await ask("/similar", root=str(root), path="outside.ex", line=1)
    assert (status, "is outside the workspace" in answer["error"]["message"]) == (400, True)


async def test_a_left_out_file_is_not_sent_to_an_embedder_elsewhere(daemon, ask, root, monkeypatch):
    """No text or vector of a secret or ignored file is sent to a remote server."""
    seen = []
    monkeypatch.setattr(EmbeddingEngine, "is_remote", True)

    class Recorder(FakeEmbedder):
        def embed(self, texts, kind="passage"):
            seen.extend(texts)
            return super().embed(texts, kind)

    monkeypatch.setattr(EmbeddingEngine, "embedder", lambda self: Recorder())
    (root / ".gitignore").write_text("hidden.ex\n")
    text = (root / "alpha.ex").read_text().replace("fetch", "walrus")
    secret = text.replace(":expired", f'"{"AKIA" + "QW7XNPLM4RTZ8VBC"}"')
    for path, content in (("hidden.ex", text), ("open.ex", secret), (".env", text)):
        status, answer = await ask("/similar", root=str(root), path=path, text=content, line=3)
        assert (status, "not sent" in answer["degraded"]) == (200, True)
        assert (await ask("/lens", root=str(root), path=path, text=content))[0] == 200
    assert not any("walrus" in text for text in seen)
    await ask("/similar", root=str(root), path="open.ex", text=text, line=3)
    assert any("walrus" in text for text in seen)


DRAFT = """
  def load(store, id, fallback) do
    case Map.get(store, id) do
      nil -> {:ok, fallback}
      :expired -> {:error, :expired}
      found -> {:ok, found}
    end
  end
end
"""


def commit_all(root):
    """Commits every file of a folder."""
    git = ("git", "-c", "user.name=A", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "Add")):
        subprocess.run([*git, *words], cwd=root, check=True, capture_output=True)


async def test_a_whole_new_function_that_repeats_code_is_told_of(ask, root):
    """A draft is compared when it parses; half a function, an allowed one and committed code are silent."""

    async def repeated(text):
        status, answer = await ask("/drafts", root=str(root), path="alpha.ex", text=text)
        assert status == 200
        return [(one["query"]["name"], one["existing"][0]["relation"]) for one in answer["functions"]]

    saved = (root / "alpha.ex").read_text()
    draft = saved.removesuffix("end\n") + DRAFT
    assert await repeated(draft) == [("Alpha.load/3", "renamed copy")]
    assert await repeated(saved) == []
    assert await repeated(draft.replace("found -> {:ok, found}", "found -> {:ok, ")) == []
    assert await repeated(draft.replace("  def load", "  # codekin: allow\n  def load")) == []
    (root / "alpha.ex").write_text(draft)
    commit_all(root)
    assert await repeated(draft) == []
