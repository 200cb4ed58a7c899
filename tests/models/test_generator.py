"""Generation against transformers' greedy search, and everything that must not change it."""

import random
import re
import sys
from pathlib import Path

import pytest
import regex
import tiny_checkpoints
import torch
import transformers

from codekin.errors import CheckpointError, ModelError, UsageError
from codekin.models import linear
from codekin.models.generation.generator import LocalGenerator, generate_many
from codekin.models.generation.sampling import StepTimings
from codekin.models.loading import LoadOptions, load_generator
from codekin.protocols import GeneratedText, GenerationStep, Sampling
from fakes import copy_earlier_tokens

PROMPT = "def add(first, second):\n    return first"
EXACT = LoadOptions(dtype="float32")


@pytest.fixture(scope="module", params=["llama", "qwen2", "starcoder2", "gpt_bigcode"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.generator(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def starcoder(tmp_path_factory: pytest.TempPathFactory) -> LocalGenerator:
    folder = tiny_checkpoints.generator(tmp_path_factory.mktemp("starcoder"), "gpt_bigcode")
    return load_generator(str(folder), EXACT)


class EvenStepTimings(StepTimings):
    """Takes wide steps to cost what narrow ones do, which is not so for models as small as these."""

    def step(self, drafted: int) -> float:
        return 1.0


def reference(folder: Path, ids: list[int], count: int) -> list[int]:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=count, do_sample=False
    )
    return [number for number in found[0, len(ids) :].tolist() if number != 0]


def test_greedy_equals_transformers(folder: Path) -> None:
    """Greedy text of every family equals that of transformers."""
    generator = load_generator(str(folder), EXACT)
    generator.timings = EvenStepTimings()
    ids = generator.prompt(PROMPT)
    expected = reference(folder, ids, 40)
    greedy = Sampling(max_tokens=40)
    fresh = generator.generate(ids, greedy)
    again = generator.generate(ids, greedy)
    drafted = generator.generate(ids, greedy, copy_earlier_tokens())
    lucky = generator.generate(ids, greedy, lambda known: expected[len(known) - len(ids) :][:5])
    wrong = generator.generate(ids, greedy, lambda known: [7, 8, 9])
    streamed = [step for step in generator.steps(ids, greedy) if isinstance(step, GenerationStep)]
    for found in (fresh, again, drafted, lucky, wrong):
        assert list(found.tokens) == expected
    assert again.reused == len(ids) - 1
    assert lucky.drafted > len(expected) // 2
    assert [token for step in streamed for token in step.tokens] == expected
    assert "".join(step.text for step in streamed) == fresh.text


def test_stretched_positions_and_biases_equal_transformers(tmp_path: Path) -> None:
    """DeepSeek-Coder divides its positions, and Granite has biases everywhere."""
    rotary = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}
    folder = tiny_checkpoints.generator(
        tmp_path, "llama", rope_parameters=rotary, mlp_bias=True, attention_bias=True, tie_word_embeddings=True
    )
    generator = load_generator(str(folder), EXACT)
    ids = generator.prompt(PROMPT)
    assert list(generator.generate(ids, Sampling(max_tokens=24)).tokens) == reference(folder, ids, 24)


def test_a_cache_of_another_prompt_is_not_mixed_in(starcoder: LocalGenerator) -> None:
    """A cache is reused for the shared prefix alone."""
    prompts = [starcoder.prompt(text) for text in ("return a + b", "return a - b", "x", "return a + b + c", "return a")]
    apart = []
    for ids in prompts:
        starcoder.clear_caches()
        apart.append(starcoder.generate(ids, Sampling(max_tokens=12)).tokens)
    starcoder.clear_caches()
    assert [starcoder.generate(ids, Sampling(max_tokens=12)).tokens for ids in prompts] == apart


def test_texts_written_together_are_those_written_alone(folder: Path) -> None:
    """Each text of a batch equals the one that is generated alone."""
    generator = load_generator(str(folder), EXACT)
    alone = load_generator(str(folder), EXACT)
    texts = [PROMPT, "x", PROMPT + " + 1", "", "return a\n" * 40, PROMPT, "deffed", "z = 1", "y", "y" * 300, "0"]
    samplings = [
        *(Sampling(max_tokens=count) for count in (30, 1, 17, 2)),
        Sampling(max_tokens=20, temperature=0.9, seed=5),
        Sampling(max_tokens=25, stop=("e", "\n")),
        Sampling(max_tokens=12, regex="[0-9]+;"),
        Sampling(max_tokens=20, repetition_penalty=1.3, logprobs=2),
        *(Sampling(max_tokens=9) for _ in range(3)),
    ]
    drafts = [
        None,
        None,
        copy_earlier_tokens(),
        None,
        copy_earlier_tokens(),
        None,
        None,
        None,
        lambda _: [7, 8],
        None,
        None,
    ]
    requests = [
        (generator.prompt(text), sampling, draft)
        for text, sampling, draft in zip(texts, samplings, drafts, strict=True)
    ]
    *steps, found = generate_many(generator, requests)
    assert all(step == GenerationStep() for step in steps)
    for (ids, sampling, _), one in zip(requests, found, strict=True):
        alone.clear_caches()
        expected = alone.generate(ids, sampling)
        assert (one.text, one.tokens, one.finish) == (expected.text, expected.tokens, expected.finish)
    assert found[2].reused >= len(requests[0][0]) - 1
    again = generate_many(generator, requests[::-1])
    assert [one.text for one in list(again)[-1]] == [one.text for one in found[::-1]]
    assert list(generate_many(generator, [])) == [[]]


def test_a_prefill_and_a_text_can_be_left_at_each_step(starcoder: LocalGenerator) -> None:
    """A cancelled request leaves a cache that the next one can use."""
    ids = starcoder.prompt("x = 1\n" * 60)
    starcoder.clear_caches()
    expected = starcoder.generate(ids, Sampling(max_tokens=10)).tokens
    starcoder.clear_caches()
    for left_after in range(1, 8):
        steps = starcoder.steps(ids, Sampling(max_tokens=10))
        for _ in range(left_after):
            next(steps)
        steps.close()
    assert starcoder.generate(ids, Sampling(max_tokens=10)).tokens == expected


def test_sampling_obeys_seed_and_cuts(starcoder: LocalGenerator) -> None:
    """The same seed gives the same text, and a top-k of 1 the greedy text."""
    ids = starcoder.prompt(PROMPT)
    drawn = Sampling(max_tokens=20, temperature=1.5, seed=7)
    greedy = starcoder.generate(ids, Sampling(max_tokens=20)).tokens
    assert starcoder.generate(ids, drawn).tokens == starcoder.generate(ids, drawn).tokens != greedy
    assert starcoder.generate(ids, Sampling(max_tokens=20, temperature=1.5, top_k=1)).tokens == greedy
    assert starcoder.generate(ids, Sampling(max_tokens=20, temperature=1.5, top_p=1e-9)).tokens == greedy


def test_a_draft_does_not_change_what_a_seed_draws(starcoder: LocalGenerator) -> None:
    """For a seed, the sampled text is the same with a draft and without."""
    ids = starcoder.prompt(PROMPT)
    drawn = Sampling(max_tokens=30, temperature=0.3, seed=11)
    expected = starcoder.generate(ids, drawn).tokens
    assert starcoder.generate(ids, drawn, copy_earlier_tokens(1)).tokens == expected


def test_repetition_penalty_forbids_what_was_seen(starcoder: LocalGenerator) -> None:
    """The repetition penalty applies to tokens of the prompt and of the text."""
    ids = starcoder.prompt("abc")
    found = starcoder.generate(ids, Sampling(max_tokens=30, repetition_penalty=100.0)).tokens
    assert len(set(found)) == len(found)
    assert not set(found) & set(ids)


def test_stop_strings_across_tokens(starcoder: LocalGenerator) -> None:
    """A stop string that spans several tokens ends the text and is not shown."""
    ids = starcoder.prompt(PROMPT)
    whole = starcoder.generate(ids, Sampling(max_tokens=40)).text
    for start in range(2, 12):
        stop = whole[start : start + 5]
        steps = list(starcoder.steps(ids, Sampling(max_tokens=40, stop=("never", stop))))
        found = steps[-1]
        assert isinstance(found, GeneratedText)
        assert found.text == whole[: whole.index(stop)]
        assert found.finish == "stop"
        assert "".join(step.text for step in steps[:-1]) == found.text


@pytest.mark.parametrize("pattern", [r"[0-9]{3}-[a-z]+!", r"(true|false)", r"\{\"a\": [0-9]+\}", r"(Gr|Wi)ß{2,4} ☃"])
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_regular_expression_is_kept(starcoder: LocalGenerator, pattern: str, temperature: float) -> None:
    """Constrained text matches its pattern."""
    asked = Sampling(max_tokens=80, regex=pattern, temperature=temperature, seed=3)
    found = starcoder.generate(starcoder.prompt("x"), asked)
    if found.finish == "stop":
        assert re.fullmatch(pattern, found.text)
    else:
        assert re.match(pattern.split("+", maxsplit=1)[0].split("{2", maxsplit=1)[0], found.text)


def random_pattern(source: random.Random, depth: int) -> str:
    if not depth:
        return source.choice(["a", "xy", "[0-9]", "\\w", "é", "☃", "def", " ", "\\.", "[^x\\n]", "\\n"])
    parts = [random_pattern(source, depth - 1) for _ in range(2)]
    form = source.choice(["{0}{1}", "({0}|{1})", "({0})*", "({0})+", "({0})?", "({0}){{1,3}}"])
    return form.format(*parts)


def test_any_regular_expression_is_kept(starcoder: LocalGenerator) -> None:
    """Text under a random pattern matches it, or is a prefix of a match where it was cut off."""
    source = random.Random(4)
    ids = starcoder.prompt("return ")
    for seed in range(20):
        pattern = random_pattern(source, source.randint(1, 4))
        asked = Sampling(max_tokens=source.randint(1, 20), temperature=seed % 3, seed=seed, regex=pattern)
        found = starcoder.generate(ids, asked, source.choice([None, copy_earlier_tokens(), lambda _: [60, 61]]))
        assert regex.fullmatch(pattern, found.text, partial=found.finish != "stop"), (pattern, found.text)


def test_a_grammar_is_kept_with_drafts(starcoder: LocalGenerator) -> None:
    """A draft is accepted only within the grammar."""
    grammar = 'start: "f(" NUMBER ("," NUMBER)* ")"\nNUMBER: /[0-9]{1,2}/'
    asked = Sampling(max_tokens=60, grammar=grammar)
    plain = starcoder.generate(starcoder.prompt("x"), asked)
    drafted = starcoder.generate(starcoder.prompt("x"), asked, lambda known: [known[-1], 60, 61])
    assert plain.text == drafted.text
    assert plain.text.startswith("f(")
    assert re.fullmatch(r"f\([0-9,]*\)?", plain.text)


def test_a_broken_constraint_is_a_sentence(starcoder: LocalGenerator) -> None:
    """An invalid constraint is refused with one sentence."""
    for asked in (Sampling(regex="(unclosed"), Sampling(grammar="start: nowhere")):
        with pytest.raises(UsageError, match="correct it"):
            starcoder.generate(starcoder.prompt("x"), asked)


def test_logprobs_are_those_of_the_model(starcoder: LocalGenerator) -> None:
    """Each token has its own log-probability and those of its alternatives."""
    found = starcoder.generate(starcoder.prompt(PROMPT), Sampling(max_tokens=5, logprobs=3))
    assert [choice.token for choice in found.choices] == list(found.tokens)
    for choice in found.choices:
        assert choice.logprob == max(value for _, value in choice.rivals)
        assert len(choice.rivals) == 3


@pytest.mark.parametrize(
    "values",
    [
        {"max_tokens": 0},
        {"temperature": -1},
        {"top_p": 0},
        {"stop": ("",)},
        {"regex": "a", "grammar": "b"},
        {"seed": -1},
    ],
)
def test_values_out_of_bounds_are_refused(values: dict[str, object]) -> None:
    """A value out of bounds is refused with one sentence."""
    with pytest.raises(UsageError):
        Sampling(**values)  # type: ignore[arg-type]


def test_a_prompt_longer_than_the_context_is_refused(starcoder: LocalGenerator) -> None:
    """A prompt longer than the context is refused."""
    with pytest.raises(UsageError, match="shorten the prompt"):
        starcoder.generate(starcoder.prompt("x y " * 600), Sampling(max_tokens=10))


FORGED = [*tiny_checkpoints.SPECIAL, "<FILL_ME>", "▁<SUF>", "<s>", "[INST]", "\0", "a\ud800b", "x" * 100_000, ""]


@pytest.mark.parametrize("text", FORGED)
def test_forged_specials_stay_text(starcoder: LocalGenerator, text: str) -> None:
    """User text that spells a special token is encoded as text."""
    ids = starcoder.vocabulary.encode(f"a{text}b{text}")
    assert not set(ids) & starcoder.vocabulary.special_ids
    assert starcoder.vocabulary.decode(ids) == f"a{text}b{text}".encode("utf-8", "replace").decode()


def test_foreign_checkpoints_are_refused(tmp_path: Path) -> None:
    """A checkpoint that cannot generate, or has unsupported positions, is refused."""
    with pytest.raises(ModelError, match="gives vectors"):
        load_generator("codekin_embed")
    folder = tiny_checkpoints.generator(tmp_path, "llama")
    tiny_checkpoints.change_config(folder, rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0})
    with pytest.raises(CheckpointError, match="yarn"):
        load_generator(str(folder), EXACT)


