"""Several processes train one model: the loss and what is learned are those of one."""

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
from codekin.learning.crew import joined, part
from codekin.learning.loop import Training
from codekin.learning.train_encoder import Subject, assist, dismiss, pupil_of
from codekin.models.catalogue import catalogue

torch.set_num_threads(1)
crew, base = joined(), Path(sys.argv[1])
if crew.leads:
    words = [f"def {word} do {word * 3} end" for word in "abcdefg"]
    texts = (words, [f"{word} # again" for word in words], words[::-1])
    row = replace(catalogue()["codekin_embed"], hub_id=str(base), vocabulary=269)
    told = []
    for method in ("full", "lora"):
        pupil = pupil_of(Subject(method, row, base, dtype="float32"))
        for passed, begun, trained in pupil.train(texts, Training(4, 1e-2, batch_size=3), lambda *_: None):
            told.append([passed.loss, float(sum(value.abs().sum() for value in trained.values()))])
            if passed.number == 3:
                break  # an early end must not leave the others waiting
    dismiss(crew)
    print(json.dumps(told))
else:
    assist(crew)
part()
"""


@pytest.mark.slow
def test_two_processes_lose_as_much_as_one(tmp_path):
    """Batches of three and one are shared unevenly; the negatives are those of the whole batch."""
    tiny_checkpoints.embedder(tmp_path / "bert", "bert")
    (tmp_path / "train.py").write_text(SCRIPT)
    given = [str(tmp_path / "train.py"), str(tmp_path / "bert"), *sys.path]
    one = run([sys.executable, *given])
    crew = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    two = run([sys.executable, *crew, *given])
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
