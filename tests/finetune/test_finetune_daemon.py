"""The whole way through the installed command: learn, swap, history, the way back, and a killed learner."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from codekin import paths
from codekin.daemon.client import DaemonClient
from codekin.finetune import history
from codekin.models import checkpoints
from codekin.models.embedding.finetuned import head_space
from daemons import eventually, kill, processes_of
from fakes import write_head

CODEKIN = Path(sys.executable).with_name("codekin")
FAST = ("--learning-rate", "0.001")
"""At the default rate a dozen triplets move nothing that a comparison could see."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def codekin(*words: object) -> tuple[int, str, str]:
    done = subprocess.run([CODEKIN, *map(str, words)], capture_output=True, text=True, check=False, timeout=500)
    return done.returncode, done.stdout, done.stderr


def test_finetune_switch_and_roll_back(data, root):
    """One command each, and the index serves in the space that the pointer names."""
    status, output, trouble = codekin("finetune", root, "--count", 200, "--json")
    assert status == 0, trouble
    assert all(line.startswith("Slower than expected") for line in trouble.splitlines())
    run = json.loads(output)
    assert run["decision"] in {"activated", "kept"}
    assert run["report"]["triplets"] > 20
    folder = paths.finetune_dir(data, root)
    base = serving_space(data, root) if run["decision"] == "kept" else None
    status, output, _ = codekin("rollback", run["checkpoint"], "--root", root)
    assert (status, run["checkpoint"] in output) == (0, True)
    learned = checkpoints.read_meta(folder, run["checkpoint"])["space"]
    assert serving_space(data, root) == learned != base
    assert_compared(data, root, run)
    status, output, _ = codekin("similar", f"{root / 'lib' / 'part1.ex'}:5", "--json")
    assert (status, json.loads(output)["space"]) == (0, learned)
    status, output, _ = codekin("rollback", "base", "--root", root)
    assert (status, "the model as it came" in output) == (0, True)
    assert learned.startswith(serving_space(data, root))
    status, output, _ = codekin("history", root, "--json")
    past = json.loads(output)
    assert [row["decision"] for row in past["runs"]] == ["rolled back", "rolled back", run["decision"]]
    assert (past["active"], any(row["active"] for row in past["runs"])) == ("base", False)
    status, _, trouble = codekin("rollback", "20200101-000000-1", "--root", root)
    assert (status, "There is no checkpoint" in trouble) == (2, True)


def assert_compared(data, root, run):
    """The user's own questions side by side, the history as a table, and a gauge."""
    questions = root.parent / "questions.txt"
    questions.write_text("where is a thing parsed\n\nkeep what was counted\n")
    status, output, trouble = codekin("finetune", root, "--show", "--questions", questions)
    assert (status, "of 2 questions have other answers by" in output) == (0, True), trouble
    status, output, _ = codekin("finetune", root, "--show", "--json")
    assert [row["question"] for row in json.loads(output)["rows"]][1:] == ["keep what was counted"]
    status, output, _ = codekin("history", root, "--csv")
    rows = list(csv.DictReader(output.splitlines()))
    assert (status, rows[0]["decision"], float(rows[0]["after"])) == (0, run["decision"], run["after"]["map"])
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(paths.socket_path(data)))) as client:
        gauges = client.get("http://codekin/metrics").text
    assert f'codekin_finetune_map{{workspace="{root}",when="after"}} {run["after"]["map"]:.10g}\n' in gauges


def test_given_triplets_are_trained_on_and_reported(data, root, tmp_path):
    """Mined triplets written to a file train a model again; each epoch is a line."""
    given = tmp_path / "triplets.jsonl"
    status, output, trouble = codekin("triplets", root, "--count", 60, "--output", given, "--json")
    assert (status, json.loads(output)["analysis"]["total"]) == (0, len(given.read_text().splitlines())), trouble
    status, output, trouble = codekin("finetune", root, "--triplets", given, "--epochs", 2, "--dry-run")
    lines = output.splitlines()
    assert status == 0, trouble
    assert lines[0].startswith("Model codekin_embed, method head on cpu: 60 triplets, 2 epochs, learning rate 1e-05")
    assert "Elixir, 0 Erlang, 0 C++" in lines[1]
    assert [line.split(":")[0] for line in lines[2:5]] == ["Before", "Epoch 1/2", "Epoch 2/2"]
    assert all(word in lines[4] for word in ("loss", "accuracy", "MAP", "0 s left"))
    given.write_text('{"anchor": 1}\n')
    status, _, trouble = codekin("finetune", root, "--triplets", given)
    assert (status, trouble) == (2, f"{given}, line 1: `anchor` must be a text that is not empty.\n")
    for command in (("finetune", root), ("embed", given), ("similarity", "a", "b")):
        status, _, trouble = codekin(*command, "--device", "cuda")
        assert (status, "This machine has no cuda; set models.device to auto or cpu." in trouble) == (2, True), trouble


