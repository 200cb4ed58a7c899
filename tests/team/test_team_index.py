"""A team's index from git to answers: workers, search, rights; on a real Postgres."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from codekin.errors import CodekinError, StoreError, UsageError
from codekin.indexing.embedding_queue import possession_proof
from codekin.models.embedding.local import load_bundled
from codekin.team import access, mirrors, trees
from codekin.team.database import TeamDatabase
from codekin.team.server import HANDLERS, TeamService, build_app
from codekin.team.vectors import TeamVectors
from codekin.team.worker import Worker, WorkerOptions
from codekin.types import Chunk
from fakes import FakeEmbedder

SHOP = {
    "lib/shop/ledger.ex": """defmodule Shop.Ledger do
  @doc "Closes the month and carries the balance over."
  def close_month(ledger, month) do
    entries = Enum.filter(ledger.entries, fn entry -> entry.month == month end)
    balance = Enum.reduce(entries, 0, fn entry, sum -> sum + entry.amount end)
    %{ledger | closed: [month | ledger.closed], balance: balance}
  end

  def retry_with_backoff(fun, attempts, delay) do
    case fun.() do
      {:ok, result} -> {:ok, result}
      {:error, _} when attempts > 0 -> Process.sleep(delay); retry_with_backoff(fun, attempts - 1, delay * 2)
      error -> error
    end
  end
end
""",
    "notes.txt": "no code",
    "node_modules/dep/x.py": "def vendored(): pass\n",
}
BANK = {
    "src/secret_vault.py": '''class Vault:
    """Holds the zirconium keys."""

    def unlock_zirconium_vault(self, passphrase, attempts):
        """Opens the vault with a passphrase."""
        for attempt in range(attempts):
            if self.matches(passphrase):
                self.opened = True
                return attempt
        raise PermissionError("wrong passphrase")
''',
    "src/ledger.cpp": """int close_month(Ledger& ledger, int month) {
  int balance = 0;
  for (auto& entry : ledger.entries) {
    if (entry.month == month) balance += entry.amount;
  }
  ledger.closed.push_back(month);
  return balance;
}
""",
}
VAULT = "unlock_zirconium_vault"


def git(folder: Path, *arguments: str) -> str:
    """Runs git with a fixed author."""
    who = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def repository(folder: Path, files: dict[str, str]) -> Path:
    """A repository of one commit on `main`."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, files)
    return folder


def commit(folder: Path, files: dict[str, str | None]) -> None:
    """Writes (or with None removes) files and commits."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink() if text is None else path.write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "change")


@pytest.fixture
def database(new_database: Callable[[], str]) -> Iterator[TeamDatabase]:
    """An empty index."""
    with TeamDatabase(new_database()) as opened:
        yield opened


def work(database: TeamDatabase, tmp_path: Path, embedder: object = None) -> None:
    """One worker until nothing is due."""
    options = WorkerOptions(tmp_path / "worker", poll_seconds=3600)
    Worker(database, options, embedder or FakeEmbedder()).run(until_idle=True)  # type: ignore[arg-type]


def content(database: TeamDatabase) -> list[tuple[object, ...]]:
    """All that an index says, without its numbers: equal for equal indexes."""
    return database.rows(
        "SELECT repository.name, branch.name, path, chunk.name, chunk.kind, start_line, end_line, part, encode(digest,"
        " 'hex'), embedding::text FROM branch JOIN repository ON repository.id=branch.repository JOIN tree ON"
        " tree.branch=branch.id JOIN chunk USING (blob) JOIN content ON content.id=chunk.content LEFT JOIN vectors_1 v"
        " ON v.content=content.id ORDER BY 1, 2, 3, 6, 4, 8"
    )


class Client:
    """A client of the app under one token."""

    def __init__(self, service: TeamService, token: str) -> None:
        self._client = TestClient(build_app(service), headers={"Authorization": f"Bearer {token}"})

    def post(self, route: str, /, **body: object) -> dict:
        """The answer, failures included."""
        return self._client.post(route, content=json.dumps(body)).json()

    def get(self, path: str) -> object:
        """A GET."""
        return self._client.get(path)


def test_a_worker_reads_a_repository_and_the_server_answers(database: TeamDatabase, tmp_path: Path) -> None:
    """Code is found by name, by what it does and by likeness, with the scores and reasons of the product's ranking."""
    source = repository(tmp_path / "shop", SHOP)
    bank = repository(tmp_path / "bank", BANK)
    for folder in (source, bank):
        trees.add_repository(database, folder.name, str(folder), [mirrors.default_branch(str(folder))])
    embedder = load_bundled()
    work(database, tmp_path, embedder)
    client = Client(TeamService(database, embedder), access.add_token(database, "dev"))
    by_name = client.post("/search", text="close_month")["hits"]
    assert {(one["name"], one["repository"]) for one in by_name[:2]} == {
        ("Shop.Ledger.close_month/2", "shop"),
        ("close_month", "bank"),
    }
    by_meaning = client.post("/search", text="try again with a longer wait after a failure")["hits"]
    assert by_meaning[0]["name"] == "Shop.Ledger.retry_with_backoff/3"
    like = client.post("/similar", snippet=BANK["src/ledger.cpp"], language="cpp")
    assert like["space"] == embedder.space
    assert (like["hits"][0]["path"], like["hits"][0]["reasons"][0]) == ("src/ledger.cpp", "identical copy")
    assert "Shop.Ledger.close_month/2" in [hit["name"] for hit in like["hits"]]
    only = client.post("/search", text="close month", filters={"languages": ["cpp"], "paths": ["src/**"]})["hits"]
    assert {hit["path"] for hit in only} == {"src/ledger.cpp"}
    rows = client.post("/status")["repositories"]
    assert [(row["repository"], row["files"], row["problem"]) for row in rows] == [("bank", 2, ""), ("shop", 1, "")]


