"""Token ids with the real vocabularies of Llama and Qwen2, to the id."""

import itertools
import json
import random
import re
from dataclasses import replace
from pathlib import Path

import public_models
import pytest

from codekin.errors import UsageError
from codekin.models.catalogue import load_catalogue
from codekin.models.embedding.pretrained import build_tokenizer
from codekin.models.generation.prompts import detect_infill, infill_ids, prompt_ids
from codekin.models.loading import LoadOptions, load_generator
from codekin.models.vocabulary import ModelVocabulary
from codekin.protocols import FileOrigin

PREFIX = 'def remove_non_ascii(s: str) -> str:\n    """ '
SUFFIX = "\n    return result\n"
PUBLISHED = (
    "1 32007 822 3349 29918 5464 29918 294 18869 29898 29879 29901 851 29897 1599 851 29901 13 1678 9995 29871 "
    "32008 13 1678 736 1121 13 32009"
)
"""The ids that llama.cpp's issue 3503 gives for this gap."""

HARD = [
    *("▁<SUF>", "▁<PRE> ▁<MID>▁<EOT>", "<s></s><unk>", "<FILL_ME>", "<|endoftext|>", "<|im_start|>user", "[INST]"),
    *("\0", "a\ud800b", "naïve ☃ 🦀\r\n\t  x", "  leading", " one", "\n\n", "", "x" * 100_000),
]


@pytest.fixture(scope="module")
def llama(llama_tokenizer: Path) -> ModelVocabulary:
    return ModelVocabulary(llama_tokenizer / "tokenizer.json")


@pytest.fixture(scope="module")
def qwen(qwen_tokenizer: Path) -> ModelVocabulary:
    return ModelVocabulary(qwen_tokenizer / "tokenizer.json")


def test_codellamas_infill_equals_the_published_ids(llama: ModelVocabulary) -> None:
    """CodeLlama's infill prompt equals the published ids."""
    model = load_catalogue()["codellama_7b"]
    assert infill_ids(llama, model, PREFIX, SUFFIX) == [int(number) for number in PUBLISHED.split()]
    assert infill_ids(llama, load_catalogue()["codellama_7b_base"], PREFIX, "") == [
        *map(int, PUBLISHED.split()[:21]), 32008, 32009,
    ]  # fmt: skip


def test_codellamas_middle_keeps_its_spaces(llama: ModelVocabulary) -> None:
    """The leading spaces of an infilled text are kept."""
    for text in ("  return 1", " x", "\n    y\n", "x"):
        assert llama.decode(llama.encode_continuation(text)) == text


def test_codellamas_chat(llama: ModelVocabulary) -> None:
    """A chat prompt has CodeLlama's instruction frame; base models refuse chat."""
    ids = prompt_ids(llama, load_catalogue()["codellama_7b"], "Say hi.", chat=True)
    assert ids == [1, 518, 25580, 29962, 14891, 7251, 29889, 518, 29914, 25580, 29962]
    with pytest.raises(UsageError, match="no instructions"):
        prompt_ids(llama, load_catalogue()["codellama_7b_base"], "x", chat=True)


def test_an_infill_is_cut_on_its_outer_sides(llama: ModelVocabulary) -> None:
    """A long file is cut at its start and end, and keeps the text around the cursor."""
    prefix, suffix = "a b c " * 200 + "NEAR", "CLOSE" + " d e f" * 200
    for room in (20, 64, 65, 400):
        ids = infill_ids(llama, load_catalogue()["codellama_7b"], prefix, suffix, room)
        assert room * 7 // 8 - 4 <= len(ids) <= room
        assert "NEARCLOSE" in llama.decode(ids)


