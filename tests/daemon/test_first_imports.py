"""What the daemon imports at first use, from several threads at once."""

import subprocess
import sys

import pytest

FIRST_USES = """
import sys, threading, time
from pathlib import Path
sys.setswitchinterval(1e-6)
from codekin.daemon.services import heavy
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.errors import CodekinError

workspace = OpenWorkspace(Path(sys.argv[1]), Path(sys.argv[1]) / "data")
uses = [heavy._import_queries, workspace.index, heavy._import_reader, workspace.left_out, heavy._import_ghost_text]
failures, start = [], threading.Barrier(len(uses))

def run(use):
    start.wait()
    time.sleep(0 if use == heavy._import_queries else float(sys.argv[2]))
    try:
        use()
    except ImportError as error:
        failures.append(str(error))
    except CodekinError:
        pass  # there is no index to open

threads = [threading.Thread(target=run, args=(use,)) for use in uses]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(failures)
"""


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4])
def test_first_requests_at_once_import_whole_modules(tmp_path, delay):
    """Threads that import a package and a module of it at the same time get both whole."""
    command = [sys.executable, "-c", FIRST_USES, str(tmp_path), str(delay)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
