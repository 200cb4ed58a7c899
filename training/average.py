"""Averages the weights of runs and exports them as the product ships them.

    python training/average.py --runs .training/run1/model.safetensors:2 .training/run2/model.safetensors:1 \
        --out server/codekin/models/codekin_embed/model.safetensors

Each run may carry a share after a colon (1 where none is given). The result is float16, without
the pooler, and holds what transformers' BertModel names.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from encoder import Weights, load_weights


def average(runs: list[tuple[Weights, float]]) -> Weights:
    """The mean of several models' tensors, weighted by their shares."""
    total = sum(share for _, share in runs)
    return {
        name: sum((weights[name] * (share / total) for weights, share in runs), torch.zeros(())) for name in runs[0][0]
    }


def export(weights: Weights, path: Path) -> None:
    """Write float16 tensors by rename, so that a reader never sees half a file."""
    part = path.with_suffix(".part")
    save_file(
        {name: t.to(torch.float16).contiguous() for name, t in weights.items()}, str(part), metadata={"format": "pt"}
    )
    part.chmod(0o644)
    part.rename(path)


def main() -> None:
    """Average and export."""
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    options.add_argument("--runs", nargs="+", required=True)
    options.add_argument("--out", type=Path, required=True)
    chosen = options.parse_args()
    runs = [(run.partition(":")[0], float(run.partition(":")[2] or 1)) for run in chosen.runs]
    export(average([(load_weights(Path(path)), share) for path, share in runs]), chosen.out)
    print(f"{chosen.out}: {chosen.out.stat().st_size / 1e6:.1f} MB from {len(runs)} runs")


if __name__ == "__main__":
    main()
