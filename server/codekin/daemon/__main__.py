"""Runs the daemon in the foreground: what `start` spawns, and what a service manager may run."""

import argparse
import faulthandler
import os
import sys
from pathlib import Path

from codekin import places
from codekin.errors import CodekinError


def main() -> int:
    """Leads until the end; 0 also where another daemon leads already, 2 with a sentence where it cannot."""
    parser = argparse.ArgumentParser(prog="python -m codekin.daemon")
    parser.add_argument("--data-dir", type=Path, default=None)
    options = parser.parse_args()
    faulthandler.enable()
    try:
        data = places.data_dir(options.data_dir)
        places.socket_path(data)
        from codekin.daemon.app import build  # noqa: PLC0415 - after the quick refusals
        from codekin.daemon.life import live  # noqa: PLC0415

        live(data, build)
    except CodekinError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the client that started us reads it
        return 2
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a thread in a long native call must not hold the lock any longer
