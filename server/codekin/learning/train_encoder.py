"""Trains an encoder on triplets: all weights of a small one (`full`), or an adapter beside any one's (`lora`).

A pupil trains, embeds with what it has learned, and gives the files of a checkpoint. Texts that come twice in a
batch are read once, alike in length side by side, in the dtype that is fastest here; what learns is float32. Under
torchrun each process reads a share of every batch.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import save
from torch import Tensor

from codekin.learning.crew import Crew, joined
from codekin.learning.loop import Company, Passed, Training, fit
from codekin.learning.unfinished import NOWHERE, Unfinished
from codekin.models.adapters import adapter_files
from codekin.models.batching import plan_batches
from codekin.models.bert import build_bert
from codekin.models.catalogue import Model
from codekin.models.checkpoints import head_files
from codekin.models.embedders import LocalEmbedder, bert_tokenize, load_bundled, read_tokenizer
from codekin.models.kernels import PLAIN, Kernel, fastest_kernel
from codekin.models.pretrained import Encoder, load_pretrained, open_encoder, tokenizer_of
from codekin.models.vocabulary import Vocabulary
from codekin.models.weights import read_json, read_tensors
from codekin.seams import Embedder, Vectors

FROZEN_LAYERS = 2
LONGEST = 192
"""Tokens that are read of a text in training: most functions are shorter, and a step costs by the longest."""

SHARES = (1.0, 0.5, 0.25)
"""How far from the base to what was trained the weights may be laid."""

FULL_RATE = 4.0
"""A small encoder's weights bear a rate this much above that of a large one's."""

LORA_RATE = 10.0
"""An adapter begins at zero and bears a rate this much above that of the weights themselves."""

FULL, LORA = "full", "lora"
PRACTICE = "practice"
"""The name of the adapter that is learning."""

Texts = tuple[Sequence[str], Sequence[str], Sequence[str]]
"""Anchors, positives and negatives."""

Weights = Mapping[str, Tensor]
Steps = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is trained, and how: method, catalogue row, the folder of the base, device, dtype and what makes room."""

    method: str
    model: Model
    base: Path
    device: str = "cpu"
    dtype: str = "auto"
    checkpointing: bool = True


class Pupil(Protocol):
    """An encoder that learns; `space` is that of its base."""

    @property
    def space(self) -> str:
        """The fingerprint of the base's space."""
        ...

    def train(
        self,
        texts: Texts,
        choices: Training,
        stepped: Steps,
        unfinished: Unfinished = NOWHERE,
        head: Vectors | None = None,
    ) -> Iterator[tuple[Passed, Weights, Weights]]:
        """Yields each epoch's figures, the weights that it began with and those after it, float32 by name.

        The loss looks at the vectors under `head`, where it is one that can lie on what is trained.
        """
        ...

    def local(self, weights: Weights, head: Vectors | None = None) -> Embedder:
        """An embedder with these weights, read through the same files that a checkpoint will have."""
        ...

    def files(self, weights: Weights, head: Vectors | None = None) -> dict[str, bytes]:
        """The files of a checkpoint; only one that stands alone has room for a head."""
        ...


def pupil_of(subject: Subject) -> Pupil:
    """Opens what is to be trained. Raises CheckpointError where it cannot be loaded."""
    return FullPupil(subject) if subject.method == FULL else LoraPupil(subject)


def assist(crew: Crew) -> None:
    """What all but the leader of a crew do: train along, as often as the leader says."""
    while (job := crew.agreed(None)) is not None:
        subject, texts, choices, folder, key, head = job
        for _ in pupil_of(subject).train(texts, choices, lambda *_: None, Unfinished(folder, key), head):
            pass


def dismiss(crew: Crew) -> None:
    """The leader's word that there is nothing more to train."""
    crew.agreed(None)


def between(base: Weights, trained: Weights, share: float) -> dict[str, Tensor]:
    """Base + share * (trained - base) (Wortsman et al., 2022)."""
    return {name: torch.lerp(base[name], tensor, share) for name, tensor in trained.items()}


