"""What a generator reads: each family's own format, within its bounds, and the same beginning from key to key."""

import sys
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import pytest

from codekin.completion.gap import Gap
from codekin.completion.kinship import Kinship
from codekin.completion.prompt import CUT_STEP, begun, prompt_for, window
from codekin.completion.snippets import Snippet
from codekin.models.catalogue import Model
from codekin.models.infill import infill_ids, prompt_ids
from codekin.models.vocabulary import Vocabulary

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

import tiny_checkpoints

STARCODER = (*tiny_checkpoints.SPECIAL, "<reponame>", "<filename>")
KIN = [Snippet("lib/user.ex", "def fetch(user) do", 0.9), Snippet("lib/order.ex", "def fetch(order) do", 0.8)]
LONG = "".join(f"  line_{number} = call(argument_{number})\n" for number in range(400))


@dataclass(frozen=True)
class Reader:
    """The part of a generator that makes prompts, without weights."""

    model: Model
    folder: Path

    @cached_property
    def vocabulary(self):
        return Vocabulary(self.folder / "tokenizer.json")

    def infill(self, *texts, **how):
        return infill_ids(self.vocabulary, self.model, *texts, **how)

    def prompt(self, text):
        return prompt_ids(self.vocabulary, self.model, text)

    def read(self, ids):
        names = {number: name for name, number in self.vocabulary.special.items()}
        return "".join(names.get(one) or self.vocabulary.decode([one]) for one in ids)


@pytest.fixture
def reader(tmp_path):
    def make(infill="", special=tiny_checkpoints.SPECIAL, **more):
        tiny_checkpoints.byte_tokenizer(tmp_path, special)
        return Reader(Model(key="m", role="generator", architecture="llama", infill=infill, **more), tmp_path)

    return make


def gap_in(source: str) -> Gap:
    prefix, _, suffix = source.partition("│")
    return Gap("lib/ticket.ex", "elixir", prefix, suffix)


GAP = "def fetch(ticket) do\n  Map.ge│\nend\n"


def test_starcoder_reads_kin_as_files_of_the_repository(reader):
    """StarCoder would take kin for comments, though it was taught what a repository looks like."""
    starcoder = reader("starcoder", STARCODER)
    prompt = prompt_for(starcoder, gap_in(GAP), KIN, repository="shop")
    assert starcoder.read(prompt.ids) == (
        "<reponame>shop<filename>lib/order.ex\ndef fetch(order) do\n"
        "<filename>lib/user.ex\ndef fetch(user) do\n"
        "<fim_prefix><fim_suffix>\nend\n<fim_middle><filename>lib/ticket.ex\ndef fetch(ticket) do\n  Map."
    )
    assert prompt.begins == "ge"


def test_codellama_reads_the_suffix_first_and_kin_as_comments(reader):
    """Each key would change the middle of the prompt, and all behind it would be read again."""
    codellama = reader("codellama", tiny_checkpoints.LLAMA_SPECIAL, begin_id=1)
    prompt = prompt_for(codellama, gap_in(GAP), KIN[:1])
    text = codellama.read(prompt.ids)
    assert text.startswith("<s>▁<PRE>▁<SUF>\nend\n▁<MID># Compare this snippet from lib/user.ex:\n")
    assert text.endswith("def fetch(ticket) do\n  Map.")


def test_a_model_that_cannot_infill_reads_what_stands_below_first(reader):
    """The names that are used below the cursor would be unknown to it."""
    plain = reader()
    prompt = prompt_for(plain, gap_in(GAP), KIN[:1])
    assert plain.read(prompt.ids).endswith("# def fetch(user) do\nend\n\ndef fetch(ticket) do\n  Map.")


@pytest.mark.parametrize("infill", ["", "starcoder", "codellama"])
def test_a_prompt_keeps_within_its_bounds(reader, infill):
    """A long file would be refused, or take all the time there is."""
    special = {"starcoder": STARCODER, "codellama": tiny_checkpoints.LLAMA_SPECIAL}.get(infill, STARCODER)
    ids = prompt_for(reader(infill, special), gap_in(LONG + "  x = │\n" + LONG), KIN, most=600).ids
    assert 300 < len(ids) <= 600


@pytest.mark.parametrize("infill", ["", "starcoder", "codellama"])
def test_typing_changes_the_end_of_a_prompt_alone(reader, infill):
    """What was read at the last key would be read again."""
    special = {"starcoder": STARCODER, "codellama": tiny_checkpoints.LLAMA_SPECIAL}.get(infill, STARCODER)
    model = reader(infill, special)
    typed = "total = sum(values)"
    prompts = [
        prompt_for(model, gap_in(f"{LONG}  {typed[:count]}│\n{LONG}"), KIN, most=600).ids for count in range(len(typed))
    ]
    changed = sum(later[: len(earlier)] != earlier for earlier, later in pairwise(prompts))
    assert changed <= 1


def test_a_long_text_is_cut_in_steps_at_line_borders():
    """Each letter would move the cut."""
    cuts = {len(LONG) + more - len(window(LONG + "x" * more, 4000)) for more in range(CUT_STEP)}
    assert len(cuts) <= 2
    assert window(LONG, 4000) in LONG
    assert LONG[: -len(window(LONG, 4000))].endswith("\n")


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("x = fo", " fo"), ("x = ", " "), ("f(", ""), ("\n    ", " "), ("\n\t", ""), ("", ""), ("größ", "größ")],
)
def test_what_a_tokenizer_joins_is_left_to_the_answer(prefix, expected):
    """A prompt that ends within a word makes an unlikely token."""
    assert begun(prefix) == expected


def test_kin_are_found_once_while_the_cursor_stays_near():
    """The vector of the same lines would be computed at each key, or old kin would be shown far away."""
    asked = []

    def find(gap):
        asked.append(gap.prefix.count("\n"))
        return [Snippet("lib/user.ex", "def other(x) do\n  x\nend", 0.9), Snippet("lib/ticket.ex", "own", 0.9)]

    kinship = Kinship()
    for lines in (0, 3, 9, 30):
        kin = kinship.renewed(gap_in("\n" * lines + "│"), find)
        assert [one.path for one in kin] == ["lib/user.ex"]
    assert asked == [0, 30]
    assert kinship.paths(gap_in("\n" * 31 + "│")) == {"lib/user.ex"}


def test_kin_that_stand_around_the_cursor_already_are_left_out():
    """A generator would repeat them."""
    here = "def other(x) do\n  x\nend\n"
    kin = Kinship().renewed(gap_in(f"{here}│"), lambda _: [Snippet("lib/user.ex", here, 0.9)])
    assert kin == ()
