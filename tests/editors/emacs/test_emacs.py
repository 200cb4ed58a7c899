"""Emacs's own client, in batch, with the real server: Debian's emacs-nox and elpa-eglot."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from codekin.daemon.process.startup import listener_pid

HERE = Path(__file__).parent
PLUGIN = HERE.parents[2] / "editors" / "emacs" / "codekin.el"
RETRY = """#include <chrono>
#include <thread>

// 汉字 🙂 before the function
template <typename Function>
bool with_backoff(Function attempt, int attempts, int delay) {
  for (int i = 0; i < attempts; ++i) { /* 汉字 🙂 */
    if (attempt()) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(delay));
    delay *= 2;
  }
  return false;
}
"""

pytestmark = [pytest.mark.editor, pytest.mark.timeout(300)]


def has_eglot() -> bool:
    emacs = shutil.which("emacs")
    command = ["emacs", "--batch", "--eval", "(progn (package-initialize) (require 'eglot))"]
    return emacs is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0


def install_eglot():
    """Debian's packages, where that can be done; skips where it cannot."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("install emacs-nox and elpa-eglot")
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "emacs-nox", "elpa-eglot"]):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(command, env=environment, capture_output=True, check=True)


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "my shop"
    root.mkdir()
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    (root / "retry.cpp").write_text(RETRY)
    (root / "http.cpp").write_text(RETRY.replace("with_backoff", "again").replace("delay", "wait"))
    (root / "new.cpp").write_text("int answer() { return 42; }\n")
    return root


def test_eglot_finds_similar_code_of_saved_and_unsaved_text(tmp_path, project):
    """Positions behind emoji, unsaved text, lists to visit and an orderly end, in a third client."""
    if not has_eglot():
        install_eglot()
    data = tmp_path / "data"
    own = {"CODEKIN_DATA_DIR": str(data), "CODEKIN_CONFIG_DIR": str(tmp_path / "config"), "HOME": str(tmp_path)}
    own |= {"CODEKIN_EL": str(PLUGIN), "CODEKIN_PROJECT": str(project), "CODEKIN_BUILD": "0.1.0+0+test"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["emacs", "--batch", "--eval", "(package-initialize)", "-l", str(HERE / "eglot_spec.el")]
    done = subprocess.run(command, env={**os.environ, **own, "PATH": path}, capture_output=True, text=True, check=False)
    if (pid := listener_pid(data)) is not None:
        os.kill(pid, signal.SIGTERM)
    assert "eglot: all holds" in done.stdout, done.stderr[-3000:]