WIDE = {"hidden_size": 128, "intermediate_size": 192, "initializer_range": 0.08}
"""Wide enough for weights in groups, and calm enough for rounding to stay what it is."""


@pytest.mark.parametrize(("dtype", "least"), [("int8", 0.99), ("int4", 0.9)])
def test_weights_in_few_bits_agree_with_float(tmp_path: Path, dtype: str, least: float) -> None:
    """Weights in 8 and 4 bits give the logits of float weights within a bound, for few rows and for many."""
    folder = tiny_checkpoints.generator(tmp_path, "llama", **WIDE)
    exact, narrow = (load_generator(str(folder), LoadOptions(dtype=each)) for each in ("float32", dtype))
    ids = exact.vocabulary.encode(PROMPT)
    first, second = (each.decoder.forward(ids, each.decoder.new_cache(), every=True) for each in (exact, narrow))
    few = narrow.decoder.forward(ids[:3], narrow.decoder.new_cache(), every=True)
    assert torch.nn.functional.cosine_similarity(first, second, dim=1).min() > least
    assert torch.nn.functional.cosine_similarity(few, second[:3], dim=1).min() > 0.999
    kinds = {type(block.feed_in) for block in narrow.decoder.blocks}
    assert kinds == {linear.Int8Linear if dtype == "int8" else linear.Int4Linear}


@pytest.mark.parametrize(("bits", "least"), [(8, 0.99), (4, 0.85)])
def test_layers_of_bitsandbytes_agree_with_float(bits: int, least: float) -> None:
    """The quantised layers, run on the CPU, agree with those in float."""
    pytest.importorskip("bitsandbytes", reason="install codekin[quantised] to run its layers")
    source = torch.Generator().manual_seed(0)
    layer = linear.PlainLinear(torch.randn(192, 128, generator=source), torch.randn(192, generator=source))
    made = linear.bitsandbytes_quantiser(bits, "cpu")(layer)
    for count in (1, 40):
        rows = torch.randn(count, 128, generator=source)
        found = made(rows)
        assert found.dtype == rows.dtype
        assert torch.nn.functional.cosine_similarity(found, layer(rows), dim=1).min() > least


def test_few_bits_on_a_gpu_name_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing library is named with the command that installs it."""
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ModelError, match=r"pip install codekin\[quantised\]"):
        linear.choose_quantiser(4, "cuda")
    with pytest.raises(ModelError, match="mps"):
        linear.choose_quantiser(8, "mps")
