"""Fits how lines of the repository and of a generator are weighed: sixteen numbers, from a small public model.

    scripts/fit_completion_reranker.py --kept lines.jsonl

The lines are kept by scripts/score_completion_lines.py, of cases that the repository's ranking was not fitted on: on
those it is surer than it should be. The loss is the negative log of the chance given to the right line, or to "none
of them" where no line is right, with a penalty on what departs from the repository's own chances.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codekin.completion.ranking import LOG_NONE_FEATURE, LOG_PROBABILITY_FEATURE, ScoredLine, line_features
from score_completion_lines import read_scored_cases

OUT = Path(__file__).parents[1] / "server" / "codekin" / "completion" / "reranker.npz"
FOLDS = 8


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    cases = [(line_features(lines), right) for lines, right in _cases(arguments.kept)]
    print_fit(cases, arguments.penalty)
    weights, nothing, mean, deviation = fit(cases, arguments.penalty)
    np.savez(arguments.out, weights=weights, nothing=nothing, mean=mean, deviation=deviation)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--penalty", type=float, default=0.03)
    parser.add_argument("--out", type=Path, default=OUT)
    return parser.parse_args()


def print_fit(cases: Sequence[tuple[Any, Any]], penalty: float) -> None:
    """Prints how often the likeliest line is right: the repository's, and, fitted on the other cases, of both."""
    fold = np.random.default_rng(0).permutation(len(cases)) % FOLDS
    hits = 0
    for number in range(FOLDS):
        weights, _, mean, deviation = fit([cases[at] for at in np.flatnonzero(fold != number)], penalty)
        for values, right in (cases[at] for at in np.flatnonzero(fold == number)):
            hits += bool(right[np.argmax((values - mean) / deviation @ weights)])
    alone = sum(bool(right[np.argmax(values[:, LOG_PROBABILITY_FEATURE])]) for values, right in cases)
    print(f"{len(cases)} cases, exact {alone / len(cases):.3f} by the repository, {hits / len(cases):.3f} by both")


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
    return weights.detach().numpy(), nothing.detach().numpy(), mean, deviation


def _repository_alone(count: int) -> Any:
    """Weights that give the repository's own chances: what is believed until cases speak against it."""
    weights = np.zeros(count)
    weights[LOG_PROBABILITY_FEATURE], weights[LOG_NONE_FEATURE] = 1.0, -1.0
    return weights


def _cases(path: Path) -> Iterator[tuple[Sequence[ScoredLine], Any]]:
    for case in read_scored_cases(path):
        for lines in case.lines.values():
            if lines:
                yield lines, np.array([line.text.strip() == case.truth.strip() for line in lines])


if __name__ == "__main__":
    main()
