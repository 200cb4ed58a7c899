"""Several processes train one model: loss and weights equal those of one process."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from models import tiny_checkpoints

SCRIPT = """
import json, sys
from dataclasses import replace
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import torch
from codekin.finetune.trainers.loop import join_process_group, leave_process_group
from codekin.finetune.trainers.loop import TrainingOptions
from codekin.finetune.trainers.encoder import BaseModel, train_as_helper, release_helpers, load_trainable_model
from codekin.models.catalogue import load_catalogue

torch.set_num_threads(1)
group, base = join_process_group(), Path(sys.argv[1])
if group.is_main:
    words = [f"def {word} do {word * 3} end" for word in "abcdefg"]
    texts = (words, [f"{word} # again" for word in words], words[::-1])
    row = replace(load_catalogue()["codekin_embed"], hub_id=str(base), vocabulary=269)
    losses = []
    for method in ("full", "lora"):
        model = load_trainable_model(BaseModel(method, row, base, dtype="float32"))
        for epoch, initial, trained in model.train(texts, TrainingOptions(4, 1e-2, batch_size=3), lambda *_: None):
            losses.append([epoch.loss, float(sum(value.abs().sum() for value in trained.values()))])
            if epoch.number == 3:
                break  # an early end must not leave the others waiting
    release_helpers(group)
    print(json.dumps(losses))
else:
    train_as_helper(group)
leave_process_group()
"""


@pytest.mark.slow
def test_two_processes_lose_as_much_as_one(tmp_path):
    """Batches of three and one are shared unevenly; the negatives are those of the whole batch."""
    tiny_checkpoints.embedder(tmp_path / "bert", "bert")
    (tmp_path / "train.py").write_text(SCRIPT)
    given = [str(tmp_path / "train.py"), str(tmp_path / "bert"), *sys.path]
    one = run([sys.executable, *given])
    process_group = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    two = run([sys.executable, *process_group, *given])
    assert len(one) == 6
    assert one[0] != one[-1]
    np.testing.assert_allclose(two, one, rtol=1e-4)


def run(command: list[str]) -> list[list[float]]:
    alone = {name: value for name, value in os.environ.items() if name not in {"RANK", "WORLD_SIZE"}}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**alone, "OMP_NUM_THREADS": "1"}, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])
