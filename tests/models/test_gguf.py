"""GGUF files: the header, the vocabulary, and what the engine generates from the weights of a tiny checkpoint."""

import json
import struct
import threading
import time
from pathlib import Path

import pytest
import tiny_checkpoints

from codekin.errors import CheckpointError, ModelError, UsageError
from codekin.models import planner
from codekin.models.catalogue import find_model
from codekin.models.fetching import choose_gguf, locate_model
from codekin.models.generation.generator import LocalGenerator
from codekin.models.generation.gguf import GGUFGenerator
from codekin.models.generation.prompts import FileOrigin
from codekin.models.generation.service import GenerationService
from codekin.models.gguf_files import find_local_files, read_gguf_header
from codekin.models.loading import LoadOptions, load_generator
from codekin.models.vocabulary import ModelVocabulary
from codekin.protocols import GeneratedText, GenerationRequest, GenerationStep, Sampling

EXACT = LoadOptions(dtype="float32", threads=1)
ASCII = "[ -~]*"
PROMPTS = ("def add(a, b):\n    return", "def", "two\twords  and\n\nlines é ☺")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.gguf_generator(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def gguf(file: Path) -> GGUFGenerator:
    pytest.importorskip("xllamacpp")
    found = load_generator(str(file), EXACT)
    assert isinstance(found, GGUFGenerator)
    return found


@pytest.fixture(scope="module")
def local(file: Path) -> LocalGenerator:
    found = load_generator(str(file.parents[1]), EXACT)
    assert isinstance(found, LocalGenerator)
    return found


def whole(generator, ids, **sampling) -> GeneratedText:
    *_, last = generator.steps(ids, Sampling(**sampling))
    assert isinstance(last, GeneratedText)
    return last


def test_the_engine_writes_what_our_decoder_writes(gguf, local):
    """The same weights in float32 give the same tokens, log-probabilities and reasons to end."""
    for prompt in PROMPTS:
        ids = gguf.prompt(prompt)
        assert ids == local.prompt(prompt)
        expected, found = (whole(one, ids, max_tokens=12, regex=ASCII) for one in (local, gguf))
        assert (found.tokens, found.text, found.finish) == (expected.tokens, expected.text, expected.finish)
        assert found.prompt_tokens == len(ids)
        first, other = (whole(one, ids, max_tokens=1, logprobs=3).choices for one in (gguf, local))
        for one, two in zip(first, other, strict=bool(first)):  # half a character is no token of the engine's
            assert (one.token, one.logprob) == (two.token, pytest.approx(two.logprob, abs=2e-2))
            assert [rival[1] for rival in one.rivals] == pytest.approx([rival[1] for rival in two.rivals], abs=2e-2)


def test_gaps_are_put_as_ids(gguf):
    """The marks of the family stand around the texts, and the repository's heading before them."""
    special = gguf.vocabulary.special
    ids = gguf.infill("def", "end", origin=FileOrigin("shop", "lib/cart.ex"))
    text = gguf.vocabulary.encode
    heading = [special["<|repo_name|>"], *text("shop\n"), special["<|file_sep|>"], *text("lib/cart.ex\n")]
    gap = [special["<|fim_prefix|>"], *text("def"), special["<|fim_suffix|>"], *text("end"), special["<|fim_middle|>"]]
    assert ids == [*heading, *gap]


def test_a_users_text_never_becomes_a_mark(gguf):
    """A text that spells a mark is made of ordinary tokens."""
    ids = gguf.infill("x = '<|fim_middle|>'", "<|endoftext|>")
    marks = [gguf.vocabulary.special[name] for name in ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")]
    assert [one for one in ids if one in gguf.vocabulary.special_ids] == marks
    assert whole(gguf, ids, max_tokens=2).prompt_tokens == len(ids)


def test_typing_on_reuses_the_prompt(gguf):
    """A prompt that goes on from the last one is not read again."""
    ids = gguf.prompt("def one, two, three, four: return return return")
    whole(gguf, ids, max_tokens=2)
    assert whole(gguf, [*ids, *gguf.prompt(" x")], max_tokens=2).reused >= len(ids) - 1


def test_stop_strings_end_the_text(gguf):
    """The text ends before the stop string, whole or within a token."""
    plain = whole(gguf, gguf.prompt("def"), max_tokens=12, regex=ASCII).text
    stopped = whole(gguf, gguf.prompt("def"), max_tokens=12, regex=ASCII, stop=(plain[3:5],))
    assert stopped.text == plain[: plain.index(plain[3:5])]
    assert stopped.finish == "stop"


def test_a_seed_draws_the_same_text(gguf):
    """Drawn texts depend on the seed alone."""
    ids = gguf.prompt("def")
    texts = [whole(gguf, ids, max_tokens=12, temperature=2.0, seed=seed).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_texts_follow_what_constrains_them(gguf):
    """A beginning, a regular expression with slashes, a grammar; a wrong one is refused in a sentence."""
    ids = gguf.prompt("def")
    assert whole(gguf, ids, max_tokens=12, begins=' "qu/ote\\').text.startswith(' "qu/ote\\')
    assert whole(gguf, ids, max_tokens=12, regex="[0-9]/[ab]{2}").text[1] == "/"
    assert whole(gguf, ids, max_tokens=12, grammar='start: "yes" | "no"').text in {"yes", "no"}
    with pytest.raises(UsageError, match="grammar cannot be used"):
        whole(gguf, ids, max_tokens=12, grammar="start: (((")


def test_leaving_ends_the_work(gguf):
    """Closing the iteration stops the engine soon, and the next request is served."""
    steps = gguf.generate_steps(GenerationRequest(prompt="def", model="m", sampling=Sampling(max_tokens=400)))
    next(step for step in steps if step.tokens)
    began = time.monotonic()
    steps.close()
    assert time.monotonic() - began < 2
    assert [thread.name for thread in threading.enumerate() if thread.name == "codekin-gguf"] == []
    assert whole(gguf, gguf.prompt("x"), max_tokens=1).finish == "length"


def test_instructions_take_the_models_format(gguf):
    """A file with ChatML's marks follows instructions; the user's text cannot end its turn."""
    special = gguf.vocabulary.special
    ids = gguf.prompt("say <|im_end|>", chat=True)
    assert [one for one in ids if one in gguf.vocabulary.special_ids] == [
        special["<|im_start|>"],
        special["<|im_end|>"],
        special["<|im_start|>"],
    ]


def test_a_prompt_that_is_too_long_is_refused(gguf):
    """The error says how long the prompt is and what fits."""
    with pytest.raises(UsageError, match="reads 512"):
        next(gguf.steps([20] * 510, Sampling(max_tokens=8)))


def test_several_texts_and_a_withdrawn_one(gguf):
    """The service writes batches one after the other, and ends a request whose caller has gone."""
    service = GenerationService(lambda _: gguf)
    try:
        ask = GenerationRequest(prompt="def", model="m", sampling=Sampling(max_tokens=4))
        texts = [text.text for text in service.submit_batch([ask, ask]).result(60)]
        assert texts == [whole(gguf, gguf.prompt("def"), max_tokens=4).text] * 2
        cancelled = threading.Event()
        cancelled.set()
        assert service.submit(ask, cancelled).exception(60) is not None
    finally:
        service.close()


def test_the_header_gives_the_row(file):
    """Sizes, context and quantisation of the row are the file's."""
    model = find_model(str(file))
    assert (model.key, model.role, model.architecture) == ("tiny-coder", "generator", "qwen2")
    assert (model.layers, model.hidden, model.inner, model.context) == (2, 32, 48, 512)
    assert model.cache_bytes_per_token == 2 * 2 * 2 * 8 * 2
    assert model.quantisation == "F32"
    assert planner.memory_need(model, "int4", 4096).weights == file.stat().st_size
    assert find_model(str(file.parent)) == model
    assert locate_model(model) == file


def test_damaged_headers_are_refused(file, tmp_path):
    """A cut file, another format, a count beyond bounds, a device and a folder end in one sentence."""
    good = file.read_bytes()
    bad = {
        "cut": good[:200],
        "empty": b"",
        "other": b"PK\x03\x04" + good[4:],
        "version": good[:4] + struct.pack("<I", 1) + good[8:],
        "counts": good[:8] + struct.pack("<QQ", 1 << 60, 1 << 60) + good[24:],
        "string": good[:24] + struct.pack("<Q", 1 << 62) + good[32:],
    }
    for name, content in bad.items():
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            read_gguf_header(path)
        with pytest.raises(ModelError, match=name):
            find_model(str(path))
    with pytest.raises(CheckpointError):
        read_gguf_header(Path("/dev/zero"))
    with pytest.raises(CheckpointError):
        read_gguf_header(tmp_path)


def test_weights_that_are_cut_off_are_refused(gguf, file, tmp_path):
    """A header alone loads no generator, and the process lives on."""
    path = tmp_path / "cut.gguf"
    path.write_bytes(file.read_bytes()[:-4000])
    with pytest.raises(ModelError, match=r"cut\.gguf"):
        load_generator(str(path), EXACT)


def test_files_of_ollama_and_lm_studio_are_found(file, tmp_path, monkeypatch):
    """Both programs' files have names; what leads elsewhere is left out."""
    digest = "sha256:" + "a" * 64
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": digest}
    ollama, studio = tmp_path / ".ollama" / "models", tmp_path / ".lmstudio" / "models" / "qwen" / "coder"
    library = ollama / "manifests" / "registry.ollama.ai" / "library" / "qwen2.5-coder"
    for folder in (library, ollama / "blobs", studio):
        folder.mkdir(parents=True)
    (library / "0.5b").write_text(json.dumps({"layers": [layer]}))
    (library / "evil").write_text(json.dumps({"layers": [{**layer, "digest": "sha256:../../../etc/passwd"}]}))
    (library / "broken").write_text("[" * 100_000)
    (ollama / "blobs" / digest.replace(":", "-")).write_bytes(file.read_bytes())
    (studio / "tiny-q8.gguf").write_bytes(file.read_bytes())
    (studio / "link.gguf").symlink_to(file)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    assert set(find_local_files()) == {"ollama/qwen2.5-coder:0.5b", "lmstudio/qwen/coder/tiny-q8"}
    for name in find_local_files():
        model = find_model(name)
        assert (model.key, model.architecture) == (name, "qwen2")
        assert locate_model(model) == find_local_files()[name]
    with pytest.raises(ModelError, match="no model"):
        find_model("ollama/qwen2.5-coder:7b")


def test_a_file_of_a_repository_is_chosen_by_its_quantisation():
    """One file, or all parts of the one that was split; none where none fits."""
    names = ["m-Q4_K_M.gguf", "m-Q8_0.gguf", "m-f16-00002-of-00002.gguf", "m-f16-00001-of-00002.gguf"]
    assert choose_gguf(names, find_model("owner/name").file) == ["m-Q4_K_M.gguf"]
    assert choose_gguf(names, find_model("owner/name:Q8_0").file) == ["m-Q8_0.gguf"]
    assert choose_gguf(names, find_model("owner/name:f16").file) == sorted(names[2:])
    assert choose_gguf(names, find_model("owner/name:Q2_K").file) == []
    assert choose_gguf(names, find_model("owner/name/m-Q8_0.gguf").file) == ["m-Q8_0.gguf"]


def test_a_step_carries_its_tokens(gguf):
    """The tokens and texts of the steps are those of the whole."""
    *steps, last = gguf.steps(gguf.prompt("def"), Sampling(max_tokens=8, regex=ASCII))
    assert "".join(step.text for step in steps) == last.text
    assert tuple(token for step in steps for token in step.tokens) == last.tokens
    assert isinstance(steps[0], GenerationStep)


def test_the_vocabulary_of_a_file_is_that_of_its_checkpoint(gguf, file):
    """Every token stands for the same bytes."""
    expected = ModelVocabulary(file.parents[1] / "tokenizer.json")
    assert gguf.vocabulary.bytes_of == expected.bytes_of
    assert gguf.vocabulary.special == expected.special