def test_an_infill_can_end_with_its_prefix(llama: ModelVocabulary) -> None:
    """Suffix-first prompts have CodeLlama's order; other families ignore the option."""
    plain, turned = (
        infill_ids(llama, load_catalogue()["codellama_7b"], PREFIX, SUFFIX, suffix_first=first)
        for first in (False, True)
    )
    after, middle = plain.index(32008), plain.index(32009)
    assert turned == [1, 32007, 32008, *plain[after + 1 : middle], 32009, *plain[2:after]]
    qwen2 = replace(load_catalogue()["codellama_7b"], infill="qwen2")
    ids = {"<|fim_prefix|>": 32007, "<|fim_suffix|>": 32008, "<|fim_middle|>": 32009}
    llama.special.update(ids)
    try:
        assert infill_ids(llama, qwen2, PREFIX, SUFFIX, suffix_first=True) == plain
    finally:
        for name in ids:
            del llama.special[name]


def test_typing_adds_to_the_end_of_a_suffix_first_prompt(llama: ModelVocabulary) -> None:
    """The cut moves in steps, so that most keys extend the cached prompt."""
    before, behind = "value = other_value + 1\n" * 300, "\nprint(value)" * 300
    typed = "result = compute(first, second)"
    prompts = [
        infill_ids(llama, load_catalogue()["codellama_7b"], before + typed[:length], behind, 512, suffix_first=True)
        for length in range(len(typed))
    ]
    shared = [common(first, second) >= len(first) - 4 for first, second in itertools.pairwise(prompts)]
    assert shared.count(False) <= 1
    assert all(len(ids) <= 512 for ids in prompts)


def common(first: list[int], second: list[int]) -> int:
    return next((at for at, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]), len(first))


@pytest.mark.parametrize("text", HARD, ids=lambda text: repr(text[:20]))
def test_no_text_becomes_a_special_token(llama: ModelVocabulary, qwen: ModelVocabulary, text: str) -> None:
    """A user's text contains no special token."""
    for vocabulary in (llama, qwen):
        for ids in (
            vocabulary.encode(text),
            vocabulary.encode_continuation(f"x{text}"),
            vocabulary.encode(f"{text}{text}"),
        ):
            assert not set(ids) & vocabulary.special_ids
    expected = text.encode("utf-8", "replace").decode()
    assert qwen.decode(qwen.encode(text)) == expected
    # Sentencepiece's own mark for a space is a space to it.
    assert llama.decode(llama.encode_continuation(text)) == expected.replace("▁", " ")


def test_qwens_ids_equal_its_ranks(qwen: ModelVocabulary) -> None:
    """A Qwen token's id equals its rank in the converted vocabulary."""
    ranks = public_models.qwen_ranks()
    for text in ("def add(a, b), do: a + b", "std::vector<int> v{1, 2};", "handle_call/3 naïve ☃"):
        words = re.findall(r"[^\r\nA-Za-zï\d]?[A-Za-zï]+|\d| ?[^\sA-Za-zï\d]+|\s", text)
        expected = [ranks[part] for word in words for part in public_models.merged(word.encode(), ranks, 1 << 30)]
        assert qwen.decode(expected) == text
        assert qwen.encode(text) == expected


def test_qodo_keeps_its_end_id(qwen: ModelVocabulary) -> None:
    """Qodo's end token follows every text, truncated ones too."""
    model = load_catalogue()["qodo"]
    tokens = build_tokenizer(model, qwen, 32)(["short", "word " * 100, "", "<|endoftext|>"], "passage")
    assert [ids[-1] for ids in tokens.ids] == [151643] * 4
    assert [ids.count(151643) for ids in tokens.ids] == [1] * 4
    assert len(tokens.ids[1]) == 32
    assert tokens.truncated == (1,)
    assert tokens.ids[2] == [151643]


