"""The whole way through the installed command: learn, swap, history, the way back, and a killed learner."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from codekin import places
from codekin.daemon.client import Client
from codekin.learning import history
from codekin.models import checkpoints
from codekin.models.heads import head_space
from daemons import eventually, kill, processes_of

CODEKIN = Path(sys.executable).with_name("codekin")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def codekin(*words: object) -> tuple[int, str, str]:
    done = subprocess.run([CODEKIN, *map(str, words)], capture_output=True, text=True, check=False, timeout=500)
    return done.returncode, done.stdout, done.stderr


def test_learn_swap_and_go_back(data, root):
    """One command each, and the index serves in the space that the pointer names."""
    status, said, trouble = codekin("learn", root, "--count", 200, "--json")
    assert (status, trouble) == (0, "")
    run = json.loads(said)
    assert run["decision"] in {"activated", "kept"}
    assert run["report"]["triplets"] > 20
    folder = places.learning_folder(data, root)
    base = serving_space(data, root) if run["decision"] == "kept" else None
    status, said, _ = codekin("rollback", run["checkpoint"], "--root", root)
    assert (status, run["checkpoint"] in said) == (0, True)
    learned = checkpoints.read_meta(folder, run["checkpoint"])["space"]
    assert serving_space(data, root) == learned != base
    status, said, _ = codekin("similar", f"{root / 'lib' / 'part1.ex'}:5", "--json")
    assert (status, json.loads(said)["space"]) == (0, learned)
    status, said, _ = codekin("rollback", "base", "--root", root)
    assert (status, "the model as it came" in said) == (0, True)
    assert learned.startswith(serving_space(data, root))
    status, said, _ = codekin("history", root, "--json")
    past = json.loads(said)
    assert [row["decision"] for row in past["runs"]] == ["rolled back", "rolled back", run["decision"]]
    assert (past["active"], any(row["active"] for row in past["runs"])) == ("base", False)
    status, _, trouble = codekin("rollback", "20200101-000000-1", "--root", root)
    assert (status, "There is no checkpoint" in trouble) == (2, True)


def test_only_the_model_of_the_settings_is_tuned(data, root):
    """A night meant for a large model does not tune the small one that stands in for it."""
    (data / "settings.toml").write_text('[learning]\nmodel = "qodo"\n')
    status, _, trouble = codekin("learn", root)
    assert (status, "learning.model is qodo, but codekin_embed serves" in trouble) == (2, True), trouble


def test_a_killed_learner_is_told_and_its_changes_are_used_later(data, root):
    """The user reads one sentence; the daemon and its model live on, and the next run begins where this one did."""
    assert codekin("index", root)[0] == 0
    learning = subprocess.Popen([CODEKIN, "learn", root], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    eventually(lambda: processes_of(data, "codekin.learning.child"))
    folder = places.learning_folder(data, root)
    eventually(lambda: (folder / "history.sqlite").exists() and history.runs(folder))
    for process in processes_of(data, "codekin.learning.child"):
        kill(process.pid)
    trouble = learning.communicate(timeout=100)[1]
    assert (learning.returncode, "was killed" in trouble) == (2, True)
    with Client.connect(data) as client:
        past = client.get("/history", root=str(root))
    assert [row["decision"] for row in past["runs"]] == ["interrupted"]
    assert (past["active"], history.used_until(folder)) == ("base", 0)


def test_an_adapter_is_trained_and_serves(data, root):
    """The bundled encoder under an adapter: learned, embedded anew behind what serves, and gone back from at once."""
    status, said, trouble = codekin("learn", root, "--method", "lora", "--count", 12, "--epochs", 1, "--json")
    assert (status, trouble) == (0, "")
    run = json.loads(said)
    base = serving_space(data, root) if run["decision"] == "kept" else None
    status, said, _ = codekin("rollback", run["checkpoint"], "--root", root)
    learned = checkpoints.read_meta(places.learning_folder(data, root), run["checkpoint"])["space"]
    eventually(lambda: serving_space(data, root) == learned)
    assert (status, learned != base) == (0, True)
    status, said, _ = codekin("similar", f"{root / 'lib' / 'part1.ex'}:5", "--json")
    assert (status, json.loads(said)["space"], bool(json.loads(said)["hits"])) == (0, learned, True)
    assert codekin("rollback", "base", "--root", root)[0] == 0
    eventually(lambda: serving_space(data, root) not in {learned, ""})
    with Client.connect(data) as client:
        found = client.get("/status", root=str(root))
    assert (found["problems"], found["embedded"]) == ([], found["fragments"])


def test_too_little_code_is_said_once_and_is_no_lasting_trouble(data, root):
    """A workspace that is too small to learn from is not ill for ever."""
    for path in [*root.rglob("part*.ex")][2:]:
        path.unlink()
    status, _, trouble = codekin("learn", root)
    assert (status, "Not enough BEAM code" in trouble) == (2, True)
    with Client.connect(data) as client:
        found = client.get("/status", root=str(root))
    assert (found["problems"], "Not enough BEAM code" in found["learning"]["said"]) == ([], True)
    assert "Not enough BEAM code" in codekin("status", root)[1]


def test_a_damaged_checkpoint_is_said_aloud_and_the_base_serves(data, root):
    """A disk that rots may not take the search with it, and the editor hears of it once."""
    folder = places.learning_folder(data, root)
    with Client.connect(data) as client:
        base = client.post("/models/reload", {})["space"]
    matrix = 2 * np.eye(384, dtype=np.float32)
    checkpoints.write_head(folder, "rotten", matrix, {"base_space": base, "space": head_space(base, matrix)})
    checkpoints.point(folder, "active", "rotten")
    (folder / "rotten" / checkpoints.HEAD).write_bytes(b"rot")
    heard = []
    with Client.connect(data) as client:
        for event in client.lines(f"/events?root={root}", method="GET"):
            heard += [event["problem"]] if event.get("problem") else []
            if event["event"] == "ready":
                break
        found = client.get("/status", root=str(root))
    assert ["rotten is damaged" in said for said in heard] == [True]
    assert (found["problems"], found["space"]) == (heard, base)
    status, said, _ = codekin("similar", f"{root / 'lib' / 'part1.ex'}:5", "--json")
    assert (status, json.loads(said)["space"]) == (0, base)


def test_tables_in_a_pipe_say_what_their_columns_are(data, root):
    """An answer of several tables could not be told apart by whoever reads it from a file."""
    status, said, _ = codekin("learn", root, "--dry-run", "--count", 60)
    lines = said.splitlines()
    assert (status, lines[0]) == (0, "epoch\tloss\ttriplet accuracy\theld-out MAP\tvalidation MAP")
    assert "held-out question\tbefore\tafter\tpoints" in lines
    assert lines[-1].startswith("Nothing was changed")


def serving_space(data: Path, root: Path) -> str:
    """The space that answers queries, as the daemon says it."""
    with Client.connect(data) as client:
        return client.get("/status", root=str(root))["space"]
