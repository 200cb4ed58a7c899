"""What docs/team.md tells an operator to run: its commands, a copy by pg_basebackup, a replica that takes over."""

import logging
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from test_team_index import SHOP, Client, content, repository, work

from codekin.cli.app import run
from codekin.errors import StoreError
from codekin.team import access, trees
from codekin.team.database import TeamDatabase
from codekin.team.server import TeamService
from daemons import eventually
from fakes import FakeEmbedder
from postgres import replica

DOCS = Path(__file__).parents[2] / "docs" / "team.md"


def test_the_commands_of_the_page_run(
    new_database: Callable[[], str],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each command of "Start" is run as it is written, with a repository of ours; the worker once, the server not."""
    monkeypatch.setenv("CODEKIN_DATABASE", new_database())
    source = repository(tmp_path / "shop", SHOP)
    written = re.findall(r"^codekin (server .*)$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(written) >= 6
    for line in written:
        if "--certificate" in line:
            continue
        words = shlex.split(line.replace("https://git.example/shop.git", str(source)))
        level = logging.getLogger().level
        assert run([*words, "--once"] if words[1:] == ["worker"] else words) == 0, line
        logging.getLogger().setLevel(level)
    said = capsys.readouterr().out
    assert re.search(r"^ckt_\S{40,}$", said, re.MULTILINE)
    assert re.search(r"shop\s+main\s+1\s+", said)
    assert run(["server", "plan", "--lines", "750M", "--model", "qodo"]) == 0
    assert "50,000,000" in capsys.readouterr().out
    assert run(["server", "token", "revoke", "nobody"]) == 2
    assert run(["server", "status", "--database", "postgresql://127.0.0.1:1/x"]) == 2
    assert "cannot be reached" in capsys.readouterr().err


def test_a_replica_serves_and_takes_over(new_database: Callable[[], str], tmp_path: Path) -> None:
    """It answers as the primary does, follows it, refuses to be written, and once promoted goes on as an index."""
    address = new_database()
    with TeamDatabase(address) as primary:
        trees.add_repository(primary, "shop", str(repository(tmp_path / "shop", SHOP)), ["main"])
        work(primary, tmp_path)
        token = access.add_token(primary, "dev")
        with replica(address) as (copy, promote), TeamDatabase(copy) as reading:
            assert reading.migrate() == 0
            client = Client(TeamService(reading, FakeEmbedder()), token)
            assert client.post("/search", text="close_month")["hits"][0]["name"] == "Shop.Ledger.close_month/2"
            with pytest.raises(StoreError, match="replica"):
                trees.add_repository(reading, "other", "/other", ["main"])
            other = repository(tmp_path / "other", {"lib/o.ex": SHOP["lib/shop/ledger.ex"].replace("Ledger", "Other")})
            trees.add_repository(primary, "other", str(other), ["main"])
            work(primary, tmp_path)
            eventually(lambda: content(reading) == content(primary))
            promote()
            trees.remove_repository(reading, "other")
            work(reading, tmp_path)
            assert {row[0] for row in content(reading)} == {"shop"}
