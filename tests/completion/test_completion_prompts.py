"""What a generator reads: each family's own format, within its bounds, and the same beginning from key to key."""

import sys
from itertools import pairwise
from pathlib import Path

import pytest

from codekin.completion.context import CursorPosition
from codekin.completion.prompt import CUT_STEP, SimilarSnippetCache, Snippet, cut_prefix, make_prompt, partial_word
from codekin.models.catalogue import ModelSpec
from codekin.models.generation.prompts import TokenGenerator
from codekin.models.vocabulary import ModelVocabulary

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

import tiny_checkpoints

STARCODER = (*tiny_checkpoints.SPECIAL, "<reponame>", "<filename>")
SNIPPETS = [Snippet("lib/user.ex", "def fetch(user) do", 0.9), Snippet("lib/order.ex", "def fetch(order) do", 0.8)]
LONG = "".join(f"  line_{number} = call(argument_{number})\n" for number in range(400))


class Reader(TokenGenerator):
    """The part of a generator that makes prompts, without weights."""

    context = 8192
    steps = None

    def __init__(self, model, folder):
        self.name, self.model, self.vocabulary = model.key, model, ModelVocabulary(folder / "tokenizer.json")

    def read(self, ids):
        names = {number: name for name, number in self.vocabulary.special.items()}
        return "".join(names.get(one) or self.vocabulary.decode([one]) for one in ids)


@pytest.fixture
def reader(tmp_path):
    def make(infill="", special=tiny_checkpoints.SPECIAL, **more):
        tiny_checkpoints.byte_tokenizer(tmp_path, special)
        return Reader(ModelSpec(key="m", role="generator", architecture="llama", infill=infill, **more), tmp_path)

    return make


def cursor_in(source: str) -> CursorPosition:
    prefix, _, suffix = source.partition("│")
    return CursorPosition("lib/ticket.ex", "elixir", prefix, suffix)


CURSOR = "def fetch(ticket) do\n  Map.ge│\nend\n"


def test_starcoder_reads_snippets_as_files_of_the_repository(reader):
    """StarCoder gets snippets as files of a repository."""
    starcoder = reader("starcoder", STARCODER)
    prompt = make_prompt(starcoder, cursor_in(CURSOR), SNIPPETS, repository="shop")
    assert starcoder.read(prompt.ids) == (
        "<reponame>shop<filename>lib/order.ex\ndef fetch(order) do\n"
        "<filename>lib/user.ex\ndef fetch(user) do\n"
        "<fim_prefix><fim_suffix>\nend\n<fim_middle><filename>lib/ticket.ex\ndef fetch(ticket) do\n  Map."
    )
    assert prompt.begins == "ge"


def test_codellama_reads_the_suffix_first_and_snippets_as_comments(reader):
    """Typing changes only the end of the prompt."""
    codellama = reader("codellama", tiny_checkpoints.LLAMA_SPECIAL, begin_id=1)
    prompt = make_prompt(codellama, cursor_in(CURSOR), SNIPPETS[:1])
    text = codellama.read(prompt.ids)
    assert text.startswith("<s>▁<PRE>▁<SUF>\nend\n▁<MID># Compare this snippet from lib/user.ex:\n")
    assert text.endswith("def fetch(ticket) do\n  Map.")


def test_a_model_that_cannot_infill_reads_what_is_below_first(reader):
    """A model that cannot infill reads the code below the cursor first."""
    plain = reader()
    prompt = make_prompt(plain, cursor_in(CURSOR), SNIPPETS[:1])
    assert plain.read(prompt.ids).endswith("# def fetch(user) do\nend\n\ndef fetch(ticket) do\n  Map.")


@pytest.mark.parametrize("infill", ["", "starcoder", "codellama"])
def test_a_prompt_keeps_within_its_bounds(reader, infill):
    """A long file is cut to the prompt's bounds."""
    special = {"starcoder": STARCODER, "codellama": tiny_checkpoints.LLAMA_SPECIAL}.get(infill, STARCODER)
    ids = make_prompt(reader(infill, special), cursor_in(LONG + "  x = │\n" + LONG), SNIPPETS, most=600).ids
    assert 300 < len(ids) <= 600


@pytest.mark.parametrize("infill", ["", "starcoder", "codellama"])
def test_typing_changes_the_end_of_a_prompt_alone(reader, infill):
    """Typing extends the prompt at its end."""
    special = {"starcoder": STARCODER, "codellama": tiny_checkpoints.LLAMA_SPECIAL}.get(infill, STARCODER)
    model = reader(infill, special)
    typed = "total = sum(values)"
    prompts = [
        make_prompt(model, cursor_in(f"{LONG}  {typed[:count]}│\n{LONG}"), SNIPPETS, most=600).ids
        for count in range(len(typed))
    ]
    changed = sum(later[: len(earlier)] != earlier for earlier, later in pairwise(prompts))
    assert changed <= 1


def test_a_long_text_is_cut_in_steps_at_line_borders():
    """The cut moves in steps, at line borders."""
    cuts = {len(LONG) + more - len(cut_prefix(LONG + "x" * more, 4000)) for more in range(CUT_STEP)}
    assert len(cuts) <= 2
    assert cut_prefix(LONG, 4000) in LONG
    assert LONG[: -len(cut_prefix(LONG, 4000))].endswith("\n")


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("x = fo", " fo"), ("x = ", " "), ("f(", ""), ("\n    ", " "), ("\n\t", ""), ("", ""), ("größ", "größ")],
)
def test_what_a_tokenizer_joins_is_left_to_the_answer(prefix, expected):
    """A prompt that ends within a word makes an unlikely token."""
    assert partial_word(prefix) == expected


def test_snippets_are_found_once_while_the_cursor_stays_near():
    """Snippets are cached for nearby positions, and found anew elsewhere."""
    requests = []

    def find(cursor):
        requests.append(cursor.prefix.count("\n"))
        return [Snippet("lib/user.ex", "def other(x) do\n  x\nend", 0.9), Snippet("lib/ticket.ex", "own", 0.9)]

    cache = SimilarSnippetCache()
    for lines in (0, 3, 9, 30):
        snippets = cache.get_or_find(cursor_in("\n" * lines + "│"), find)
        assert [one.path for one in snippets] == ["lib/user.ex"]
    assert requests == [0, 30]
    assert cache.paths(cursor_in("\n" * 31 + "│")) == {"lib/user.ex"}


def test_snippets_that_surround_the_cursor_are_left_out():
    """Snippets that surround the cursor are left out."""
    here = "def other(x) do\n  x\nend\n"
    snippets = SimilarSnippetCache().get_or_find(cursor_in(f"{here}│"), lambda _: [Snippet("lib/user.ex", here, 0.9)])
    assert snippets == ()


def test_qwen_fills_a_gap_that_begins_with_the_line(reader):
    """What is typed of the line stands behind the last mark, so that typing only adds to the prompt."""
    qwen = reader("qwen2", tiny_checkpoints.QWEN_SPECIAL)
    prompt = make_prompt(qwen, cursor_in("def f(a):\n  return a + │\n\nx = 1\n"))
    marked = "<|fim_prefix|>def f(a):\n<|fim_suffix|>\n\nx = 1\n<|fim_middle|>  return a +"
    assert (qwen.read(prompt.ids), prompt.begins) == (marked, " ")
    before, after = (
        make_prompt(qwen, cursor_in(f"{LONG}  call({typed}│\n{LONG}"), SNIPPETS, most=600).ids
        for typed in ("one, ", "one, two, ")
    )
    assert after[: len(before)] == before
    assert len(after) <= 600
