"""Small random checkpoints of the true architectures, and tokenizers for them."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

SPECIAL = ("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>")
LLAMA_SPECIAL = ("<unk>", "<s>", "</s>", "▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>")

TINY = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}


def byte_tokenizer(folder: Path, special: tuple[str, ...] = SPECIAL) -> int:
    """A byte-level tokenizer.json whose first ids are the special ones; gives its size."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate((*special, *alphabet))}
    merges = [("d", "e"), ("de", "f"), ("r", "e"), ("t", "u"), ("re", "tu"), ("r", "n"), ("retu", "rn"), ("Ġ", "Ġ")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(special))
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return len(vocabulary)


def generator(folder: Path, family: str, seed: int = 0, **changes: Any) -> Path:
    """A checkpoint of a decoder family with a byte tokenizer; weights large enough to be decided."""
    size = byte_tokenizer(folder)
    torch.manual_seed(seed)
    common = {"vocab_size": size, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "initializer_range": 0.3}
    if family == "gpt_bigcode":
        config = transformers.GPTBigCodeConfig(
            n_layer=2, n_embd=32, n_head=4, n_inner=48, n_positions=512, **common, **changes
        )
        model: Any = transformers.GPTBigCodeForCausalLM(config)
    else:
        kinds = {"llama": "Llama", "qwen2": "Qwen2", "starcoder2": "Starcoder2"}
        options = {**TINY, "num_key_value_heads": 2, "max_position_embeddings": 512, **common, **changes}
        config = getattr(transformers, f"{kinds[family]}Config")(**options)
        model = getattr(transformers, f"{kinds[family]}ForCausalLM")(config)
    _scatter_biases(model)
    model.save_pretrained(folder)
    return folder


def embedder(folder: Path, family: str, seed: int = 0, **changes: Any) -> Path:
    """A checkpoint of an encoder family with a byte tokenizer."""
    size = byte_tokenizer(folder)
    torch.manual_seed(seed)
    options = {**TINY, "vocab_size": size, "max_position_embeddings": 256, "initializer_range": 0.3, **changes}
    kinds = {"qwen2": "Qwen2", "jina_embeddings_v3": "JinaEmbeddingsV3", "bert": "Bert", "xlm-roberta": "XLMRoberta"}
    if family == "qwen2":
        options["num_key_value_heads"] = 2
    config = getattr(transformers, f"{kinds[family]}Config")(**options)
    model = getattr(transformers, f"{kinds[family]}Model")(config)
    _scatter_biases(model)
    model.save_pretrained(folder)
    return folder


def change_config(folder: Path, **changes: Any) -> None:
    """Overwrite keys of a checkpoint's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _scatter_biases(model: torch.nn.Module) -> None:
    """Biases and norms start at zero and one, where a swapped pair would go unnoticed."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
