"""The real models, where their weights were pulled: `pytest -m weights`; skipped, with the reason, elsewhere."""

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from codekin.models.catalogue import ModelSpec, load_catalogue
from codekin.models.embedding.adapters import pad_sequences
from codekin.models.embedding.pretrained import build_tokenizer, load_adapters, load_module, load_pretrained
from codekin.models.fetching import locate_model
from codekin.models.generation.gguf import GGUFGenerator
from codekin.models.loading import LoadOptions, load_generator
from codekin.models.vocabulary import ModelVocabulary
from codekin.protocols import GeneratedText, Sampling

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


def pulled(key: str) -> tuple[ModelSpec, Path]:
    model = load_catalogue()[key]
    folder = locate_model(model)
    if folder is None:
        pytest.skip(f"{key} is not on this machine: `codekin models pull {key}` brings it")
    return model, folder


def test_jinas_hidden_states_are_the_published_ones() -> None:
    """The hidden states of each adapter equal the published ones."""
    model, folder = pulled("jina_v3")
    module = load_module(model, folder, torch.float32).eval()
    plain = replace(model, prompts={})
    ids = build_tokenizer(plain, ModelVocabulary(folder / "tokenizer.json"), 64)([SENTENCE], "passage").ids
    tokens, mask = pad_sequences(ids, 1)
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
    """The attention of the catalogue's row ranks better than the other kind."""
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
    """Each real generator fills a gap with the right expression."""
    pulled(key)
    generator = load_generator(key, LoadOptions())
    ids = generator.infill("def add(first, second):\n    return ", "\n\nprint(add(1, 2))\n")
    found = generator.generate(ids, Sampling(max_tokens=12))
    assert found.text.strip().splitlines()[0] == "first + second"


@pytest.fixture(scope="module")
def qwen() -> GGUFGenerator:
    """The GGUF file of Qwen2.5-Coder that CODEKIN_TEST_GGUF names, with one thread."""
    path = os.environ.get("CODEKIN_TEST_GGUF", "")
    if not path:
        pytest.skip("CODEKIN_TEST_GGUF names no GGUF file of Qwen2.5-Coder")
    pytest.importorskip("xllamacpp")
    generator = load_generator(path, LoadOptions(threads=1))
    assert isinstance(generator, GGUFGenerator)
    return generator


def written(generator: GGUFGenerator, ids: list[int], **sampling: object) -> GeneratedText:
    *_, last = generator.steps(ids, Sampling(**sampling))  # type: ignore[arg-type]
    assert isinstance(last, GeneratedText)
    return last


def test_qwens_vocabulary_is_the_published_one(qwen: GGUFGenerator, qwen_tokenizer: Path) -> None:
    """Texts have the ids of the published tokenizer, and the marks their published ids."""
    published = ModelVocabulary(qwen_tokenizer / "tokenizer.json")
    texts = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))[:6]]
    for text in [*texts, "defp über(x), do: x |> IO.inspect()  # 12345\n\t\t☺ it's I'M"]:
        assert qwen.vocabulary.encode(text) == published.encode(text)
    assert qwen.model.infill == "qwen2"
    assert [qwen.infill("", "")[at] for at in range(3)] == [151659, 151661, 151660]


def test_qwen_fills_a_gap(qwen: GGUFGenerator, capsys: pytest.CaptureFixture[str]) -> None:
    """The line that the text around it asks for comes, and the prompt is not read twice."""
    ids = qwen.infill("def add(first, second):\n    return first", "\n\nprint(add(1, 2))\n")
    began, busy = time.monotonic(), time.process_time()
    found = written(qwen, ids, max_tokens=12, stop=("\n",), logprobs=5)
    with capsys.disabled():
        print(  # noqa: T201 - the figures are what this test is run for
            f"\n{qwen.name}: {len(ids)} + {len(found.tokens)} tokens in {time.monotonic() - began:.1f} s, "
            f"{time.process_time() - busy:.1f} s of the processor"
        )
    assert found.text.strip() == "+ second"
    assert all(choice.logprob <= 0 for choice in found.choices)
    assert written(qwen, ids, max_tokens=2).reused >= len(ids) - 1


def test_qwen_follows_instructions(qwen: GGUFGenerator) -> None:
    """The file's own format for instructions leads to an answer."""
    found = written(
        qwen, qwen.prompt("Which number follows 41? Answer with the number alone.", chat=True), max_tokens=8
    )
    assert "42" in found.text
