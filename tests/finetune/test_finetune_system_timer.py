"""The system's own timer: written, read by the system's own checker, asked about and taken away."""

import json
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codekin.cli.schedule import LAUNCHD_LABEL, launchd_agent, systemd_timer
from codekin.errors import UsageError

CODEKIN = Path(sys.executable).with_name("codekin")
COMMAND = ["/opt/my tools/codekin", "schedule", "run", "--data-dir", "/home/ann/100% $data & <more>"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name, folder in (("HOME", "home"), ("XDG_CONFIG_HOME", "home/config"), ("XDG_RUNTIME_DIR", "run")):
        (tmp_path / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("CODEKIN_DATA_DIR", str(tmp_path / "my data"))
    return tmp_path / "home"


def schedule(*words: str) -> tuple[int, dict]:
    done = subprocess.run([CODEKIN, "schedule", *words, "--json"], capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)


def test_install_status_and_uninstall(home):
    """The files say the same folder as the command that wrote them, and nothing of them stays."""
    assert schedule("status")[0] == 1
    status, output = schedule("install", "--no-start")
    assert (status, len(output["written"]), len(output["to_start"])) == (0, 2, 2)
    assert all(Path(path).is_relative_to(home) for path in output["written"])
    assert "my data" in Path(output["written"][0]).read_text()
    status, output = schedule("status")
    assert (status, output["written"], output["started"]) == (0, True, False)
    assert "T02:00:00" in output["next"]
    assert schedule("uninstall")[0] == 0
    assert not [path for path in home.rglob("*") if path.is_file()]
    assert schedule("uninstall")[0] == 1


def test_where_there_is_no_systemd_cron_is_named(home, monkeypatch):
    """Without systemd the message names cron."""
    monkeypatch.setenv("PATH", str(home))
    done = subprocess.run([CODEKIN, "schedule", "install"], capture_output=True, text=True, check=False)
    tool = "launchctl" if sys.platform == "darwin" else "systemctl"
    assert (done.returncode, f"There is no {tool} here: have cron run `{CODEKIN} schedule run" in done.stdout) == (
        0,
        True,
    )


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_systemd_reads_its_units(home):
    """systemd-analyze accepts the units; a folder with a quote in its name is refused."""
    timer = systemd_timer([str(CODEKIN), *COMMAND[1:]])
    for path, text in timer.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    command = ["systemd-analyze", "--user", "verify", *map(str, timer.files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    with pytest.raises(UsageError, match="use a data folder without quotes"):
        systemd_timer([*COMMAND, 'a"b'])


def test_launchd_reads_its_agent(home):
    """The property list gives back the words of the command."""
    ((path, text),) = launchd_agent(COMMAND).files.items()
    found = plistlib.loads(text.encode())
    assert path.is_relative_to(home)
    assert (found["Label"], found["ProgramArguments"]) == (LAUNCHD_LABEL, COMMAND)
    assert found["AbandonProcessGroup"]
    assert found["StartInterval"] == 3600