def test_branches_and_forks_share_what_they_have_in_common(database: TeamDatabase, tmp_path: Path) -> None:
    """A second branch and a fork add rows of their own changes alone; a push is read by its difference."""
    source = repository(tmp_path / "shop", SHOP)
    trees.add_repository(database, "shop", str(source), ["main"])
    work(database, tmp_path)
    stored = database.value("SELECT count(*) FROM content")
    git(source, "branch", "feature")
    fork = tmp_path / "fork"
    git(tmp_path, "clone", "-q", str(source), str(fork))
    trees.add_repository(database, "shop", str(source), ["main", "feature"])
    trees.add_repository(database, "fork", str(fork), ["main"])
    work(database, tmp_path)
    assert database.value("SELECT count(*) FROM content") == stored
    assert database.value("SELECT count(*) FROM chunk") == stored
    assert database.value("SELECT count(*) FROM tree") == 3
    commit(
        source, {"lib/shop/new.ex": SHOP["lib/shop/ledger.ex"].replace("close_month", "open_month"), "notes.txt": None}
    )
    database.run("UPDATE job SET due=now()")
    work(database, tmp_path)
    names = {row[0] for row in database.rows("SELECT name FROM chunk")}
    assert "Shop.Ledger.open_month/2" in names
    trees.remove_repository(database, "shop")
    assert database.value("SELECT count(*) FROM content") == stored


@pytest.mark.parametrize("route", [route for route in HANDLERS if route != "/refresh"])
def test_a_token_sees_nothing_of_other_repositories(database: TeamDatabase, tmp_path: Path, route: str) -> None:
    """No route gives a byte of a repository that a token does not open, by whatever it is asked for."""
    source, bank = repository(tmp_path / "shop", SHOP), repository(tmp_path / "bank", BANK)
    for folder in (source, bank):
        trees.add_repository(database, folder.name, str(folder), ["main"])
    work(database, tmp_path)
    service = TeamService(database, FakeEmbedder())
    scoped = access.add_token(database, "shop only", ["shop"])
    client, everyone = Client(service, scoped), Client(service, access.add_token(database, "all"))
    body = next(
        row
        for row in database.rows(
            "SELECT digest, body FROM content JOIN chunk ON content=content.id WHERE chunk.name LIKE %s", f"%{VAULT}%"
        )
    )
    digest, text = body[0].hex(), trees_text(body[1])
    requests = {
        "/search": [
            {"text": VAULT},
            {"text": "zirconium", "repositories": ["bank"]},
            {"text": VAULT, "branch": "main"},
        ],
        "/similar": [{"snippet": text, "language": "python"}, {"snippet": text, "repositories": ["bank"]}],
        "/duplicates": [{}, {"repositories": ["bank"]}],
        "/vectors": [{"space": "fake-1", "proofs": {digest: possession_proof(key_of(scoped), text)}}],
        "/document": [{"repository": "bank", "path": "src/secret_vault.py"}],
        "/status": [{}],
    }[route]
    for request in requests:
        answer = json.dumps(client.post(route, **request))
        for leaked in ("bank", "secret_vault", "Vault.", digest) if route != "/document" else ("Vault", digest):
            assert leaked not in answer, (route, request)
    opened = {"/vectors": [{"space": "fake-1", "proofs": {digest: "0" * 64}}]}.get(route, requests)
    if route == "/vectors":
        assert everyone.post(route, **opened[0])["vectors"] == {}
    elif route != "/duplicates":
        assert "ault" in json.dumps(everyone.post(route, **requests[0])) or route == "/status"
    unknown = client.post(route, **{**requests[-1], **({"repositories": ["nowhere"]} if route != "/status" else {})})
    known = client.post(route, **{**requests[-1], **({"repositories": ["bank"]} if route != "/status" else {})})
    assert {**unknown, "ms": 0} == {**known, "ms": 0}


