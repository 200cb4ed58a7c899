"""Runs the daemon in the foreground: what `start` spawns, and what a service manager may run."""

import argparse
import faulthandler
import os
import sys
from pathlib import Path

from codekin import paths
from codekin.daemon.app import build_daemon
from codekin.daemon.process.lifecycle import run_daemon
from codekin.errors import CodekinError


def main() -> int:
    """Leads until the end; 0 also where another daemon leads already, 2 with a sentence where it cannot."""
    parser = argparse.ArgumentParser(prog="python -m codekin.daemon")
    parser.add_argument("--data-dir", type=Path, default=None)
    options = parser.parse_args()
    faulthandler.enable()
    os.umask(0o077)  # indexes, logs and keys are the user's alone, and so are those of our children
    try:
        data = paths.data_dir(options.data_dir)
        paths.socket_path(data)
        run_daemon(data, build_daemon)
    except CodekinError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the client that started us reads it
        return 2
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a thread in a long native call must not hold the lock any longer
