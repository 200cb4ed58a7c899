"""Trains the encoder contrastively; can be stopped at any time and resumed.

    python training/train.py --groups .training/groups --parallel training/parallel/written .training/generated \
        --base MODEL.safetensors --tokenizer tokenizer.json --out .training/run1 --minutes 40

Each step draws a batch of pairs of one kind and pair of languages (batches.py), encodes both sides
and minimises the symmetric InfoNCE loss: each text must find its partner among the batch's texts and
those of earlier steps (memory.py). The learning rate falls linearly with the processor time that is left, so a
run that others crowd out loses nothing. Weights compute in bfloat16 where the processor is made for it, with
float32 masters; the embeddings and the lowest
layers stay frozen. `model.safetensors` in `--out` is the average of the last steps (exponential, 0.99),
`state.pt` what resuming needs.
"""

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from batches import GUESSED, Batch, BatchSampler, read_groups
from codekin.models.embedding.local import split_code_words
from encoder import FROZEN_LAYERS, Weights, encode, fastest_dtype, load_tokenizer, load_weights, trainable
from memory import Memory, Side, contrast
from mine_groups import read_parallel

CHUNK = 2048
"""Tokens that are encoded at once on a processor; a device takes them all."""


def encode_all(weights: Weights, tokenizer: Tokenizer, texts: Sequence[str], most: int) -> tuple[Tensor, int]:
    """Vectors of texts, computed in chunks of like length and at most so many tokens, and how many were read."""
    ids = [encoding.ids for encoding in tokenizer.encode_batch_fast([split_code_words(text) for text in texts])]
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
    vectors, chunk = [], []
    for at in order:
        if chunk and (len(chunk) + 1) * len(ids[at]) > most:
            vectors.append(encode(weights, [ids[i] for i in chunk]))
            chunk = []
        chunk.append(at)
    vectors.append(encode(weights, [ids[i] for i in chunk]))
    return torch.cat(vectors)[torch.tensor(order).argsort().to(vectors[0].device)], sum(map(len, ids))


@dataclass(frozen=True, slots=True)
class Engine:
    """What computes, in which numbers, and how many of the lowest layers stay."""

    dtype: torch.dtype = torch.bfloat16
    device: str = "cpu"
    frozen: int = FROZEN_LAYERS


