"""Who changed a hit last, what changed since, what a deleted name was: from real repositories, hostile ones too."""

import os
import subprocess
from datetime import UTC, datetime

import httpx
import pytest

from codekin import parsing, paths
from codekin.daemon.app import build_daemon
from codekin.daemon.services.embedding import EmbeddingEngine
from codekin.daemon.services.history import read_since
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.errors import UsageError
from codekin.storage import ChunkIndex, FileState
from fakes import FakeEmbedder

LEDGER = (
    "defmodule Ledger do\n"
    "  def close_month(entries, month) do\n    entries\n"
    "    |> Enum.filter(&(&1.month == month))\n    |> sum()\n  end\n\n"
    "  def sum(entries) do\n    entries\n    |> Enum.map(& &1.amount)\n    |> Enum.sum()\n  end\n"
    "end\n"
)
WITHOUT_CLOSE = LEDGER[: LEDGER.index("  def close_month")] + LEDGER[LEDGER.index("  def sum") :]
COMMANDS = ("core.fsmonitor", "core.pager", "diff.external", "diff.evil.textconv", "filter.evil.clean", "gpg.program")


def git(folder, *words, author="Ada", date="2026-01-02T03:04:05+00:00"):
    """Runs git as somebody at some time."""
    who = {
        "GIT_AUTHOR_NAME": author,
        "GIT_COMMITTER_NAME": author,
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    environment = {**os.environ, **who, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    subprocess.run(["git", *words], cwd=folder, env=environment, check=True, capture_output=True)


@pytest.fixture
def ledger_root(tmp_path):
    """A function of Ada, one that Bob changed in June, one that was deleted in March, one that is not committed."""
    folder = tmp_path / "shop"
    folder.mkdir()
    git(folder, "init", "--quiet")
    steps = [
        (LEDGER, "Ada", "2026-01-02T03:04:05+00:00", "Add the ledger"),
        (WITHOUT_CLOSE, "Eve", "2026-03-04T05:06:07+00:00", "Drop the month\x1b[31m"),
        (WITHOUT_CLOSE.replace("Enum.sum()", "Enum.reduce(0, &+/2)"), "Bob", "2026-06-07T08:09:10+00:00", "Sum anew"),
    ]
    (folder / "old.ex").write_text(
        "defmodule Old do\n  def audit(x) do\n    x\n    |> inspect()\n    |> IO.puts()\n  end\nend\n"
    )
    for text, author, date, subject in steps:
        (folder / "ledger.ex").write_text(text)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", subject, author=author, date=date)
    text = (folder / "ledger.ex").read_text()
    added = "  def draft(entries) do\n    entries\n    |> Enum.take(3)\n    |> sum()\n  end\nend\n"
    (folder / "ledger.ex").write_text("# On top.\n\n" + text.removesuffix("end\n") + added)
    return folder


@pytest.fixture
async def ask(data, ledger_root, monkeypatch):
    """Searches the workspace."""
    monkeypatch.setattr(OpenWorkspace, "start_indexer", lambda self: setattr(self, "state", "ready"))
    monkeypatch.setattr(EmbeddingEngine, "start_loading", lambda self: None)
    with ChunkIndex.open(paths.index_dir(data, ledger_root), write=True) as index:
        embedder = FakeEmbedder()
        index.ensure_space(embedder.space, embedder.name, embedder.dimensions)
        for path in sorted(ledger_root.glob("*.ex")):
            chunks, _ = parsing.cut_chunks(path.name, path.read_text())
            vectors = embedder.embed([chunk.text for chunk in chunks])
            by_digest = dict(zip((chunk.digest for chunk in chunks), vectors, strict=True))
            index.replace_file(path.name, FileState(1, 1, 1, "x", "elixir"), chunks, by_digest)
        index.promote(embedder.space)

    async def post(text, **body):
        answer = await client.post("/search", json={"root": str(ledger_root), "text": text, **body})
        return answer.status_code, answer.json()

    transport = httpx.ASGITransport(build_daemon(data).app)
    async with httpx.AsyncClient(transport=transport, base_url="http://codekin") as client:
        yield post


async def test_a_hit_says_who_changed_it_last(ask):
    """Author, date, commit and subject of the last commit of its lines, wherever they stand now; null for new code."""
    status, answer = await ask("Ledger.sum", history=True)
    assert status == 200
    changed = {hit["name"]: hit["changed"] for hit in answer["hits"] if hit["kind"] == "function"}
    assert (changed["Ledger.sum/1"]["author"], changed["Ledger.sum/1"]["subject"]) == ("Bob", "Sum anew")
    assert changed["Ledger.sum/1"]["date"] == "2026-06-07T08:09:10+00:00"
    assert changed["Ledger.draft/1"] is None
    assert changed["Old.audit/1"]["author"] == "Ada"


async def test_since_leaves_out_what_is_older(ask):
    """Only code that changed since a date, or was never committed, is left."""
    _, answer = await ask("entries inspect", since="2026-05-01", filters={"kinds": ["function"]})
    assert {hit["name"] for hit in answer["hits"]} == {"Ledger.sum/1", "Ledger.draft/1"}


async def test_a_deleted_name_says_until_when_it_existed(ask):
    """What a name was, where, and the commit that took it away; nothing for a name that is still there."""
    _, answer = await ask("close_month", history=True)
    deleted = answer["deleted"]
    assert (deleted["name"], deleted["path"], deleted["start_line"]) == ("Ledger.close_month/2", "ledger.ex", 2)
    assert (deleted["removed"]["author"], deleted["removed"]["date"][:10]) == ("Eve", "2026-03-04")
    assert "Enum.filter" in deleted["code"]
    assert "deleted" not in (await ask("sum", history=True))[1]
    assert "deleted" not in (await ask("never_there_at_all", history=True))[1]


async def test_no_date_is_one_sentence(ask):
    """A wrong date says how dates are written."""
    status, answer = await ask("sum", since="yesterday-ish")
    assert status == 400
    assert "2026-03-01" in str(answer)


async def test_nothing_that_a_repository_configures_is_run(ask, ledger_root, tmp_path):
    """Filters, drivers, monitors and pagers of a hostile repository stay unused."""
    trap = tmp_path / "ran"
    for key in COMMANDS:
        git(ledger_root, "config", key, f"touch '{trap}' #")
    (ledger_root / ".gitattributes").write_text("*.ex diff=evil filter=evil\n")
    _, answer = await ask("sum", history=True)
    assert answer["hits"][0]["changed"]["author"] == "Bob"
    assert (await ask("close_month", history=True))[1]["deleted"]["path"] == "ledger.ex"
    assert not trap.exists()


async def test_a_folder_without_history_gives_hits_without_changes(ask, ledger_root):
    """Where there is no git the hits come all the same."""
    (ledger_root / ".git").rename(ledger_root.parent / "moved")
    _, answer = await ask("Ledger.sum", history=True)
    assert {hit["changed"] for hit in answer["hits"]} == {None}


def test_dates_and_ages():
    """A date counts from its midnight in UTC, an age back from now."""
    now = datetime(2026, 6, 30, tzinfo=UTC)
    assert read_since("2026-06-01", now) == datetime(2026, 6, 1, tzinfo=UTC).timestamp()
    assert now.timestamp() - read_since("2w", now) == 14 * 86400
    assert read_since("", now) == 0
    with pytest.raises(UsageError, match="30d"):
        read_since("soon", now)
