"""The VS Code extension in the real editor: inside its extension host, and on its screen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
EXTENSION = REPOSITORY / "editors/vscode"
PATIENCE_SECONDS = 900

pytestmark = [pytest.mark.editor, pytest.mark.slow, pytest.mark.timeout(PATIENCE_SECONDS)]


@pytest.fixture(scope="session")
def editor() -> dict[str, str]:
    """The environment in which the editor runs; brings it here the first time."""
    run(["bash", "test/setup.sh"], os.environ)
    codekin = Path(sys.executable).with_name("codekin")
    return {**os.environ, "PATH": f"{REPOSITORY}/.editors/bin:{os.environ['PATH']}", "CODEKIN": str(codekin)}


def run(command: list[str], environment: dict[str, str] | os._Environ[str]) -> str:
    done = subprocess.run(
        command, cwd=EXTENSION, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_types_and_lint(editor):
    """The extension passes the compiler and the linter."""
    run(["npm", "run", "--silent", "check"], editor)


def test_package_is_small(editor, tmp_path):
    """The package stays below 500 kB."""
    package = tmp_path / "codekin.vsix"
    run(["npm", "run", "--silent", "package", "--", "--out", str(package)], editor)
    assert package.stat().st_size < 500_000


def test_extension_host(editor):
    """Every command and feature works inside the editor's extension host."""
    assert "passed" in run(["node", "test/host.mjs"], editor)


def test_screen(editor):
    """The screen shows what the user typed and what the extension draws."""
    assert " 0 failed" in run(["node", "test/ui.mjs"], editor)
