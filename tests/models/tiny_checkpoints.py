"""Small random checkpoints of the true architectures, and tokenizers for them."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
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


def generator(folder: Path, family: str, seed: int = 0, special: tuple[str, ...] = SPECIAL, **changes: Any) -> Path:
    """A checkpoint of a decoder family with a byte tokenizer; weights large enough to be decided."""
    size = byte_tokenizer(folder, special)
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


QWEN_SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
    *("<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
)

_GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_generator(folder: Path, name: str = "tiny-coder.gguf", **changes: Any) -> Path:
    """A Qwen2 checkpoint in a folder, and the same weights in float32 as the GGUF file in `folder/gguf`."""
    import gguf

    generator(folder, "qwen2", special=QWEN_SPECIAL, **changes)
    config = json.loads((folder / "config.json").read_text())
    (folder / "gguf").mkdir()
    writer = gguf.GGUFWriter(folder / "gguf" / name, "qwen2")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_vocabulary(writer, folder)
    for tensor, values in load_file(folder / "model.safetensors").items():
        writer.add_tensor(_gguf_name(tensor), values.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "gguf" / name


def _add_vocabulary(writer: Any, folder: Path) -> None:
    source = json.loads((folder / "tokenizer.json").read_text())
    tokens = sorted(source["model"]["vocab"], key=source["model"]["vocab"].get)
    special = {row["content"] for row in source["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in source["model"]["merges"]])
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)


def _gguf_name(tensor: str) -> str:
    stem, _, kind = tensor.rpartition(".")
    layer = ""
    if stem.startswith("model.layers."):
        number, stem = stem.removeprefix("model.layers.").split(".", 1)
        layer = f"blk.{number}."
    return f"{layer}{_GGUF_NAMES[stem]}.{kind}"
