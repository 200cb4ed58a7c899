"""The console command: `codekin lsp` starts the language server, all else goes to the terminal's commands.

The language server and the relay of agents are picked out first, so that they load nothing of the terminal.
"""

import sys


def main() -> None:
    """Runs the command line; exits with 0 found, 1 nothing found, 2 wrong use or failure."""
    if sys.argv[1:2] == ["lsp"]:
        from codekin.lsp.server import main as serve  # noqa: PLC0415 - brings pygls

        sys.exit(serve(sys.argv[2:]))
    if sys.argv[1:2] == ["mcp"]:
        from codekin.mcp.relay import run as serve_agent  # noqa: PLC0415 - an agent waits for it

        if (status := serve_agent(sys.argv[2:])) is not None:
            sys.exit(status)
    from codekin.cli import run  # noqa: PLC0415 - brings typer

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
