"""The real models, where their weights were pulled: `pytest -m weights`; skipped, with the reason, elsewhere."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from codekin.models import load_generator
from codekin.models.catalogue import Model, catalogue
from codekin.models.fetching import locate
from codekin.models.loading import Options
from codekin.models.pretrained import load_adapters, load_module, load_pretrained, padded, tokenizer_of
from codekin.models.sampling import Sampling
from codekin.models.vocabulary import Vocabulary

pytestmark = [pytest.mark.weights, pytest.mark.slow, pytest.mark.timeout(3600)]

SENTENCE = "Jina Embeddings V3 is great for semantic search."
GOLDEN = {
    "": [-3.1011, 0.8560, -0.2491, 0.9427],
    "retrieval_query": [-1.9765, 0.7356, -0.4414, 0.5823],
    "retrieval_passage": [-1.7028, 0.5688, -0.8541, 0.4696],
    "separation": [-3.0336, 1.4392, 0.2875, 0.7660],
    "classification": [-2.7150, 0.2485, 1.2297, 0.6988],
    "text_matching": [-1.5888, 1.0527, 0.1237, -0.0822],
}
"""Second token, columns 1 to 4 of the hidden states, from transformers' JinaEmbeddingsV3ModelIntegrationTest."""

PAIRS = [
    ("reverse a list", "def reverse([h | t], acc), do: reverse(t, [h | acc])", "def sum([h | t]), do: h + sum(t)"),
    ("add up numbers", "def sum([h | t]), do: h + sum(t)", "def reverse([h | t], acc), do: reverse(t, [h | acc])"),
    ("read a file line by line", "File.stream!(path) |> Enum.each(&IO.puts/1)", "Enum.sort(list, &(&1 >= &2))"),
    ("sort in descending order", "std::sort(v.begin(), v.end(), std::greater<>());", "std::ifstream in(path);"),
    ("open a socket", "int fd = socket(AF_INET, SOCK_STREAM, 0);", "return std::max(a, b);"),
    ("the larger of two", "return a > b ? a : b;", "int fd = socket(AF_INET, SOCK_STREAM, 0);"),
]


def pulled(key: str) -> tuple[Model, Path]:
    model = catalogue()[key]
    folder = locate(model)
    if folder is None:
        pytest.skip(f"{key} is not on this machine: `codekin models pull {key}` brings it")
    return model, folder


def test_jinas_hidden_states_are_the_published_ones() -> None:
    """Another class, tokenizer or adapter than the model was made with."""
    model, folder = pulled("jina_v3")
    module = load_module(model, folder, torch.float32).eval()
    plain = replace(model, prompts={})
    ids = tokenizer_of(plain, Vocabulary(folder / "tokenizer.json"), 64)([SENTENCE], "passage").ids
    tokens, mask = padded(ids, 1)
    assert tokens.shape == (1, 17)
    for number, (adapter, expected) in enumerate(GOLDEN.items()):
        if number == 1:
            load_adapters(module, model, folder)
        if adapter:
            module.set_adapter(adapter)  # type: ignore[operator]
        with torch.no_grad():
            found = module(input_ids=tokens, attention_mask=mask).last_hidden_state[0, 1, 1:5]
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)


def test_qodo_ranks_better_with_the_attention_of_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    """Bidirectional attention, if that is what the weights were trained with, would rank better."""
    model, folder = pulled("qodo")
    margins = {}
    for causal in (True, False):
        embedder = load_pretrained(replace(model, causal=causal), folder)
        queries, right, wrong = (embedder.embed([pair[at] for pair in PAIRS]) for at in range(3))
        margins[causal] = float(((queries * right).sum(1) - (queries * wrong).sum(1)).mean())
    with capsys.disabled():
        print(  # noqa: T201 - the figures are what this test is run for
            f"\nqodo: mean margin causal {margins[True]:.4f}, bidirectional {margins[False]:.4f}"
        )
    assert margins[model.causal] == max(margins.values())
    assert margins[model.causal] > 0


@pytest.mark.parametrize("key", ["codellama_7b", "codellama_7b_base", "starcoder_1b"])
def test_a_gap_is_filled(key: str) -> None:
    """A prompt in a format that the model was not trained on."""
    pulled(key)
    generator = load_generator(key, Options())
    ids = generator.infill("def add(first, second):\n    return ", "\n\nprint(add(1, 2))\n")
    found = generator.generate(ids, Sampling(max_tokens=12))
    assert found.text.strip().splitlines()[0] == "first + second"