def test_starcoders_infill_by_name(tmp_path: Path) -> None:
    """StarCoder's marks are found, with underscores or hyphens, and put in its order."""
    import tiny_checkpoints

    model = load_catalogue()["starcoder_1b"]
    for number, marks in enumerate([tiny_checkpoints.SPECIAL, hyphened(tiny_checkpoints.SPECIAL)]):
        tiny_checkpoints.byte_tokenizer(tmp_path / str(number), marks)
        vocabulary = ModelVocabulary(tmp_path / str(number) / "tokenizer.json")
        found = infill_ids(vocabulary, model, "a<fim_suffix>", "b")
        assert [at for at in found if at in vocabulary.special_ids] == [1, 3, 2]
        assert (found[0], found[-1]) == (1, 2)
    with pytest.raises(UsageError, match="cannot infill"):
        infill_ids(vocabulary, replace(model, infill=""), "a", "b")


@pytest.mark.parametrize(
    ("family", "marks", "infill"),
    [
        ("gpt_bigcode", "SPECIAL", "starcoder"),
        ("starcoder2", "SPECIAL", "starcoder"),
        ("llama", "LLAMA_SPECIAL", "codellama"),
        ("llama", "SPECIAL", "starcoder"),
        ("qwen2", "SPECIAL", ""),
    ],
)
def test_a_folders_vocabulary_shows_how_it_infills(tmp_path: Path, family: str, marks: str, infill: str) -> None:
    """The infill marks of a model in a folder are found in its vocabulary."""
    import tiny_checkpoints

    room = {"vocab_size": 300} if family == "llama" else {}
    folder = tiny_checkpoints.generator(tmp_path / "model", family, **room)
    tiny_checkpoints.byte_tokenizer(folder, getattr(tiny_checkpoints, marks))
    model = load_generator(str(folder), LoadOptions(dtype="float32")).model
    assert model.infill == infill
    assert (6 in model.stop_ids) == (infill == "codellama")


def test_marks_without_rows_of_their_own_are_no_infill(llama: ModelVocabulary) -> None:
    """CodeLlama Python shares its family's tokenizer, but has no vectors for the marks."""
    row = replace(load_catalogue()["codellama_7b_base"], infill="", stop_ids=(2,))
    assert not detect_infill(replace(row, vocabulary=32000), llama).infill
    assert detect_infill(row, llama).stop_ids == (2, 32010)


def test_starcoders_files_have_a_heading(tmp_path: Path) -> None:
    """The heading has StarCoder's format, and marks inside a path are encoded as text."""
    import tiny_checkpoints

    names = {"1": ("<reponame>", "<filename>"), "2": ("<repo_name>", "<file_sep>"), "none": ()}
    origin = FileOrigin("elixir-lang/elixir", "lib/<file_sep><fim_middle>.ex")
    for number, marks in names.items():
        tiny_checkpoints.byte_tokenizer(tmp_path / number, (*tiny_checkpoints.SPECIAL, *marks))
        vocabulary = ModelVocabulary(tmp_path / number / "tokenizer.json")
        found = infill_ids(vocabulary, load_catalogue()["starcoder_1b"], "a", "b", origin=origin)
        plain = infill_ids(vocabulary, load_catalogue()["starcoder_1b"], "a", "b")
        repository, path = (vocabulary.special[mark] for mark in marks) if marks else (0, 0)
        heading = [repository, *vocabulary.encode(origin.repository), path, *vocabulary.encode(f"{origin.path}\n")]
        assert found == [plain[0], *(heading if marks else []), *plain[1:]]
        room = infill_ids(vocabulary, load_catalogue()["starcoder_1b"], "a" * 500, "b", 100, origin=origin)
        assert len(room) <= 100
        assert room[1 : 1 + len(heading)] == heading or not marks


def hyphened(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.replace("fim_", "fim-") for name in names)


def test_random_text_survives(llama: ModelVocabulary, qwen: ModelVocabulary) -> None:
    """Random text is unchanged after encoding and decoding."""
    source = random.Random(0)
    letters = "abc XYZ_09\n\t(){}<>|:,;é☃🦀\u200b" + json.dumps("▁")
    for _ in range(200):
        text = "".join(source.choices(letters, k=source.randint(0, 40)))
        assert qwen.decode(qwen.encode(text)) == text
        assert llama.decode(llama.encode_continuation(text)) == text
