"""`codekin lsp`, as the overview and the help show it; `codekin.__main__` runs it without this module."""

from codekin.cli import options
from codekin.errors import UsageError


def lsp(data_dir: options.DataDir = None) -> int:
    """Serve an editor over standard input and output with the Language Server Protocol."""
    raise UsageError(f"Write `codekin lsp` first on the command line (data folder {data_dir}).")