class FullPupil:
    """A small BERT whose upper layers learn; its embeddings and lowest layers stay as they are."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._kernel = training_kernel(subject.dtype)
        self.space = _load_small(subject, subject.base).space

    def train(
        self,
        texts: Texts,
        choices: Training,
        stepped: Steps,
        unfinished: Unfinished = NOWHERE,
        head: Vectors | None = None,
    ) -> Iterator[tuple[Passed, Weights, Weights]]:
        """See Pupil."""
        base = self._subject.base
        config = read_json(base / "config.json")
        weights = {name: tensor.float() for name, tensor in read_tensors(base / "model.safetensors").items()}
        learning = {name: weights[name].requires_grad_(True) for name in weights if _learns(name, config)}
        still = {name: tensor.to(self._kernel.dtype) for name, tensor in weights.items() if name not in learning}

        def encode(batches: Sequence[list[list[int]]]) -> list[Tensor]:
            bert = build_bert(
                {**still, **learning}, config, self._kernel
            )  # stacks the weights anew, for their gradients
            return [bert.encode(batch) for batch in batches]

        words = next(tensor for name, tensor in weights.items() if name.endswith("word_embeddings.weight"))
        tokenize = bert_tokenize(read_tokenizer(base / "tokenizer.json", vocabulary=len(words)), LONGEST)
        student = TextStudent(encode, [tokenize(side, "passage").ids for side in texts], learning, choices.pull, head)
        begun = {name: tensor.detach().clone() for name, tensor in weights.items()}
        for passed in _fitted(
            self._subject, student, texts, choices, (choices.learning_rate * FULL_RATE, stepped, unfinished)
        ):
            yield passed, begun, {name: tensor.detach().clone() for name, tensor in weights.items()}

    def local(self, weights: Weights, head: Vectors | None = None) -> LocalEmbedder:
        """See Pupil."""
        return _through_files(self.files(weights, head), partial(_load_small, self._subject))

    def files(self, weights: Weights, head: Vectors | None = None) -> dict[str, bytes]:
        """The base's config and tokenizer, and all weights in float16: such a checkpoint stands alone."""
        halved = {name: tensor.to(torch.float16).contiguous() for name, tensor in weights.items()}
        kept = {name: (self._subject.base / name).read_bytes() for name in ("config.json", "tokenizer.json")}
        return {**kept, "model.safetensors": save(halved), **({} if head is None else head_files(head))}


