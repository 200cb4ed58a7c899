"""The daemon of a developer with a team's server: one ranking of both, vectors taken, nothing lost without it."""

import asyncio
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from test_team_index import BANK, SHOP, commit, repository, work

from codekin.daemon.client import DaemonClient
from codekin.models.embedding.local import load_bundled
from codekin.team import access, trees
from codekin.team.database import TeamDatabase
from codekin.team.planning import parse_count, plan_team
from codekin.team.server import TeamService, build_app
from daemons import eventually

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def team(new_database: Callable[[], str], tmp_path: Path) -> Iterator[tuple[TeamDatabase, str]]:
    """The index of two repositories, and the address of its server."""
    with TeamDatabase(new_database()) as database:
        embedder = load_bundled()
        for name, files in (("shop", SHOP), ("bank", BANK)):
            trees.add_repository(database, name, str(repository(tmp_path / name, files)), ["main"])
        work(database, tmp_path, embedder)
        config = uvicorn.Config(build_app(TeamService(database, embedder)), port=0, log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
        thread.start()
        eventually(lambda: server.started)
        yield database, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        server.should_exit = True
        thread.join()


def test_a_daemon_merges_the_teams_hits_and_takes_its_vectors(
    team: tuple[TeamDatabase, str], data: Path, tmp_path: Path
) -> None:
    """Other repositories' code is ranked among the local code; the own clone embeds nothing that the team has."""
    database, url = team
    token = access.add_token(database, "dev")
    (data / "settings.toml").write_text(f'[team]\nurl = "{url}"\ntoken = "{token}"\ntimeout_seconds = 20.0\n')
    clone = tmp_path / "home" / "shop"
    clone.parent.mkdir()
    subprocess.run(["git", "clone", "-q", str(tmp_path / "shop"), str(clone)], check=True)
    with DaemonClient.connect(data) as client:
        for _ in client.lines("/index", {"root": str(clone)}):
            pass
        asked = {"root": str(clone), "path": "lib/shop/ledger.ex", "line": 4}
        hits = client.post("/similar", asked)["hits"]
        assert "codekin://bank/src/ledger.cpp" in [hit["path"] for hit in hits]
        assert not any(hit["path"].startswith("codekin://shop/") for hit in hits)
        assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
        found = client.post("/search", {"root": str(clone), "text": "unlock_zirconium_vault"})["hits"]
        assert found[0]["path"] == "codekin://bank/src/secret_vault.py"
        taken, asked_for = database.rows("SELECT sum(results), count(*) FROM audit WHERE route='/vectors'")[0]
        assert (taken, asked_for > 0) == (database.value("SELECT chunks FROM branch ORDER BY id LIMIT 1"), True)
        assert client.get("/status", root=str(clone))["team"] == "ready"
        access.revoke_token(database, "dev")
        commit(clone, {"lib/shop/other.ex": SHOP["lib/shop/ledger.ex"].replace("Ledger", "Other")})
        local = client.post("/search", {"root": str(clone), "text": "retry_with_backoff"})["hits"]
        assert [hit["path"] for hit in local][:1] == ["lib/shop/ledger.ex"]
        assert client.get("/status", root=str(clone))["team"] == "down"


def test_a_repository_cannot_name_a_team(tmp_path: Path, data: Path) -> None:
    """The address and the token count in the user's own file alone."""
    from codekin.settings import load_settings

    (tmp_path / ".codekin.toml").write_text('[team]\nurl = "http://evil.example"\ntoken = "x"\n')
    settings, problems = load_settings(data, tmp_path, {"team": {"url": "http://editor.example"}})
    assert settings.team.url == settings.team.token == ""
    assert len(problems) >= 2


def test_a_plan_grows_with_the_lines_and_the_dimensions() -> None:
    """750 million lines are 50 million chunks; the larger model takes more disk and more hours."""
    small, large = (plan_team(parse_count("750M"), model) for model in ("codekin_embed", "qodo"))
    assert small.chunks == large.chunks == 50_000_000
    assert small.disk_bytes < large.disk_bytes
    assert small.gpu_hours < large.gpu_hours
    assert plan_team(parse_count("1.5M"), "codekin_embed").limit.startswith("none")


def test_the_deployment_files_name_what_there_is() -> None:
    """Every command of the deployment files is one of `codekin server`."""
    for name in ("compose.yaml", "kubernetes.yaml", "Dockerfile", "codekin-server.service"):
        text = (REPOSITORY / "deploy" / name).read_text()
        assert "server" in text
        assert "worker" in text or name == "Dockerfile"
