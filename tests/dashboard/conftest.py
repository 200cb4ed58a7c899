"""The sample, indexed by the installed command, three nights of learning, and its dashboard in a headless Chromium."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.async_api import Page, async_playwright

from codekin import paths
from codekin.finetune import history
from codekin.models import checkpoints
from daemons import private_data
from fakes import write_head

REPOSITORY = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("codekin")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
]
PATIENCE_MS = 60_000


@pytest.fixture(scope="session")
def data():
    with pytest.MonkeyPatch.context() as patch, private_data(patch) as folder:
        yield folder


@pytest.fixture(scope="session")
def codekin(data) -> Callable[..., str]:
    """Runs the installed command and gives what it printed."""

    def run(*words: object) -> str:
        done = subprocess.run(
            [str(COMMAND), *map(str, words)], capture_output=True, text=True, timeout=300, check=False, env=os.environ
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def sample(data, codekin) -> Path:
    """A copy of the sample with a near-duplicate and a file that is left out, indexed, with a history."""
    root = data.parent / "work" / "storehouse"
    shutil.copytree(REPOSITORY / "examples" / "mixed", root)
    retry = (root / "lib/storehouse/retry.ex").read_text()
    (root / "lib/storehouse/second_retry.ex").write_text(retry.replace("Storehouse.Retry", "Storehouse.SecondRetry"))
    (root / "lib/storehouse/huge.ex").write_text("# padding\n" * 200_000)
    codekin("index", root)
    write_runs(paths.finetune_dir(data, root), json.loads(codekin("status", root, "--json"))["model"])
    codekin("daemon", "stop")
    return root


BEAM = {"base": 0.71, "before": 0.71, "after": 0.83}


def write_runs(folder: Path, model: dict[str, Any]) -> None:
    """Three nights as the learner writes them, with real checkpoints: taken over, kept, taken over."""
    head = np.eye(model["dimensions"], dtype=np.float32)
    about = {"method": "head", "model": model["name"], "base_space": model["space"]}
    for run_index, (after, low, high) in enumerate([(0.52, 0.01, 0.05), (0.495, -0.02, 0.03), (0.56, 0.05, 0.09)], 1):
        run = history.begin_run(folder, "schedule", f"2026-03-0{run_index}", {"method": "head"})
        judged = {"before": 0.49, "after": after, "low": low, "high": high}
        beam = {name: {"accuracy1": value, "accuracy5": 0.9, "triplets": 0.9} for name, value in BEAM.items()}
        more = {"from_base": judged, "all": {"kinds": {"half": [0.4, 0.45]}}, "triplets": 500, "sources": {"calls": 40}}
        report = {
            "evaluation": judged,
            **more,
            "beam": {"queries": 30, "families": {}, **beam},
            "epochs": [{"epoch": 0, "map": 0.49}, {"epoch": 1, "loss": 0.2 / run_index}],
        }
        decision, name = (history.ACTIVATED, f"night-{run}") if low > 0 else (history.KEPT, "")
        if name:
            write_head(folder, name, head + 0.01 * run_index * np.roll(head, 1, axis=0), {**about, "run": run})
            checkpoints.set_pointer(folder, "active", name)
        reason = f"{100 * (after - 0.49):+.1f} points of MAP on held-out code."
        history.end_run(folder, run, decision, reason, report, name)


@pytest.fixture
def address(codekin, sample) -> str:
    """A fresh address of the page."""
    return json.loads(codekin("dashboard", sample, "--json"))["url"]


@pytest.fixture
async def page():
    """An empty page."""
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=chromium(), args=FLAGS)
        opened = await browser.new_page(viewport={"width": 1180, "height": 760})
        opened.set_default_timeout(PATIENCE_MS)
        yield opened
        await browser.close()


@pytest.fixture
async def dashboard(page, address) -> Page:
    """The page, opened, with its map drawn."""
    await page.goto(address)
    await page.locator("#map[aria-busy=false] #places li").first.wait_for()
    return page


def chromium() -> str:
    """The installed Chromium, or Debian's, brought here."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]):
            subprocess.run(command, check=True, env=environment, capture_output=True)
        found = shutil.which("chromium")
    assert found, "Chromium is missing: install it, or name it with CHROMIUM=/path/to/chromium."
    return found
