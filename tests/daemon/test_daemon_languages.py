"""A workspace of every language: real chunks in a real index, searched by name and by language over the routes."""

import shutil
from pathlib import Path

import httpx
import pytest

from codekin import parsing, paths
from codekin.daemon.app import build_daemon
from codekin.daemon.services.embedding import EmbeddingEngine
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.storage import ChunkIndex, FileState
from fakes import FakeEmbedder

GOLDEN = Path(__file__).parents[1] / "parsing" / "golden"


@pytest.fixture
def mixed_root(tmp_path):
    """The samples of all languages."""
    folder = tmp_path / "mixed"
    shutil.copytree(GOLDEN, folder, ignore=shutil.ignore_patterns("*.golden"))
    return folder


@pytest.fixture
async def search(data, mixed_root, monkeypatch):
    """Searches the samples; gives the hits."""
    monkeypatch.setattr(OpenWorkspace, "start_indexer", lambda self: setattr(self, "state", "ready"))
    monkeypatch.setattr(EmbeddingEngine, "start_loading", lambda self: None)
    with ChunkIndex.open(paths.index_dir(data, mixed_root), write=True) as index:
        embedder = FakeEmbedder()
        index.ensure_space(embedder.space, embedder.name, embedder.dimensions)
        for path in sorted(mixed_root.iterdir()):
            text = path.read_text("utf-8")
            chunks, _ = parsing.cut_chunks(path.name, text)
            vectors = embedder.embed([chunk.text for chunk in chunks])
            by_digest = dict(zip((chunk.digest for chunk in chunks), vectors, strict=True))
            state = FileState(1, 1, 1, path.name, parsing.detect_language(path.name, text) or "")
            index.replace_file(path.name, state, chunks, by_digest)
        index.promote(embedder.space)

    async def ask(text, **filters):
        body = {"root": str(mixed_root), "text": text, "limit": 20, "filters": filters}
        answer = await client.post("/search", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["hits"]

    transport = httpx.ASGITransport(build_daemon(data).app)
    async with httpx.AsyncClient(transport=transport, base_url="http://codekin") as client:
        yield ask


NAMED = {
    "erlang": "ledger:add/2",
    "gleam": "total",
    "heex": "Shop.Components.table",
    "markdown": "The ledger",
    "elixir": "Counting.add/2",
    "cpp": "Ledger::shared",
    "rust": "Account::open",
    "go": "Account.Add",
    "java": "Account.Builder.build",
    "kotlin": "Registry.post",
    "csharp": "Shop.Ledgers.Account.Total",
    "javascript": "module.exports.close",
    "typescript": "Shop.open",
    "tsx": "AccountRow",
    "ruby": "Shop::Account::total",
    "php": "Audited::audit",
    "swift": "Registry.find",
    "scala": "Entry.isLarge",
    "lua": "Account.close",
    "zig": "Account.add",
    "haskell": "Shop.Ledger.sumAll",
    "ocaml": "registry.find",
    "julia": "Shop.add!",
    "r": "total",
    "shell": "total",
    "sql": "add_amount",
    "protobuf": "Ledger.Add",
    "terraform": "aws_s3_bucket.ledger",
    "yaml": "sample.yaml",
}


async def test_what_every_language_defines_is_found_by_its_name(search):
    """The first hit of a name in its language is what bears it."""
    found = {}
    for language, name in NAMED.items():
        hits = await search(name, languages=[language])
        found[language] = hits[0]["name"] if hits else None
        assert {hit["language"] for hit in hits} <= {language}
    assert found == NAMED


async def test_a_language_is_named_as_people_name_it(search):
    """`lang:` takes an extension or a usual short name."""
    assert {hit["language"] for hit in await search("lang:erl add")} == {"erlang"}
    assert {hit["language"] for hit in await search("lang:hcl bucket")} == {"terraform"}
