"""`codekin server`: a team's index on Postgres: its server, workers, repositories, tokens and plan."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from codekin import paths
from codekin.cli import options
from codekin.cli.output import print_json, print_line, print_note, print_rows
from codekin.errors import UsageError
from codekin.models.loading import choose_embedder
from codekin.protocols import Embedder
from codekin.settings import load_settings

try:
    from codekin.team import access, mirrors, planning, server, trees
    from codekin.team.database import TeamDatabase
    from codekin.team.worker import Worker, WorkerOptions
except ModuleNotFoundError as error:
    raise UsageError('A team\'s index needs psycopg: pip install "codekin[team]".') from error

group = typer.Typer(help="Serve a team's index on Postgres, and fill it.", add_completion=False)
token_group = typer.Typer(help="Make, list and revoke the tokens of readers.", no_args_is_help=True)
group.add_typer(token_group, name="token")

Database = Annotated[
    str,
    typer.Option("--database", envvar="CODEKIN_DATABASE", help="Address of the Postgres database.", show_default=False),
]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="The port to listen at.")]
Certificate = Annotated[str, typer.Option("--certificate", help="A certificate for HTTPS (PEM).", show_default=False)]
Key = Annotated[str, typer.Option("--key", help="The certificate's private key (PEM).", show_default=False)]


@contextmanager
def _open(address: str, connections: int = 4) -> Iterator[TeamDatabase]:
    """The database with a current schema."""
    if not address:
        raise UsageError("Name the database: --database postgresql://user@host/name, or set CODEKIN_DATABASE.")
    with TeamDatabase(address, connections) as database:
        database.migrate()
        yield database


def _embedder(data_dir: Path | None) -> Embedder:
    """The embedder of the settings: a local model or `models.remote`."""
    data = paths.data_dir(data_dir)
    settings, problems = load_settings(data)
    for problem in problems:
        print_note(problem)
    return choose_embedder(settings.models, data / "kernels.json")


@group.callback(invoke_without_command=True)
def serve(
    ctx: typer.Context,
    database: Database = "",
    host: Annotated[str, typer.Option("--host", help="The address to listen at.")] = "127.0.0.1",
    port: Port = 7341,
    certificate: Certificate = "",
    key: Key = "",
    data_dir: options.DataDir = None,
) -> None:
    """Answer the team's questions over HTTP until stopped."""
    if ctx.invoked_subcommand is not None:
        return
    server.start_logging()
    with _open(database, connections=16) as opened:
        server.serve(server.TeamService(opened, _embedder(data_dir)), host, port, certificate, key)


@group.command()
def migrate(database: Database = "") -> int:
    """Bring the database's schema up to date."""
    with _open(database):
        print_line("The schema is up to date.")
    return 0


@group.command()
def add(
    repository: Annotated[str, typer.Argument(help="The repository's URL or folder, as git takes it.")],
    branch: Annotated[
        list[str] | None, typer.Option("--branch", help="A branch to index; may be repeated.", show_default=False)
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What it is called; its folder's name otherwise.")] = "",
    database: Database = "",
) -> int:
    """Add a repository, or further branches of it; the workers read it soon."""
    source = str(Path(repository).resolve()) if Path(repository).is_dir() else repository
    branches = branch or [mirrors.default_branch(source)]
    called = name or mirrors.repository_name(source)
    with _open(database) as opened:
        trees.add_repository(opened, called, source, branches)
    print_line(f"{called}: {', '.join(branches)}")
    return 0


@group.command()
def remove(name: Annotated[str, typer.Argument(help="The repository's name.")], database: Database = "") -> int:
    """Forget a repository, and delete what no other one shares."""
    with _open(database) as opened:
        if not trees.remove_repository(opened, name):
            raise UsageError(f"There is no repository {name}; `codekin server status` shows them.")
    return 0


@group.command()
def worker(
    database: Database = "",
    poll: Annotated[float, typer.Option("--poll", min=1, help="Seconds between two looks for pushes.")] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="End when nothing is due.")] = False,
    data_dir: options.DataDir = None,
) -> int:
    """Read, cut and embed the repositories that are due; any number of workers may run."""
    server.start_logging()
    data = paths.data_dir(data_dir)
    settings, _ = load_settings(data)
    with _open(database) as opened:
        work = Worker(opened, WorkerOptions(data, poll, settings=settings.index), _embedder(data_dir))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: work.stopping.set())
        done = work.run(until_idle=once)
    print_line(f"{done} branches were read.")
    return 0


@group.command()
def status(json: options.Json = False, database: Database = "") -> int:
    """Show the repositories and how far they are indexed."""
    with _open(database) as opened:
        service = server.TeamService(opened)
        answer, _ = server.status(service, access.Reader("", None, b""), {})
    if json:
        print_json(answer)
        return 0
    headers = ("repository", "branch", "files", "chunks", "indexed", "problem")
    print_rows(headers, [[row[name] or "" for name in headers] for row in answer["repositories"]])
    return 0


@group.command()
def plan(
    lines: Annotated[str, typer.Option("--lines", help="Lines of source, such as 750M.")],
    model: Annotated[str, typer.Option("--model", help="The embedding model.")] = "codekin_embed",
    json: options.Json = False,
) -> int:
    """Say what an index of so many lines takes: disk, memory, hours, machines."""
    found = planning.plan_team(planning.parse_count(lines), model)
    rows: list[tuple[str, Any]] = [
        ("chunks", f"{found.chunks:,}"),
        ("disk", f"{found.disk_bytes / 2**30:,.0f} GiB"),
        ("of it vectors", f"{found.vector_bytes / 2**30:,.0f} GiB"),
        ("of it vector index", f"{found.index_bytes / 2**30:,.0f} GiB"),
        ("memory", f"{found.memory_bytes / 2**30:,.0f} GiB"),
        ("GPU hours to embed", f"{found.gpu_hours:,.1f}"),
        ("worker hours to cut", f"{found.worker_hours:,.1f}"),
        ("database servers", found.machines),
        ("breaks first", found.limit),
    ]
    print_json(dict(rows)) if json else print_rows(("what", "estimate"), rows)
    return 0


@token_group.command("add")
def add_token(
    name: Annotated[str, typer.Argument(help="Whose token it is.")],
    repository: Annotated[
        list[str] | None,
        typer.Option("--repository", help="Only this repository; may be repeated.", show_default=False),
    ] = None,
    days: Annotated[
        float | None, typer.Option("--days", min=0, help="Days until it expires.", show_default=False)
    ] = None,
    database: Database = "",
) -> int:
    """Make a token; it is shown this once alone."""
    with _open(database) as opened:
        print_line(access.add_token(opened, name, repository, days))
    return 0


@token_group.command("list")
def list_tokens(json: options.Json = False, database: Database = "") -> int:
    """List the tokens and what they open."""
    with _open(database) as opened:
        found = access.list_tokens(opened)
    if json:
        print_json(found)
        return 0
    rows = [
        (one["name"], ", ".join(one["repositories"] or ["all"]), one["expires"] or "", one["state"]) for one in found
    ]
    print_rows(("name", "repositories", "expires", "state"), rows)
    return 0


@token_group.command()
def revoke(name: Annotated[str, typer.Argument(help="The token's name.")], database: Database = "") -> int:
    """End a token at once."""
    with _open(database) as opened:
        access.revoke_token(opened, name)
    return 0
