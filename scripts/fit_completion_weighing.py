"""Fits how lines of the repository and of a generator are weighed: sixteen numbers, from a small public model.

    scripts/fit_completion_weighing.py --model FOLDER --pair CHECKOUT CASES.jsonl --pair ... --kept lines.jsonl

What the model thinks of each case's lines is kept in --kept, line by line, so that an interrupted run goes on; a
second or two a case on one processor. The loss is the negative log of the chance given to the right line, or to
"none of them" where no line is right, with a penalty on what departs from the repository's own chances.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codekin.completion.corpus import corpus_of
from codekin.completion.evaluation import checked, gap_of, texts_of
from codekin.completion.generating import SCORED, Generation, Writers, considered, finished
from codekin.completion.repository import guesses
from codekin.completion.weighing import LOG_CHANCE, LOG_NOTHING, Weighed, features
from codekin.models import load_generator

PROMPT_TOKENS = 640
OUT = Path(__file__).parents[1] / "server" / "codekin" / "completion" / "weighing.npz"


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    if arguments.model:
        collect(arguments.model, arguments.pair, arguments.kept)
    cases = list(_kept(arguments.kept))
    weights, nothing, mean, deviation = fit([(features(lines), right) for lines, right in cases], arguments.penalty)
    np.savez(arguments.out, weights=weights, nothing=nothing, mean=mean, deviation=deviation)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="", help="a generator's folder; without it the kept lines are fitted again")
    parser.add_argument("--pair", nargs=2, type=Path, action="append", default=[], metavar=("CHECKOUT", "CASES"))
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--penalty", type=float, default=0.1)
    parser.add_argument("--out", type=Path, default=OUT)
    return parser.parse_args()


def collect(model: str, pairs: Sequence[tuple[Path, Path]], kept: Path) -> None:
    """Adds what is not kept yet."""
    known = {row["id"] for row in _rows(kept)} if kept.exists() else set()
    generator = load_generator(model)
    with kept.open("a", encoding="utf-8") as file:
        for checkout, cases in pairs:
            corpus = corpus_of(texts_of(checkout))
            writers = Writers(generator, corpus, Generation(prompt_tokens=PROMPT_TOKENS, has_snippets=False))
            for row in checked(_rows(cases)):
                if row["id"] not in known:
                    gap = gap_of(row)
                    lines = finished(considered(writers, gap, guesses(corpus, gap, SCORED)))
                    found = {"id": row["id"], "truth": row["truth"], "lines": [asdict(line) for line in lines]}
                    file.write(json.dumps(found) + "\n")
                    file.flush()


def fit(cases: Sequence[tuple[Any, Any]], penalty: float) -> tuple[Any, Any, Any, Any]:
    """Weights, the score of none, and the mean and deviation of the features."""
    everything = np.concatenate([values for values, _ in cases])
    mean, deviation = everything.mean(axis=0), everything.std(axis=0) + 1e-3
    scaled = [(torch.tensor((values - mean) / deviation), torch.tensor(right)) for values, right in cases]
    believed = torch.tensor(_repository_alone(len(mean)) * deviation)
    weights = believed.clone().requires_grad_()
    nothing = torch.zeros(1, dtype=torch.double, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, nothing], max_iter=300)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        parts = []
        for values, right in scaled:
            chances = torch.log_softmax(torch.cat([values @ weights, nothing]), 0)
            parts.append(-torch.logsumexp(chances[:-1][right], 0) if right.any() else -chances[-1])
        total = torch.stack(parts).mean() + penalty * ((weights - believed) ** 2).sum()
        total.backward()
        return total

    optimiser.step(loss)
    print(f"{len(cases)} cases, loss {loss().item():.4f}")
    return weights.detach().numpy(), nothing.detach().numpy(), mean, deviation


def _repository_alone(count: int) -> Any:
    """Weights that give the repository's own chances: what is believed until cases speak against it."""
    weights = np.zeros(count)
    weights[LOG_CHANCE], weights[LOG_NOTHING] = 1.0, -1.0
    return weights


def _kept(path: Path) -> Iterator[tuple[list[Weighed], Any]]:
    for row in _rows(path):
        lines = [Weighed(**line) for line in row["lines"]]
        if lines:
            yield lines, np.array([line.text.strip() == row["truth"].strip() for line in lines])


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            yield json.loads(line)


if __name__ == "__main__":
    main()
