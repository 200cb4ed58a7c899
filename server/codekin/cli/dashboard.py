"""`codekin dashboard`: the page in a browser."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from codekin import places
from codekin.cli import options
from codekin.cli.output import print_json, say
from codekin.cli.roots import find_root
from codekin.daemon.client import Client


def dashboard(
    path: Annotated[Path, typer.Argument(help="A file or folder of the workspace.")] = Path(),
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the address only.")] = False,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Show the map of the code, near-duplicates, the index and what was learned, in a browser."""
    data = places.data_dir(data_dir)
    with Client.connect(data) as client:
        url = client.post("/dashboard", {"root": str(find_root(data, path))})["url"]
    if json:
        print_json({"url": url})
        return 0
    say(url)
    if not no_open:
        webbrowser.open(url)
    return 0