def test_only_the_model_of_the_settings_is_tuned(data, root):
    """A run configured for a large model does not train its substitute."""
    (data / "settings.toml").write_text('[finetune]\nmodel = "qodo"\n')
    status, _, trouble = codekin("finetune", root)
    assert (status, "finetune.model is qodo, but codekin_embed serves" in trouble) == (2, True), trouble


def test_a_killed_run_is_reported_and_its_changes_are_used_later(data, root):
    """The user reads one sentence; the daemon and its model live on, and the next run begins where this one did."""
    assert codekin("index", root)[0] == 0
    learning = subprocess.Popen([CODEKIN, "finetune", root], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    eventually(lambda: processes_of(data, "codekin.finetune.worker"))
    folder = paths.finetune_dir(data, root)
    eventually(lambda: (folder / "history.sqlite").exists() and history.list_runs(folder))
    for process in processes_of(data, "codekin.finetune.worker"):
        kill(process.pid)
    trouble = learning.communicate(timeout=100)[1]
    assert (learning.returncode, "was killed" in trouble) == (2, True)
    with DaemonClient.connect(data) as client:
        past = client.get("/history", root=str(root))
    assert [row["decision"] for row in past["runs"]] == ["interrupted"]
    assert (past["active"], history.last_used_change(folder)) == ("base", 0)


def test_an_adapter_is_trained_and_serves(data, root):
    """The bundled encoder under an adapter: learned, embedded anew behind what serves, and gone back from at once."""
    status, output, trouble = codekin(
        "finetune", root, "--method", "lora", "--count", 12, "--epochs", 1, *FAST, "--json"
    )
    assert (status, trouble) == (0, "")
    run = json.loads(output)
    base = serving_space(data, root) if run["decision"] == "kept" else None
    status, output, _ = codekin("rollback", run["checkpoint"], "--root", root)
    learned = checkpoints.read_meta(paths.finetune_dir(data, root), run["checkpoint"])["space"]
    eventually(lambda: serving_space(data, root) == learned)
    assert (status, learned != base) == (0, True)
    assert_compared(data, root, run)
    status, output, _ = codekin("similar", f"{root / 'lib' / 'part1.ex'}:5", "--json")
    assert (status, json.loads(output)["space"], bool(json.loads(output)["hits"])) == (0, learned, True)
    assert codekin("rollback", "base", "--root", root)[0] == 0
    eventually(lambda: serving_space(data, root) not in {learned, ""})
    with DaemonClient.connect(data) as client:
        found = client.get("/status", root=str(root))
    assert (found["problems"], found["embedded"]) == ([], found["chunks"])


def test_too_little_code_is_reported_once_and_is_no_lasting_problem(data, root):
    """A workspace too small for fine-tuning shows no lasting problem."""
    for path in [*root.rglob("part*.ex")][2:]:
        path.unlink()
    status, _, trouble = codekin("finetune", root)
    assert (status, "Not enough BEAM code" in trouble) == (2, True)
    with DaemonClient.connect(data) as client:
        found = client.get("/status", root=str(root))
    assert (found["problems"], "Not enough BEAM code" in found["finetune"]["last_problem"]) == ([], True)
    assert "Not enough BEAM code" in codekin("status", root)[1]


def test_a_damaged_checkpoint_is_reported_and_the_base_serves(data, root):
    """Search works on with a damaged checkpoint, and the editor gets one message."""
    folder = paths.finetune_dir(data, root)
    with DaemonClient.connect(data) as client:
        base = client.post("/models/reload", {})["space"]
    matrix = 2 * np.eye(384, dtype=np.float32)
    write_head(folder, "rotten", matrix, {"base_space": base, "space": head_space(base, matrix)})
    checkpoints.set_pointer(folder, "active", "rotten")
    (folder / "rotten" / checkpoints.HEAD_FILE).write_bytes(b"rot")
    heard = []
    with DaemonClient.connect(data) as client:
        for event in client.lines(f"/events?root={root}", method="GET"):
            heard += [event["problem"]] if event.get("problem") else []
            if event["event"] == "ready":
                break
        found = client.get("/status", root=str(root))
    assert ["rotten is damaged" in output for output in heard] == [True]
    assert (found["problems"], found["space"]) == (heard, base)
    status, output, _ = codekin("similar", f"{root / 'lib' / 'part1.ex'}:5", "--json")
    assert (status, json.loads(output)["space"]) == (0, base)


def test_tables_in_a_pipe_say_what_their_columns_are(data, root):
    """Piped output has a line an epoch, and a line of headings above each table."""
    status, output, _ = codekin("finetune", root, "--dry-run", "--count", 60)
    lines = output.splitlines()
    assert (status, lines[0].partition(",")[0]) == (0, "Model codekin_embed")
    assert [line.partition(":")[0] for line in lines if line.startswith("Epoch")] == [f"Epoch {n}/3" for n in (1, 2, 3)]
    assert "held-out queries\tbefore\tafter\tpoints" in lines
    assert lines[-1].startswith("Nothing was changed")


def serving_space(data: Path, root: Path) -> str:
    """The space that answers queries, as the daemon says it."""
    with DaemonClient.connect(data) as client:
        return client.get("/status", root=str(root))["space"]
