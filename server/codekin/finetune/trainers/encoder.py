"""Trains an encoder on triplets: all weights of a small one (`full`), or an adapter beside any (`lora`).

Texts that occur twice in a batch are encoded once, batched by length, in the fastest dtype; trained weights are
float32. Under torchrun each process encodes a share of every batch.
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

from codekin.finetune.dataset.training_set import TripletTexts
from codekin.finetune.trainers.loop import (
    EpochResult,
    ProcessGroup,
    TrainingContext,
    TrainingOptions,
    join_process_group,
    train_epochs,
)
from codekin.finetune.trainers.resume_state import NO_RESUME_STATE, ResumeState
from codekin.models.catalogue import ModelSpec, read_json
from codekin.models.checkpoints import head_files
from codekin.models.embedding.adapters import TransformersEncoder, adapter_files
from codekin.models.embedding.bert import build_bert
from codekin.models.embedding.local import LocalEmbedder, bert_tokenizer, load_bundled, plan_batches, read_tokenizer
from codekin.models.embedding.onnx_encoder import SCALES_FILE
from codekin.models.embedding.pretrained import build_tokenizer, load_pretrained, open_encoder
from codekin.models.linear import PLAIN_KERNEL, LinearKernel, fastest_kernel
from codekin.models.vocabulary import ModelVocabulary
from codekin.models.weights import read_tensors
from codekin.protocols import Embedder, Vectors

FROZEN_LAYERS = 2
MAX_TOKENS = 192
"""Tokens that are read of a text in training: most functions are shorter, and a step costs by the longest."""

INTERPOLATION_SHARES = (1.0, 0.5, 0.25)
"""How far from the base to what was trained the weights may be laid."""

FULL_RATE_FACTOR = 4.0
"""A small encoder's weights bear a rate this much above that of a large one's."""

LORA_RATE_FACTOR = 10.0
"""An adapter begins at zero and bears a rate this much above that of the weights themselves."""

FULL, LORA = "full", "lora"
TRAINED_ADAPTER = "practice"
"""The name of the adapter in training."""

NamedWeights = Mapping[str, Tensor]
StepCallback = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class BaseModel:
    """What is trained, and how: method, catalogue row, the folder of the base, device, dtype and what makes room."""

    method: str
    model: ModelSpec
    base: Path
    device: str = "cpu"
    dtype: str = "auto"
    checkpointing: bool = True


class TrainableModel(Protocol):
    """An encoder in training; `space` is that of its base."""

    @property
    def space(self) -> str:
        """The fingerprint of the base's space."""
        ...

    def train(
        self,
        texts: TripletTexts,
        options: TrainingOptions,
        on_step: StepCallback,
        resume_state: ResumeState = NO_RESUME_STATE,
        head: Vectors | None = None,
    ) -> Iterator[tuple[EpochResult, NamedWeights, NamedWeights]]:
        """Yields each epoch's figures, the weights that it began with and those after it, float32 by name.

        The loss looks at the vectors under `head`, where it is one that can lie on what is trained.
        """
        ...

    def local(self, weights: NamedWeights, head: Vectors | None = None) -> Embedder:
        """An embedder with these weights, read through the same files that a checkpoint will have."""
        ...

    def files(self, weights: NamedWeights, head: Vectors | None = None) -> dict[str, bytes]:
        """The files of a checkpoint; only a self-contained one may hold a head."""
        ...


KEPT_FILES = ("config.json", "tokenizer.json", SCALES_FILE)
"""What a trained encoder has of its base as it is."""


def load_trainable_model(base_model: BaseModel) -> TrainableModel:
    """Opens what is to be trained. Raises CheckpointError where it cannot be loaded."""
    return FullTrainableModel(base_model) if base_model.method == FULL else LoraTrainableModel(base_model)


def train_as_helper(process_group: ProcessGroup) -> None:
    """The loop of all ranks but 0: trains as many epochs as rank 0 broadcasts."""
    while (job := process_group.broadcast(None)) is not None:
        base_model, texts, options, folder, key, head = job
        for _ in load_trainable_model(base_model).train(
            texts, options, lambda *_: None, ResumeState(folder, key), head
        ):
            pass


def release_helpers(process_group: ProcessGroup) -> None:
    """The leader's word that there is nothing more to train."""
    process_group.broadcast(None)


def interpolate_weights(base: NamedWeights, trained: NamedWeights, share: float) -> dict[str, Tensor]:
    """Base + share * (trained - base) (Wortsman et al., 2022)."""
    return {name: torch.lerp(base[name], tensor, share) for name, tensor in trained.items()}


