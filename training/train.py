"""Trains the encoder contrastively; can be stopped at any time and resumed.

    python training/train.py --groups .training/groups.jsonl --twins training/twins/written .training/generated \
        --base MODEL.safetensors --tokenizer tokenizer.json --out .training/run1 --minutes 40

Each step draws a batch of pairs of one kind and pair of languages (batches.py), encodes both sides
and minimises the symmetric InfoNCE loss: each text must find its partner among the batch's.
The learning rate falls linearly with the time that is left. Weights compute in bfloat16, with
float32 masters; the embeddings and the lowest layers stay frozen. `model.safetensors` in `--out` is the average of the
last steps (exponential, 0.99), `state.pt` what resuming needs.
"""

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from batches import Drawer, read_groups
from codekin.models.preparation import prepare
from encoder import Weights, encode, load_tokenizer, load_weights, trainable
from mine import read_twins

CHUNK = 2048


def contrast(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """Symmetric InfoNCE of two (n, d) sides whose rows belong together."""
    scores = functional.normalize(left, dim=1) @ functional.normalize(right, dim=1).T / temperature
    target = torch.arange(len(scores))
    return (functional.cross_entropy(scores, target) + functional.cross_entropy(scores.T, target)) / 2


def encode_all(weights: Weights, tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Tensor, int]:
    """Vectors of texts, computed in chunks of like length, and how many tokens were read."""
    ids = [encoding.ids for encoding in tokenizer.encode_batch_fast([prepare(text) for text in texts])]
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
    pieces, chunk = [], []
    for at in order:
        if chunk and (len(chunk) + 1) * len(ids[at]) > CHUNK:
            pieces.append(encode(weights, [ids[i] for i in chunk]))
            chunk = []
        chunk.append(at)
    pieces.append(encode(weights, [ids[i] for i in chunk]))
    return torch.cat(pieces)[torch.tensor(order).argsort()], sum(map(len, ids))


class Run:
    """The state of a training: float32 masters, their bfloat16 copies, the optimiser and the average."""

    def __init__(self, base: Path, rate: float, seed: int) -> None:
        torch.manual_seed(seed)
        self.masters = load_weights(base)
        self.names = trainable(self.masters)
        self.weights = {name: tensor.to(torch.bfloat16) for name, tensor in self.masters.items()}
        for name in self.names:
            self.weights[name].requires_grad_()
            self.masters[name].requires_grad_()
        self.average = {name: self.masters[name].detach().clone() for name in self.names}
        self.rate, self.step, self.spent = rate, 0, 0.0
        self.optimiser = torch.optim.AdamW([self.masters[name] for name in self.names], lr=rate, weight_decay=0.01)

    def learn(self, loss: Tensor, left: float) -> None:
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
        tensors = {n: t.detach().contiguous() for n, t in (self.masters | self.average).items()}
        save_file(tensors, str(folder / "model.part"), metadata={"format": "pt"})
        (folder / "model.part").rename(folder / "model.safetensors")

    def resume(self, folder: Path) -> None:
        """Take up a run where it was last saved."""
        state = torch.load(folder / "state.pt", weights_only=True)
        with torch.no_grad():
            for name in self.names:
                self.masters[name].copy_(state["masters"][name])
                self.weights[name].copy_(state["masters"][name])
        self.average, self.step, self.spent = state["average"], state["step"], state["spent"]
        self.optimiser.load_state_dict(state["optimiser"])


def main() -> None:
    """Train until the minutes are used up."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for name in ("groups", "base", "tokenizer", "out"):
        options.add_argument(f"--{name}", type=Path, required=True)
    options.add_argument("--twins", type=Path, nargs="*", default=[])
    options.add_argument("--minutes", type=float, default=40.0)
    options.add_argument("--rate", type=float, default=1e-4)
    options.add_argument("--size", type=int, default=96)
    options.add_argument("--longest", type=int, default=160)
    options.add_argument("--temperature", type=float, default=0.05)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--mixture", type=json.loads, default=None)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    twins = itertools.chain.from_iterable(read_twins(folder) for folder in chosen.twins)
    groups = [*read_groups(chosen.groups), *twins]
    drawer = Drawer(groups, chosen.size, chosen.seed, **({"mixture": chosen.mixture} if chosen.mixture else {}))
    run = Run(chosen.base, chosen.rate, chosen.seed)
    if (chosen.out / "state.pt").exists():
        run.resume(chosen.out)
        drawer.chance.seed(chosen.seed + run.step)
    tokenizer = load_tokenizer(chosen.tokenizer, chosen.longest)
    train(run, drawer, tokenizer, chosen)


def train(run: Run, drawer: Drawer, tokenizer: Tokenizer, chosen: argparse.Namespace) -> None:
    """Steps until `chosen.minutes` are spent, saved every fifty."""
    total, tokens, began = chosen.minutes * 60, 0, time.monotonic()
    for label, pairs in drawer:
        start = time.monotonic()
        vectors, read = encode_all(run.weights, tokenizer, [text for pair in pairs for text in pair])
        loss = contrast(vectors[0::2], vectors[1::2], chosen.temperature)
        run.learn(loss, 1 - run.spent / total)
        tokens += read
        run.spent += time.monotonic() - start
        rate = tokens / (time.monotonic() - began)
        print(
            f"{run.step} {run.spent / 60:.1f} min {label} n={len(pairs)} loss {loss.item():.3f} {rate:.0f} tokens/s",
            flush=True,
        )
        if run.step % 50 == 0:
            run.save(chosen.out)
        if run.spent >= total:
            break
    run.save(chosen.out)


if __name__ == "__main__":
    main()
