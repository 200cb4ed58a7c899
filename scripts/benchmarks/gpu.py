"""What a GPU gives: training, embedding, decoding and a head, on random weights of the true shapes, in eight minutes.

    python scripts/benchmarks/gpu.py [--tiny] [--seconds 45] [--json]

`lora`: 1,000 triplets for 3 epochs on Qodo's shape, by the measured steps of the trainer's own encoder and adapter.
`embedding`: texts of 256 tokens a second on the shapes of Qodo and Jina v3. `decoding`: tokens a second of the own
decoder on the shapes of CodeLlama 7B and StarCoder 1B. `head`: 10 million vectors of 1,536 numbers under a matrix. Each
measure stops after `--seconds` and what is left of it is counted on from its mean step. Peaks of memory are of the
device. Without CUDA the same code runs on tiny shapes, which proves that it runs and measures nothing.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import transformers
from figures import Figure, show
from finetune_speed import _module
from torch import Tensor

from codekin.finetune.trainers.encoder import TextTripletEncoder
from codekin.models.catalogue import ModelSpec, load_catalogue
from codekin.models.embedding.adapters import TransformersEncoder
from codekin.models.generation.architectures import build_decoder
from codekin.models.generation.decoder import Decoder

TRIPLETS, EPOCHS, BATCH, TOKENS = 1000, 3, 16, 256
HEAD_VECTORS, HEAD_BLOCK, WIDTH = 10_000_000, 200_000, 1536
MEMORY_GB = 16.0
LORA_MINUTES = 30.0
"""What 1,000 triplets may take on an RTX 4080."""

GENERATORS: dict[str, dict[str, Any]] = {
    "CodeLlama 7B": {
        "kind": "Llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32016,
    },
    "StarCoder 1B": {
        "kind": "GPTBigCode", "n_embd": 2048, "n_inner": 8192, "n_layer": 24, "n_head": 16, "n_positions": 8192,
        "vocab_size": 49152, "multi_query": True,
    },
}  # fmt: skip
TINY_GENERATOR = {
    "Llama": {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
              "num_key_value_heads": 4, "vocab_size": 512},
    "GPTBigCode": {"n_embd": 64, "n_inner": 96, "n_layer": 2, "n_head": 4, "n_positions": 512, "vocab_size": 512},
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """Where and how long: a device, its dtype, tiny shapes or true ones, and seconds for each measure."""

    device: str
    dtype: torch.dtype
    tiny: bool
    seconds: float

    @property
    def beside(self) -> str:
        """What the figures were taken on."""
        name = torch.cuda.get_device_name() if self.device == "cuda" else "cpu"
        return f"{name}, tiny shapes: proves that it runs" if self.tiny else name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, as where there is no CUDA")
    parser.add_argument("--quick", action="store_true", help="the same")
    parser.add_argument("--seconds", type=float, default=45.0, help="at most for each measure")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    has_cuda = torch.cuda.is_available()
    tiny = given.tiny or given.quick or not has_cuda
    setting = Setting(
        "cuda" if has_cuda else "cpu",
        torch.bfloat16 if has_cuda else torch.float32,
        tiny,
        min(given.seconds, 2.0) if tiny else given.seconds,
    )
    measures = (lora, embedding, decoding, head)
    show([figure for measure in measures for figure in measure(setting)], as_json=given.json)


def lora(setting: Setting) -> list[Figure]:
    """Minutes for 1,000 triplets and 3 epochs on Qodo's shape, a batch at a time with recomputed activations."""
    encoder = _encoder("qodo", setting)
    parameters = encoder.add_adapter("measured")
    encoder.enable_activation_checkpointing()
    sides = [_texts(BATCH, _tokens(setting), setting, seed) for seed in range(3)]
    triplets = TextTripletEncoder(
        lambda parts: [encoder.encode(part, "passage", "measured") for part in parts], sides, parameters, 0.0
    )
    optimizer = torch.optim.AdamW(triplets.parameters, lr=1e-4)

    def step() -> None:
        anchor, positive, negative = triplets.encode(torch.arange(BATCH))
        torch.relu(0.2 + (anchor * negative).sum(1) - (anchor * positive).sum(1)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    seconds = _mean_seconds(step, setting) * EPOCHS * TRIPLETS / BATCH
    bar = None if setting.tiny else LORA_MINUTES
    name = f"LoRA on Qodo's shape, {TRIPLETS} triplets x {EPOCHS} epochs"
    return [Figure(name, seconds / 60, "min", at_most=bar, beside=setting.beside), *_peak(setting)]


def embedding(setting: Setting) -> list[Figure]:
    """Texts a second on the shapes of Qodo and of Jina v3."""
    return [figure for shape in ("qodo", "jina_v3") for figure in _embedding_of(shape, setting)]


def _embedding_of(shape: str, setting: Setting) -> list[Figure]:
    encoder = _encoder(shape, setting)
    batch = 4 if setting.tiny else 64
    texts = _texts(batch, _tokens(setting), setting, 0)
    seconds = _mean_seconds(lambda: encoder.embed(texts, "passage"), setting)
    name = f"texts of {_tokens(setting)} tokens on {shape}'s shape"
    return [Figure(name, batch / seconds, "/s", beside=setting.beside), *_peak(setting)]


def decoding(setting: Setting) -> list[Figure]:
    """Tokens a second, one at a time behind a prompt of 512, on the shapes of two generators."""
    return [figure for name, shape in GENERATORS.items() for figure in _decoding_of(name, shape, setting)]


def _decoding_of(name: str, shape: dict[str, Any], setting: Setting) -> list[Figure]:
    decoder = _decoder(shape, setting)
    cache = decoder.new_cache()
    decoder.forward([at % 500 for at in range(32 if setting.tiny else 512)], cache)
    seconds = _mean_seconds(lambda: decoder.forward([7], cache), setting)
    return [Figure(f"tokens on {name}'s shape", 1 / seconds, "/s", beside=setting.beside), *_peak(setting)]


def head(setting: Setting) -> list[Figure]:
    """Seconds for 10 million vectors, a block at a time: v -> normalise(W v)."""
    count, block, width = (2000, 500, 64) if setting.tiny else (HEAD_VECTORS, HEAD_BLOCK, WIDTH)
    vectors = torch.randn(block, width, device=setting.device, dtype=setting.dtype)
    matrix = torch.randn(width, width, device=setting.device, dtype=setting.dtype)
    seconds = _mean_seconds(lambda: torch.nn.functional.normalize(vectors @ matrix.T, dim=1), setting)
    name = f"a head on {count:,} vectors of {width}"
    return [Figure(name, seconds * count / block, "s", beside=setting.beside), *_peak(setting)]


def _mean_seconds(call: Callable[[], object], setting: Setting) -> float:
    """The mean of the calls after a first one, until the time of a measure is over."""
    if setting.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    call()
    _synchronize(setting)
    began, count = time.perf_counter(), 0
    while count < 3 or time.perf_counter() - began < setting.seconds:
        call()
        _synchronize(setting)
        count += 1
    return (time.perf_counter() - began) / count


def _synchronize(setting: Setting) -> None:
    if setting.device == "cuda":
        torch.cuda.synchronize()


def _peak(setting: Setting) -> list[Figure]:
    """The peak of the device's memory since the measure began; nothing of a processor."""
    if setting.device != "cuda":
        return []
    peak = torch.cuda.max_memory_allocated() / 1e9
    torch.cuda.empty_cache()
    return [Figure("  its peak of memory on the device", peak, "GB", at_most=MEMORY_GB)]


def _encoder(shape: str, setting: Setting) -> TransformersEncoder:
    """An encoder of random weights in the shape of a catalogue row."""
    row: ModelSpec = load_catalogue()[shape]
    if setting.tiny:
        row = replace(row, hidden=96, inner=128, vocabulary=1000, dimensions=96)
    module = _module(row, 2 if setting.tiny else row.layers) if not setting.tiny else _tiny_module(row)
    return TransformersEncoder(module.to(setting.device, setting.dtype), row, row.dimensions, frozenset())


def _tiny_module(row: ModelSpec) -> Any:
    size = {"vocab_size": row.vocabulary, "hidden_size": row.hidden, "intermediate_size": row.inner}
    common = {**size, "num_hidden_layers": 2, "use_cache": False}
    if row.architecture == "qwen2":
        config = transformers.Qwen2Config(**common, num_attention_heads=4, num_key_value_heads=2)
        return transformers.Qwen2Model(config)
    return transformers.JinaEmbeddingsV3Model(transformers.JinaEmbeddingsV3Config(**common, num_attention_heads=4))


def _decoder(shape: dict[str, Any], setting: Setting) -> Decoder:
    """The own decoder on random weights that are made on the device."""
    options = dict(shape)
    kind = options.pop("kind")
    options |= TINY_GENERATOR[kind] if setting.tiny else {}
    config = getattr(transformers, f"{kind}Config")(**options)
    with torch.device("meta"):
        module = getattr(transformers, f"{kind}ForCausalLM")(config)
    tensors = {name: _random(tensor, setting) for name, tensor in module.state_dict().items()}
    return build_decoder(tensors, config.to_dict(), setting.dtype).to(setting.device)


def _random(like: Tensor, setting: Setting) -> Tensor:
    return torch.randn(like.shape, device=setting.device, dtype=setting.dtype).mul_(0.02)


def _tokens(setting: Setting) -> int:
    return 16 if setting.tiny else TOKENS


def _texts(count: int, tokens: int, setting: Setting, seed: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    highest = 900 if setting.tiny else 30_000
    found: list[list[int]] = torch.randint(100, highest, (count, tokens), generator=generator).tolist()
    return found


if __name__ == "__main__":
    main()