class LoraPupil:
    """Any encoder of the catalogue, with an adapter that learns beside its weights."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        model, base = subject.model, subject.base
        if model.architecture == "bert" and (model.bundled or model.folder):
            self._embedder = _load_small(subject, base)
            self._encoder = open_encoder(model, base, device=subject.device, dtype=subject.dtype)
            self._tokenize = bert_tokenize(read_tokenizer(base / "tokenizer.json", model.vocabulary), LONGEST)
        else:
            self._embedder = load_pretrained(model, base, device=subject.device, dtype=subject.dtype)
            self._encoder = _encoder_of(self._embedder)
            self._tokenize = tokenizer_of(model, Vocabulary(base / "tokenizer.json"), LONGEST)

    @property
    def space(self) -> str:
        """See Pupil."""
        return self._embedder.space

    def train(
        self,
        texts: Texts,
        choices: Training,
        stepped: Steps,
        unfinished: Unfinished = NOWHERE,
        head: Vectors | None = None,
    ) -> Iterator[tuple[Passed, Weights, Weights]]:
        """See Pupil."""
        torch.manual_seed(choices.seed)
        learning = self._encoder.learn(PRACTICE)
        if self._subject.checkpointing:
            self._encoder.save_memory()
        begun = {name: tensor.detach().clone() for name, tensor in learning.items()}

        def encode(batches: Sequence[list[list[int]]]) -> list[Tensor]:
            return [self._encoder.encode(batch, "passage", PRACTICE) for batch in batches]

        ids = [self._tokenize(side, "passage").ids for side in texts]
        student = TextStudent(encode, ids, learning, choices.pull, head)
        rate = choices.learning_rate * LORA_RATE
        try:
            for passed in _fitted(self._subject, student, texts, choices, (rate, stepped, unfinished)):
                yield passed, begun, {name: tensor.detach().clone() for name, tensor in learning.items()}
        finally:
            self._encoder.forget(PRACTICE)

    def local(self, weights: Weights, head: Vectors | None = None) -> LocalEmbedder:
        """See Pupil."""
        if self._embedder.adapt is None:
            raise TypeError("an embedder of the catalogue takes adapters")
        return _through_files(self.files(weights, head), self._embedder.adapt)

    def files(self, weights: Weights, head: Vectors | None = None) -> dict[str, bytes]:  # noqa: ARG002 - no room
        """The adapter as peft writes it."""
        return adapter_files(weights, self._subject.model.architecture, self._subject.model.key)


class TextStudent:
    """Texts as token ids, an encoder's forward, and what of it learns."""

    def __init__(
        self,
        encode: Callable[[Sequence[list[list[int]]]], list[Tensor]],
        ids: Sequence[Sequence[list[int]]],
        learning: Mapping[str, Tensor],
        pull: float,
        head: Vectors | None = None,
    ) -> None:
        self._encode = encode
        self._ids = ids
        self._begun = [tensor.detach().clone() for tensor in learning.values()]
        self._pull = pull
        self.head = head
        self.parameters = list(learning.values())

    def encode(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit rows of the anchors, positives and negatives; a text that comes twice is read once."""
        wanted = [tuple(side[row]) for side in self._ids for row in rows.tolist()]
        unique = list(dict.fromkeys(wanted))
        batches = plan_batches([len(ids) for ids in unique])
        vectors = torch.cat(self._encode([[list(unique[at]) for at in batch] for batch in batches]))
        if self.head is not None:
            vectors = torch.nn.functional.normalize(vectors @ torch.from_numpy(self.head).to(vectors).T, dim=1)
        places = {unique[at]: place for place, at in enumerate(at for batch in batches for at in batch)}
        anchor, positive, negative = torch.split(vectors[[places[ids] for ids in wanted]], len(rows))
        return anchor, positive, negative

    def penalty(self) -> Tensor:
        """How far the weights went: `pull` times the sum of squares."""
        far = [((now - begun) ** 2).sum() for now, begun in zip(self.parameters, self._begun, strict=True)]
        return self._pull * torch.stack(far).sum()


def training_kernel(dtype: str = "auto") -> Kernel:
    """The products of a small encoder in training: the fastest dtype, through operators that have gradients."""
    chosen = fastest_kernel().dtype if dtype == "auto" else getattr(torch, dtype)
    return PLAIN if chosen is torch.float32 else Kernel(chosen, onednn=False)


def _load_small(subject: Subject, folder: Path) -> LocalEmbedder:
    return load_bundled(folder, kernel=None if subject.dtype == "auto" else training_kernel(subject.dtype))


def _fitted(
    subject: Subject, student: TextStudent, texts: Texts, choices: Training, how: tuple[float, Steps, Unfinished]
) -> Iterator[Passed]:
    """The loop, alone or as the leader of a crew, which is told of the job first."""
    rate, stepped, unfinished = how
    crew = joined()
    if crew.leads:
        model = replace(subject.model, prompts=dict(subject.model.prompts), adapters=dict(subject.model.adapters))
        crew.agreed((replace(subject, model=model), texts, choices, unfinished.home, unfinished.key, student.head))
    yield from fit(student, len(texts[0]), choices, rate, stepped, Company(unfinished, crew))


def _learns(name: str, config: Mapping[str, object]) -> bool:
    """Whether a tensor is of an upper layer."""
    parts = name.split(".")
    least = min(FROZEN_LAYERS, int(str(config["num_hidden_layers"])) - 1)
    return "layer" in parts and int(parts[parts.index("layer") + 1]) >= least


def _encoder_of(embedder: LocalEmbedder) -> Encoder:
    if embedder.encoder is None:
        raise TypeError("an embedder of the catalogue has an encoder")
    return embedder.encoder


def _through_files(files: Mapping[str, bytes], read: Callable[[Path], LocalEmbedder]) -> LocalEmbedder:
    with tempfile.TemporaryDirectory(prefix="codekin-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return read(Path(folder))
