"""Fits the weights of the completion ranking on cases from checkouts: a few thousand numbers, in a minute or two.

    scripts/fit_completion_ranking.py --pair CHECKOUT CASES.jsonl --pair ... --out server/codekin/completion/ranking.npz

The loss is the negative log of the chance given to the right line, or to "none of them" where no candidate is right.
The features of a file of cases are kept in --cache, if given, under its name, and used again.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from codekin.completion.context import read_context
from codekin.completion.corpus_snapshot import build_corpus
from codekin.completion.evaluation import read_sources, row_cursor
from codekin.completion.features import MAX_RANKED, candidate_features

HIDDEN, HIDDEN_NOTHING = 32, 16
FARTHEST = 5.0


@dataclass
class Cases:
    """Features (n, RANKED, f), which candidates are right (n, RANKED), which there are (n, RANKED)."""

    features: np.ndarray
    is_right: np.ndarray
    is_there: np.ndarray


class Ranking(torch.nn.Module):
    """The network of codekin.completion.ranking, for training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.candidate = torch.nn.ModuleList(
            [torch.nn.Linear(width, HIDDEN), torch.nn.Linear(HIDDEN, HIDDEN), torch.nn.Linear(HIDDEN, 1)]
        )
        self.nothing = torch.nn.ModuleList([torch.nn.Linear(width, HIDDEN_NOTHING), torch.nn.Linear(HIDDEN_NOTHING, 1)])

    def forward(self, features: torch.Tensor, is_there: torch.Tensor) -> torch.Tensor:
        """Scores of the candidates and, last, of none, shape (n, RANKED + 1)."""
        there = is_there.unsqueeze(-1).float()
        mean = (features * there).sum(1) / there.sum(1).clamp(min=1)
        scores = _through(self.candidate, features).squeeze(-1).masked_fill(~is_there, -1e9)
        return torch.cat([scores, _through(self.nothing, mean)], 1)


def _through(layers: torch.nn.ModuleList, values: torch.Tensor) -> torch.Tensor:
    for layer in list(layers)[:-1]:
        values = torch.relu(layer(values))
    return layers[-1](values)


def main() -> None:
    arguments = _arguments()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    cases = joined([_cached(Path(root), Path(rows), arguments.cache) for root, rows in arguments.pair])
    there = cases.features[cases.is_there]
    mean, deviation = there.mean(0), there.std(0) + 1e-3
    scaled = np.clip((cases.features - mean) / deviation, -FARTHEST, FARTHEST) * cases.is_there[..., None]
    ranking = fit(Cases(scaled.astype(np.float32), cases.is_right, cases.is_there), arguments.epochs)
    weights = {name: value.detach().numpy().astype(np.float16) for name, value in ranking.named_parameters()}
    np.savez(arguments.out, mean=mean.astype(np.float32), deviation=deviation.astype(np.float32), **weights)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pair", nargs=2, action="append", required=True, metavar=("CHECKOUT", "CASES"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _cached(root: Path, rows: Path, cache: Path | None) -> Cases:
    kept = cache / f"{rows.stem}.npz" if cache else None
    if kept and kept.exists():
        with np.load(kept) as stored:
            return Cases(stored["features"], stored["is_right"], stored["is_there"])
    cases = collect(root, [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()])
    if kept:
        np.savez(kept, features=cases.features, is_right=cases.is_right, is_there=cases.is_there)
    print(f"{root.name}: {cases.is_right.any(1).mean():.3f} of {len(cases.is_right)} among the candidates", flush=True)
    return cases


def collect(root: Path, rows: Sequence[dict[str, str]]) -> Cases:
    """The features of every row's candidates."""
    corpus = build_corpus(read_sources(root))
    found = []
    for row in rows:
        context = read_context(corpus.vocabulary, row_cursor(row))
        lines, features = candidate_features(corpus, context)
        texts = [corpus.vocabulary.join(line.tolist())[len(context.typed) :].strip() for line in lines]
        found.append((features, [text == row["truth"].strip() for text in texts]))
    width = max(features.shape[1] for features, _ in found)
    cases = Cases(
        np.zeros((len(rows), MAX_RANKED, width), np.float32),
        *(np.zeros((len(rows), MAX_RANKED), bool) for _ in range(2)),
    )
    for at, (features, is_right) in enumerate(found):
        count = len(is_right)
        cases.is_there[at, :count] = True
        cases.is_right[at, :count] = is_right
        if count:
            cases.features[at, :count] = features
    return cases


def joined(parts: Sequence[Cases]) -> Cases:
    """Cases of several checkouts as one."""
    return Cases(*(np.concatenate([getattr(part, name) for part in parts]) for name in Cases.__dataclass_fields__))


def fit(cases: Cases, epochs: int) -> Ranking:
    """Trains by AdamW with one cycle of the learning rate."""
    features, is_there = torch.tensor(cases.features), torch.tensor(cases.is_there)
    right = torch.tensor(np.hstack([cases.is_right, ~cases.is_right.any(1, keepdims=True)]))
    ranking = Ranking(features.shape[2])
    optimiser = torch.optim.AdamW(ranking.parameters(), lr=3e-3, weight_decay=3e-2)
    steps = epochs * (len(features) // 128 + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps + 1)
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(features)).split(128):
            chances = torch.log_softmax(ranking(features[chosen], is_there[chosen]), 1)
            loss = -torch.logsumexp(chances.masked_fill(~right[chosen], -1e9), 1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(chosen)
        print(f"epoch {epoch + 1}: loss {total / len(features):.4f}", flush=True)
    return ranking


if __name__ == "__main__":
    main()