def trees_text(body: bytes) -> str:
    """A stored text."""
    from codekin.storage.database import decompress_text

    return decompress_text(body) or ""


def key_of(token: str) -> bytes:
    """The key of a token's proofs."""
    from hashlib import sha256

    return sha256(token.encode()).digest()


def test_vectors_are_given_for_a_text_that_the_reader_has(database: TeamDatabase, tmp_path: Path) -> None:
    """A proof under one's own token opens the vector; a hash alone, or another's proof, opens none."""
    trees.add_repository(database, "shop", str(repository(tmp_path / "shop", SHOP)), ["main"])
    work(database, tmp_path)
    one, other = (access.add_token(database, name) for name in ("one", "other"))
    service = TeamService(database, FakeEmbedder())
    digest, body = database.rows("SELECT digest, body FROM content LIMIT 1")[0]
    proof = possession_proof(key_of(one), trees_text(body))
    given = Client(service, one).post("/vectors", space="fake-1", proofs={digest.hex(): proof})["vectors"]
    assert given.keys() == {digest.hex()}
    assert Client(service, other).post("/vectors", space="fake-1", proofs={digest.hex(): proof})["vectors"] == {}
    assert Client(service, one).post("/vectors", space="another", proofs={digest.hex(): proof})["vectors"] == {}


def test_tokens_end_and_requests_are_noted(database: TeamDatabase) -> None:
    """Unknown, expired and revoked tokens are refused in a sentence; the audit log has each request, not its text."""
    service = TeamService(database)
    token, short = access.add_token(database, "dev", days=1), access.add_token(database, "short", days=1)
    database.run("UPDATE token SET expires=now() - interval '1 second' WHERE name='short'")
    assert "hits" in Client(service, token).post("/search", text="hush")
    assert "expired" in Client(service, short).post("/search", text="x")["error"]["message"]
    assert "not known" in Client(service, "ckt_wrong").post("/search", text="x")["error"]["message"]
    access.revoke_token(database, "dev")
    assert "revoked" in Client(service, token).post("/search", text="x")["error"]["message"]
    assert [one["state"] for one in access.list_tokens(database)] == ["revoked", "expired"]
    assert database.rows("SELECT token, route, status FROM audit") == [("dev", "/search", 200)]
    assert token not in str(database.rows("SELECT * FROM token"))


def test_a_token_that_asks_too_often_waits(database: TeamDatabase) -> None:
    """Beyond the rate a request is refused with 429, and other tokens are not held up."""
    service = TeamService(database, limiter=access.RateLimiter(rate=0.001, burst=2))
    one, other = (Client(service, access.add_token(database, name)) for name in ("one", "other"))
    assert ["error" in one.post("/status") for _ in range(3)] == [False, False, True]
    assert "error" not in other.post("/status")


def test_health_readiness_and_metrics(database: TeamDatabase) -> None:
    """Health needs nothing, readiness the database, metrics a token for all repositories."""
    service = TeamService(database)
    everyone = Client(service, access.add_token(database, "all"))
    everyone.post("/search", text="x")
    assert everyone.get("/health").status_code == 200
    assert everyone.get("/ready").json() == {"ready": True}
    assert 'codekin_requests_total{route="/search",status="200"} 1' in everyone.get("/metrics").text
    scoped = Client(service, access.add_token(database, "none", []))
    assert scoped.get("/metrics").status_code == 403
    database.close()
    assert everyone.get("/ready").status_code == 503
    assert "lost" in everyone.post("/search", text="x")["error"]["message"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"text": ""}, "between 1 and"),
        ({"text": "x", "limit": 0}, "whole number"),
        ({"text": "x", "filters": []}, None),
        ({"text": "x", "filters": {"paths": ["**/**/a/**/b/**/c/**"]}}, "`**`"),
        ({"text": "x", "repositories": "shop"}, "list"),
        ({"text": "\ud800 \0 x"}, None),
    ],
)
def test_a_wrong_request_is_one_sentence(database: TeamDatabase, wrong: dict, said: str | None) -> None:
    """Values out of bounds are refused by their name; odd texts are answered."""
    client = Client(TeamService(database), access.add_token(database, "dev"))
    trees.add_repository(database, "shop", "/nowhere", ["main"])
    answer = client.post("/search", **wrong)
    assert (said in answer["error"]["message"]) if said else ("hits" in answer)


