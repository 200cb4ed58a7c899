"""A large encoder's speed against naive padding: batches sorted under a token budget, and batches as the texts come.

    python scripts/benchmarks/padding.py [--quick] [--json]

Both run the same module, of Qodo-Embed-1-1.5B's shape with two of its 28 layers and random
weights, in the same dtype, in turns. The texts are functions of Python's standard library.
"""

import argparse
import statistics
from dataclasses import replace

import torch
import transformers
from encoding import functions
from figures import Figure, show
from lsp_client import timed

from codekin.models.catalogue import find_model
from codekin.models.embedding.adapters import TransformersEncoder, to_array
from codekin.models.embedding.local import LocalEmbedder, TokenizedTexts
from codekin.models.linear import fastest_kernel
from codekin.models.planner import MAX_PASSAGE_TOKENS

LAYERS = 2
VOCABULARY = 1000
NAIVE_BATCH = 32
CHARACTERS_A_TOKEN = 3.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer texts")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    show([measure(64 if options.quick else 192, rounds=1 if options.quick else 3)], as_json=options.json)


def measure(count: int, rounds: int) -> Figure:
    """The ratio of medians over so many rounds."""
    model = replace(find_model("qodo"), end_id=0)
    encoder = TransformersEncoder(shape(), model, model.dimensions, frozenset())
    ids = [ids_of(text) for text in functions(count)]
    ours = LocalEmbedder(
        "shape",
        "shape",
        model.dimensions,
        lambda texts, _: TokenizedTexts([ids[int(text)] for text in texts]),
        lambda ids, kind: to_array(encoder.embed(ids, kind)),
    )
    names = [str(number) for number in range(len(ids))]
    sorted_, naive = [], []
    for _ in range(rounds):
        sorted_.append(timed(lambda: ours.embed(names)))
        naive.append(
            timed(lambda: [encoder.embed(ids[at : at + NAIVE_BATCH], "passage") for at in range(0, count, NAIVE_BATCH)])
        )
    tokens = sum(map(len, ids)) / statistics.median(sorted_) * 1000
    beside = f"{tokens:.0f} tokens/s, {LAYERS} of 28 layers, {count} texts"
    return Figure(
        "Qwen2's shape / naive padding",
        statistics.median(naive) / statistics.median(sorted_),
        "x",
        at_least=2,
        beside=beside,
    )


def shape() -> torch.nn.Module:
    """Qodo-Embed-1-1.5B's shape with random weights, a small vocabulary and few layers."""
    sizes = {"hidden_size": 1536, "intermediate_size": 8960, "num_attention_heads": 12, "num_key_value_heads": 2}
    config = transformers.Qwen2Config(num_hidden_layers=LAYERS, vocab_size=VOCABULARY, use_cache=False, **sizes)
    module: torch.nn.Module = transformers.Qwen2Model(config).to(fastest_kernel().dtype).eval()
    return module


def ids_of(text: str) -> list[int]:
    """As many ids as the text has tokens, roughly."""
    return [
        1 + number % (VOCABULARY - 1)
        for number in range(min(MAX_PASSAGE_TOKENS, 1 + int(len(text) / CHARACTERS_A_TOKEN)))
    ]


if __name__ == "__main__":
    main()
