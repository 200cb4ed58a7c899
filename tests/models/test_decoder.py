"""The decoder's forward pass against transformers' classes."""

import json
from pathlib import Path

import pytest
import tiny_checkpoints
import torch
import transformers
from safetensors.torch import load_file

from codekin.models.generation.architectures import build_decoder

FAMILIES = ("llama", "qwen2", "starcoder2", "gpt_bigcode")


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_equal_transformers(tmp_path: Path, family: str) -> None:
    """The logits of every architecture equal those of transformers."""
    folder = tiny_checkpoints.generator(tmp_path, family)
    decoder = build_decoder(
        load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text()), torch.float32
    )
    reference = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.randint(5, 200, (40,), generator=torch.Generator().manual_seed(1)).tolist()
    with torch.no_grad():
        expected = reference(torch.tensor([ids])).logits[0]
    cache = decoder.new_cache()
    parts = [decoder.forward(ids[:17], cache, every=True), decoder.forward(ids[17:38], cache, every=True)]
    parts += [decoder.forward([number], cache) for number in ids[38:]]
    torch.testing.assert_close(torch.cat(parts), expected, rtol=1e-4, atol=1e-4)