def test_what_is_wrong_with_the_database_is_one_sentence(new_database: Callable[[], str]) -> None:
    """A wrong address, a newer schema and a database without one say what to do."""
    address = new_database()
    with pytest.raises(UsageError, match="cannot be reached"):
        TeamDatabase("postgresql://user:secret@127.0.0.1:1/none")
    with pytest.raises(UsageError, match="no address"):
        TeamDatabase("nonsense=1")
    with TeamDatabase(address) as database:
        assert database.migrate() == 0
        database.run("INSERT INTO migration VALUES (9999, 'later')")
        with pytest.raises(StoreError, match="newer Codekin"):
            database.migrate()
        database.run("DROP TABLE migration")
        with pytest.raises(StoreError, match="no index yet"):
            database.require_current()


def test_a_lost_connection_is_one_sentence_and_the_next_one_works(database: TeamDatabase) -> None:
    """A query whose connection ends is refused; what was committed stays, and the pool connects anew."""
    with pytest.raises(StoreError, match="lost"):
        database.run("SELECT pg_terminate_backend(pg_backend_pid())")
    assert database.value("SELECT 1") == 1


def test_a_repository_that_cannot_be_read_keeps_its_last_state(database: TeamDatabase, tmp_path: Path) -> None:
    """Its problem is in the status; the chunks of before still answer."""
    source = repository(tmp_path / "shop", SHOP)
    trees.add_repository(database, "shop", str(source), ["main"])
    work(database, tmp_path)
    source.rename(tmp_path / "moved")
    database.run("UPDATE job SET due=now()")
    work(database, tmp_path)
    assert "cannot be read" in database.value("SELECT problem FROM branch")
    assert database.value("SELECT count(*) FROM tree") == 1


def test_killed_workers_leave_an_index_equal_to_a_fresh_one(new_database: Callable[[], str], tmp_path: Path) -> None:
    """Workers are killed at any moment; the last one ends with what an undisturbed one has: nothing lost or double."""
    source = repository(
        tmp_path / "many", {f"lib/f{n}.ex": SHOP["lib/shop/ledger.ex"].replace("Ledger", f"L{n}") for n in range(150)}
    )
    killed, fresh = new_database(), new_database()
    script = tmp_path / "work.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nsys.path[:0] = sys.argv[3:]\nfrom fakes import FakeEmbedder\n"
        "from codekin.team import worker\nfrom codekin.team.database import TeamDatabase\nworker.FILES_PER_BATCH = 4\n"
        "worker.TEXTS_PER_BATCH = 8\nprint('go', flush=True)\n"
        "worker.Worker(TeamDatabase(sys.argv[1]), worker.WorkerOptions(Path(sys.argv[2]), 3600, 0.2),"
        " FakeEmbedder()).run(until_idle=True)\n"
    )
    with TeamDatabase(killed) as database:
        trees.add_repository(database, "many", str(source), ["main"])
    for delay in (0.05, 0.15, 0.3, 0.5):
        command = [sys.executable, str(script), killed, str(tmp_path / "mirrors"), str(Path(__file__).parents[1])]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            os.kill(process.pid, signal.SIGKILL)
    contents = []
    for address in (killed, fresh):
        with TeamDatabase(address) as database:
            trees.add_repository(database, "many", str(source), ["main"])
            wait_until_due(database)
            work(database, tmp_path)
            contents.append(content(database))
    assert contents[0] == contents[1]
    assert len(contents[0]) >= 300


def wait_until_due(database: TeamDatabase) -> None:
    """Until the lease of a killed worker has ended."""
    deadline = time.monotonic() + 60
    while database.value("SELECT count(*) FROM job WHERE leased > now()"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_new_model_serves_once_every_text_has_its_vector(database: TeamDatabase, tmp_path: Path) -> None:
    """Until then the old space answers; the switch is one step, and the old one is kept."""
    trees.add_repository(database, "shop", str(repository(tmp_path / "shop", SHOP)), ["main"])
    work(database, tmp_path)
    vectors = TeamVectors(database)
    vectors.ensure_space("fake-2", "newer", 64)
    assert vectors.status().space == "fake-1"
    work(database, tmp_path, FakeEmbedder(name="newer", space="fake-2"))
    assert [(one.fingerprint, one.state) for one in vectors.status().spaces] == [
        ("fake-1", "kept"),
        ("fake-2", "serving"),
    ]


def test_errors_of_a_team_are_codekins() -> None:
    """Whoever catches CodekinError catches a refused token."""
    assert issubclass(access.AccessError, CodekinError)
    assert trees.key_of_name("Shop.Ledger.close_month/2") == "closemonth"
    assert Chunk("a", "elixir", "function", "f", 1, 1, "x").digest
