"""Trains the bundled encoder's own weights on triplets; its embeddings and lowest layers stay as they are.

After each epoch the weights are laid between the base and what was trained, at the place where a part of the
workspace that no triplet used is found best; an epoch that helps no more is the last (early stopping).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from codekin.learning.loop import Passed, Training, fit
from codekin.models.bert import build_bert
from codekin.models.embedders import bert_tokenize, read_tokenizer
from codekin.models.weights import read_json, read_tensors

FROZEN_LAYERS = 2
LONGEST = 192
"""Tokens that are read of a text in training: most functions are shorter, and a step costs by the longest."""

SHARES = (1.0, 0.5, 0.25)
"""How far from the base to what was trained the weights may be laid."""

Texts = tuple[Sequence[str], Sequence[str], Sequence[str]]
"""Anchors, positives and negatives."""

Weights = Mapping[str, Tensor]


def train_encoder(
    base: Path, texts: Texts, choices: Training, stepped: Callable[[int, int], None]
) -> Iterator[tuple[Passed, Weights, Weights]]:
    """Yields each epoch's figures, the base's weights and those after it, float32 by name."""
    student = _EncoderStudent(base, texts, choices.pull)
    for passed in fit(student, len(texts[0]), choices, choices.learning_rate, stepped):
        yield passed, student.begun, {name: tensor.detach() for name, tensor in student.weights.items()}


def between(base: Weights, trained: Weights, share: float) -> dict[str, Tensor]:
    """Base + share * (trained - base) (Wortsman et al., 2022)."""
    return {name: torch.lerp(base[name], tensor, share) for name, tensor in trained.items()}


def encoder_files(base: Path, weights: Weights) -> dict[str, bytes]:
    """The files of a checkpoint that stands alone: the base's config and tokenizer, the weights in float16."""
    halved = {name: tensor.to(torch.float16).contiguous() for name, tensor in weights.items()}
    files = {name: (base / name).read_bytes() for name in ("config.json", "tokenizer.json")}
    return {**files, "model.safetensors": save(halved)}


class _EncoderStudent:
    """A BERT whose upper layers learn."""

    def __init__(self, base: Path, texts: Texts, pull: float) -> None:
        self._config = read_json(base / "config.json")
        self.weights = {name: tensor.float() for name, tensor in read_tensors(base / "model.safetensors").items()}
        self.begun = {name: tensor.clone() for name, tensor in self.weights.items()}
        self._learning = [name for name in self.weights if self._learns(name)]
        for name in self._learning:
            self.weights[name].requires_grad_(True)
        words = next(tensor for name, tensor in self.weights.items() if name.endswith("word_embeddings.weight"))
        tokenize = bert_tokenize(read_tokenizer(base / "tokenizer.json", vocabulary=len(words)), LONGEST)
        self._ids = [tokenize(side, "passage").ids for side in texts]
        self._pull = pull

    @property
    def parameters(self) -> list[Tensor]:
        return [self.weights[name] for name in self._learning]

    def encode(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        bert = build_bert(self.weights, self._config)  # stacks query, key and value anew, for their gradients
        sequences = [side[row] for side in self._ids for row in rows.tolist()]
        anchor, positive, negative = torch.split(bert.encode(sequences), len(rows))
        return anchor, positive, negative

    def penalty(self) -> Tensor:
        far = [((self.weights[name] - self.begun[name]) ** 2).sum() for name in self._learning]
        return self._pull * torch.stack(far).sum()

    def _learns(self, name: str) -> bool:
        """Whether a tensor is of an upper layer."""
        parts = name.split(".")
        least = min(FROZEN_LAYERS, int(self._config["num_hidden_layers"]) - 1)
        return "layer" in parts and int(parts[parts.index("layer") + 1]) >= least
