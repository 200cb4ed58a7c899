"""`codekin index`."""

from pathlib import Path
from typing import Annotated

import typer

from codekin import places
from codekin.cli import options
from codekin.cli.output import print_json, say
from codekin.cli.roots import real_folder
from codekin.cli.waiting import follow, wait_until_ready
from codekin.daemon.client import Client


def index(
    path: Annotated[Path, typer.Argument(help="The workspace's folder.")] = Path(),
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Throw the index away and build it anew.")] = False,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Bring a workspace's index up to date with its files; it then follows them by itself."""
    root = real_folder(path)
    with Client.connect(places.data_dir(data_dir)) as client:
        events = client.lines("/index", {"root": str(root), "rebuild": rebuild})
        result = follow(events, f"Indexing {root.name}")
        status = wait_until_ready(client, root)
    if json:
        print_json(result)
        return 0
    say(
        f"{result['files']} files, {result['fragments']} fragments: {result['embedded']} embedded, "
        f"{result['reused']} reused, {result['skipped']} files left out, {result['seconds']:.1f} seconds."
    )
    for problem in status["problems"]:
        say(problem)
    return 0