class FullTrainableModel:
    """A small BERT whose upper layers are trained; its embeddings and lowest layers stay as they are."""

    def __init__(self, base_model: BaseModel) -> None:
        self._base_model = base_model
        self._kernel = training_kernel(base_model.dtype)
        self.space = _load_small_encoder(base_model, base_model.base).space

    def train(
        self,
        texts: TripletTexts,
        options: TrainingOptions,
        on_step: StepCallback,
        resume_state: ResumeState = NO_RESUME_STATE,
        head: Vectors | None = None,
    ) -> Iterator[tuple[EpochResult, NamedWeights, NamedWeights]]:
        """See TrainableModel."""
        base = self._base_model.base
        config = read_json(base / "config.json")
        weights = {name: tensor.float() for name, tensor in read_tensors(base / "model.safetensors").items()}
        trained_parameters = {name: weights[name].requires_grad_(True) for name in weights if _is_trained(name, config)}
        frozen = {
            name: tensor.to(self._kernel.dtype) for name, tensor in weights.items() if name not in trained_parameters
        }

        def encode(batches: Sequence[list[list[int]]]) -> list[Tensor]:
            bert = build_bert(
                {**frozen, **trained_parameters}, config, self._kernel
            )  # stacks the weights anew, for their gradients
            return [bert.encode(batch) for batch in batches]

        words = next(tensor for name, tensor in weights.items() if name.endswith("word_embeddings.weight"))
        tokenize = bert_tokenizer(read_tokenizer(base / "tokenizer.json", vocabulary=len(words)), MAX_TOKENS)
        triplet_encoder = TextTripletEncoder(
            encode, [tokenize(side, "passage").ids for side in texts], trained_parameters, options.pull, head
        )
        initial = {name: tensor.detach().clone() for name, tensor in weights.items()}
        for epoch_result in _train_in_group(
            self._base_model,
            triplet_encoder,
            texts,
            options,
            (options.learning_rate * FULL_RATE_FACTOR, on_step, resume_state),
        ):
            yield epoch_result, initial, {name: tensor.detach().clone() for name, tensor in weights.items()}

    def local(self, weights: NamedWeights, head: Vectors | None = None) -> LocalEmbedder:
        """See TrainableModel."""
        return _reload_from_files(self.files(weights, head), partial(_load_small_encoder, self._base_model))

    def files(self, weights: NamedWeights, head: Vectors | None = None) -> dict[str, bytes]:
        """The base's config and tokenizer, and all weights in float16: such a checkpoint is self-contained."""
        halved = {name: tensor.to(torch.float16).contiguous() for name, tensor in weights.items()}
        kept = {name: path.read_bytes() for name in KEPT_FILES if (path := self._base_model.base / name).exists()}
        return {**kept, "model.safetensors": save(halved), **({} if head is None else head_files(head))}


class LoraTrainableModel:
    """Any encoder of the catalogue, with an adapter that is trained beside its weights."""

    def __init__(self, base_model: BaseModel) -> None:
        self._base_model = base_model
        model, base = base_model.model, base_model.base
        if model.architecture == "bert" and (model.bundled or model.folder):
            self._embedder = _load_small_encoder(base_model, base)
            self._encoder = open_encoder(model, base, device=base_model.device, dtype=base_model.dtype)
            self._tokenize = bert_tokenizer(read_tokenizer(base / "tokenizer.json", model.vocabulary), MAX_TOKENS)
        else:
            self._embedder = load_pretrained(model, base, device=base_model.device, dtype=base_model.dtype)
            self._encoder = _encoder_of(self._embedder)
            self._tokenize = build_tokenizer(model, ModelVocabulary(base / "tokenizer.json"), MAX_TOKENS)

    @property
    def space(self) -> str:
        """See TrainableModel."""
        return self._embedder.space

    def train(
        self,
        texts: TripletTexts,
        options: TrainingOptions,
        on_step: StepCallback,
        resume_state: ResumeState = NO_RESUME_STATE,
        head: Vectors | None = None,
    ) -> Iterator[tuple[EpochResult, NamedWeights, NamedWeights]]:
        """See TrainableModel."""
        torch.manual_seed(options.seed)
        trained_parameters = self._encoder.add_adapter(TRAINED_ADAPTER)
        if self._base_model.checkpointing:
            self._encoder.enable_activation_checkpointing()
        initial = {name: tensor.detach().clone() for name, tensor in trained_parameters.items()}

        def encode(batches: Sequence[list[list[int]]]) -> list[Tensor]:
            return [self._encoder.encode(batch, "passage", TRAINED_ADAPTER) for batch in batches]

        ids = [self._tokenize(side, "passage").ids for side in texts]
        triplet_encoder = TextTripletEncoder(encode, ids, trained_parameters, options.pull, head)
        rate = options.learning_rate * LORA_RATE_FACTOR
        try:
            for epoch_result in _train_in_group(
                self._base_model, triplet_encoder, texts, options, (rate, on_step, resume_state)
            ):
                yield (
                    epoch_result,
                    initial,
                    {name: tensor.detach().clone() for name, tensor in trained_parameters.items()},
                )
        finally:
            self._encoder.remove_adapter(TRAINED_ADAPTER)

    def local(self, weights: NamedWeights, head: Vectors | None = None) -> LocalEmbedder:
        """See TrainableModel."""
        if self._embedder.adapt is None:
            raise TypeError("an embedder of the catalogue takes adapters")
        return _reload_from_files(self.files(weights, head), self._embedder.adapt)

    def files(self, weights: NamedWeights, head: Vectors | None = None) -> dict[str, bytes]:  # noqa: ARG002 - no room
        """The adapter as peft writes it."""
        return adapter_files(weights, self._base_model.model.architecture, self._base_model.model.key)


