"""Where texts are cut that are longer than a model reads."""

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_checkpoints

from codekin.models.catalogue import catalogue
from codekin.models.cutting import LEAST_KEPT, cut_text
from codekin.models.embedders import load_bundled
from codekin.models.kernels import PLAIN
from codekin.models.pretrained import load_pretrained
from codekin.models.service import EmbeddingService

ELIXIR = "".join(f"  def f{number}(x) do\n    y = g(x)\n    y + {number}\n  end\n\n" for number in range(200))
CPP = "".join(f"int f{number}(int x) {{\n\tint y = g(x);\n\treturn y + {number};\n}}\n" for number in range(200))
PYTHON = "".join(f"def f{number}(x):\n    y = g(x)\n\n    return y + {number}\n\n\n" for number in range(200))


def words_before(text, places):
    return [len(text[:place].split()) for place in places]


@pytest.mark.parametrize("text", [ELIXIR, CPP, PYTHON, CPP.replace("\n", "\r\n")], ids=["ex", "cpp", "py", "crlf"])
@pytest.mark.parametrize("room", [150, 256, 997])
def test_a_text_is_cut_behind_a_whole_fragment(text, room):
    """Half a function at the end of a text would stand for the whole of it."""
    kept = cut_text(text, room, words_before)
    assert LEAST_KEPT * room <= len(kept.split()) <= room
    assert text.startswith(kept)
    assert text[len(kept) :].lstrip().startswith(("def f", "int f"))
    assert kept.rstrip().endswith(("end", "}", *"0123456789"))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("alpha beta gamma delta " * 50, "alpha beta gamma delta alpha beta "),
        ("\n\nalpha " + "beta " * 50, "\n\nalpha " + "beta " * 5),
        ("x" * 500, "x" * 240),
        ("if a\n  b c d e\n  g h\n  i", "if a\n  b c d e\n"),
    ],
)
def test_lines_that_are_too_long_are_cut_behind_a_word(text, kept):
    """A minified file would be read up to half a name, or not at all."""
    found = cut_text(text, 6, words_before)
    assert found == kept


def test_hostile_text_is_cut_in_no_time():
    """A text of blanks, brackets or one endless word would keep the indexer busy."""
    began = time.process_time()
    for part in (" ", "\n", " \n", "\t", "(", "x", "x\n", "}\n", "\0"):
        assert len(cut_text(part * 100_000, 512, words_before)) <= 512 * 40
    assert time.process_time() - began < 20


@pytest.mark.parametrize("family", ["bert", "qwen2"])
def test_every_embedder_cuts_alike_and_tells(tmp_path: Path, family: str) -> None:
    """A long text that is cut silently, in the middle of a word, or differently from model to model."""
    if family == "bert":
        embedder = load_bundled(kernel=PLAIN)
    else:
        tiny_checkpoints.embedder(tmp_path, "qwen2")
        row = replace(catalogue()["qodo"], dimensions=32, end_id=0, context=256)
        embedder = load_pretrained(row, tmp_path, dtype="float32")
    tokens = embedder.tokenize([ELIXIR, "short", CPP], "passage")
    assert tokens.cut == (0, 2)
    for at, text, end in ((0, ELIXIR, "\n\n"), (2, CPP, "}\n")):
        assert LEAST_KEPT * embedder.longest - 2 <= len(tokens.ids[at]) <= embedder.longest
        ends = [match.end() for match in re.finditer(re.escape(end), text)][:60]
        assert tokens.ids[at] in embedder.tokenize([text[:place] for place in ends], "passage").ids
    service = EmbeddingService(lambda: embedder)
    assert service.submit(["short", CPP, "x", ELIXIR]).result().cut == (1, 3)
    assert service.state().cut == 2
    service.close()