class ContrastiveTraining:
    """The state of a training: float32 masters, the copies that compute, the optimiser and the average."""

    def __init__(self, base: Path, rate: float, seed: int, engine: "Engine | None" = None) -> None:
        engine = engine or Engine()
        torch.manual_seed(seed)
        self.masters = {name: tensor.to(engine.device) for name, tensor in load_weights(base).items()}
        self.names = trainable(self.masters, engine.frozen)
        self.weights = {name: tensor.to(engine.dtype, copy=True) for name, tensor in self.masters.items()}
        for name in self.names:
            self.weights[name].requires_grad_()
            self.masters[name].requires_grad_()
        self.average = {name: self.masters[name].detach().clone() for name in self.names}
        self.rate, self.step, self.spent = rate, 0, 0.0
        self.optimiser = torch.optim.AdamW([self.masters[name] for name in self.names], lr=rate, weight_decay=0.01)

    def step_with_loss(self, loss: Tensor, left: float) -> None:
        """One step; `left` is the share of the time that remains."""
        loss.backward()  # type: ignore[no-untyped-call]
        for name in self.names:
            grad = self.weights[name].grad
            self.masters[name].grad = None if grad is None else grad.float()
            self.weights[name].grad = None
        torch.nn.utils.clip_grad_norm_([self.masters[name] for name in self.names], 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * min(1.0, (self.step + 1) / 20) * max(left, 0.02)
        self.optimiser.step()
        self.step += 1
        keep = min(0.99, self.step / (self.step + 10))
        with torch.no_grad():
            for name in self.names:
                self.weights[name].copy_(self.masters[name])
                self.average[name].lerp_(self.masters[name], 1 - keep)

    def save(self, folder: Path) -> None:
        """Write the averaged weights and what resuming needs, each by rename."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "masters": {n: self.masters[n].detach() for n in self.names},
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "spent": self.spent,
        }
        torch.save(state, folder / "state.part")
        (folder / "state.part").rename(folder / "state.pt")
        tensors = {n: t.detach().cpu().contiguous() for n, t in (self.masters | self.average).items()}
        save_file(tensors, str(folder / "model.part"), metadata={"format": "pt"})
        (folder / "model.part").rename(folder / "model.safetensors")

    def resume(self, folder: Path) -> None:
        """Take up a run where it was last saved."""
        state = torch.load(
            folder / "state.pt", weights_only=True, map_location=next(iter(self.masters.values())).device
        )
        with torch.no_grad():
            for name in self.names:
                self.masters[name].copy_(state["masters"][name])
                self.weights[name].copy_(state["masters"][name])
        self.average, self.step, self.spent = state["average"], state["step"], state["spent"]
        self.optimiser.load_state_dict(state["optimiser"])


def main() -> None:
    """Train until the minutes of the processor are used up."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for name in ("groups", "base", "tokenizer", "out"):
        options.add_argument(f"--{name}", type=Path, required=True)
    options.add_argument("--parallel", type=Path, nargs="*", default=[])
    options.add_argument("--minutes", type=float, default=40.0)
    options.add_argument("--rate", type=float, default=1e-4)
    options.add_argument("--size", type=int, default=96)
    options.add_argument("--longest", type=int, default=160)
    options.add_argument("--temperature", type=float, default=0.05)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--memory", type=int, default=1024)
    options.add_argument("--frozen", type=int, default=FROZEN_LAYERS, help="lowest layers that stay; -1: all learn")
    options.add_argument("--device", default="cpu")
    options.add_argument("--mixture", type=json.loads, default=None)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    parallel = itertools.chain.from_iterable(read_parallel(folder) for folder in chosen.parallel)
    mined = itertools.chain.from_iterable(read_groups(path) for path in sorted(chosen.groups.glob("*.jsonl*")))
    groups = [*mined, *parallel]
    sampler = BatchSampler(groups, chosen.size, chosen.seed, **({"mixture": chosen.mixture} if chosen.mixture else {}))
    run = ContrastiveTraining(
        chosen.base, chosen.rate, chosen.seed, Engine(fastest_dtype(chosen.device), chosen.device, chosen.frozen)
    )
    if (chosen.out / "state.pt").exists():
        run.resume(chosen.out)
        sampler.rng.seed(chosen.seed + run.step)
    tokenizer = load_tokenizer(chosen.tokenizer, chosen.longest)
    train(run, sampler, tokenizer, chosen)


def train(run: ContrastiveTraining, sampler: BatchSampler, tokenizer: Tokenizer, chosen: argparse.Namespace) -> None:
    """Steps until `chosen.minutes` of the processor are spent, saved every twenty."""
    clock = time.process_time if chosen.device == "cpu" else time.monotonic
    total, tokens, began, memory = chosen.minutes * 60, 0, clock(), Memory(chosen.memory)
    for batch in sampler:
        start = clock()
        left, right, read = encode_batch(run.weights, tokenizer, batch, CHUNK if chosen.device == "cpu" else 1 << 20)
        loss, counted = contrast(left, right, memory, chosen.temperature, batch.kind in GUESSED)
        run.step_with_loss(loss, 1 - run.spent / total)
        memory.keep(left)
        memory.keep(right)
        tokens += read
        run.spent += clock() - start
        rate = tokens / (clock() - began)
        print(
            f"{run.step} {run.spent / 60:.1f} min {batch.kind} {'-'.join(batch.sides)} n={counted}/{len(batch.pairs)} "
            f"loss {loss.item():.3f} {rate:.0f} tokens/s",
            flush=True,
        )
        if run.step % 20 == 0:
            run.save(chosen.out)
        if run.spent >= total:
            break
    run.save(chosen.out)


def encode_batch(weights: Weights, tokenizer: Tokenizer, batch: Batch, most: int = CHUNK) -> tuple[Side, Side, int]:
    """Both sides of a batch as unit vectors, and how many tokens were read."""
    vectors, read = encode_all(weights, tokenizer, [text for pair in batch.pairs for text in pair], most)
    vectors = functional.normalize(vectors, dim=1)
    left, right = (Side(vectors[at::2], side, batch.keys) for at, side in enumerate(batch.sides))
    return left, right, read


if __name__ == "__main__":
    main()