class TextTripletEncoder:
    """Texts as token ids, an encoder's forward, and the parameters in training."""

    def __init__(
        self,
        encode: Callable[[Sequence[list[list[int]]]], list[Tensor]],
        ids: Sequence[Sequence[list[int]]],
        trained_parameters: Mapping[str, Tensor],
        pull: float,
        head: Vectors | None = None,
    ) -> None:
        self._encode = encode
        self._ids = ids
        self._initial = [tensor.detach().clone() for tensor in trained_parameters.values()]
        self._pull = pull
        self.head = head
        self.parameters = list(trained_parameters.values())

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
        far = [((now - initial) ** 2).sum() for now, initial in zip(self.parameters, self._initial, strict=True)]
        return self._pull * torch.stack(far).sum()


def training_kernel(dtype: str = "auto") -> LinearKernel:
    """The products of a small encoder in training: the fastest dtype, through operators that have gradients."""
    chosen = fastest_kernel().dtype if dtype == "auto" else getattr(torch, dtype)
    return PLAIN_KERNEL if chosen is torch.float32 else LinearKernel(chosen, onednn=False)


def _load_small_encoder(base_model: BaseModel, folder: Path) -> LocalEmbedder:
    """As the daemon will load it: by torch, in the dtype of the training, where it has no scales for 8 bits."""
    by_torch = base_model.dtype != "auto" and not (folder / SCALES_FILE).exists()
    return load_bundled(folder, kernel=training_kernel(base_model.dtype) if by_torch else None)


def _train_in_group(
    base_model: BaseModel,
    triplet_encoder: TextTripletEncoder,
    texts: TripletTexts,
    options: TrainingOptions,
    how: tuple[float, StepCallback, ResumeState],
) -> Iterator[EpochResult]:
    """The loop, alone or as rank 0 of a process group, which receives the job first."""
    rate, on_step, resume_state = how
    process_group = join_process_group()
    if process_group.is_main:
        model = replace(
            base_model.model, prompts=dict(base_model.model.prompts), adapters=dict(base_model.model.adapters)
        )
        process_group.broadcast(
            (
                replace(base_model, model=model),
                texts,
                options,
                resume_state.run_folder,
                resume_state.key,
                triplet_encoder.head,
            )
        )
    yield from train_epochs(
        triplet_encoder, len(texts[0]), options, rate, on_step, TrainingContext(resume_state, process_group)
    )


def _is_trained(name: str, config: Mapping[str, object]) -> bool:
    """Whether a tensor is of an upper layer."""
    parts = name.split(".")
    least = min(FROZEN_LAYERS, int(str(config["num_hidden_layers"])) - 1)
    return "layer" in parts and int(parts[parts.index("layer") + 1]) >= least


def _encoder_of(embedder: LocalEmbedder) -> TransformersEncoder:
    if embedder.encoder is None:
        raise TypeError("an embedder of the catalogue has an encoder")
    return embedder.encoder


def _reload_from_files(files: Mapping[str, bytes], read: Callable[[Path], LocalEmbedder]) -> LocalEmbedder:
    with tempfile.TemporaryDirectory(prefix="codekin-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return read(Path(folder))
