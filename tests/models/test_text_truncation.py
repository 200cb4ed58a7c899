"""Where texts are cut that are longer than a model reads."""

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_checkpoints

from codekin.models.catalogue import load_catalogue
from codekin.models.embedding.local import MIN_KEPT_SHARE, load_bundled, truncate_text
from codekin.models.embedding.pretrained import load_pretrained
from codekin.models.embedding.service import EmbeddingService
from codekin.models.linear import PLAIN_KERNEL

ELIXIR = "".join(f"  def f{number}(x) do\n    y = g(x)\n    y + {number}\n  end\n\n" for number in range(200))
CPP = "".join(f"int f{number}(int x) {{\n\tint y = g(x);\n\treturn y + {number};\n}}\n" for number in range(200))
PYTHON = "".join(f"def f{number}(x):\n    y = g(x)\n\n    return y + {number}\n\n\n" for number in range(200))


def count_words_before(text, places):
    return [len(text[:place].split()) for place in places]


@pytest.mark.parametrize("text", [ELIXIR, CPP, PYTHON, CPP.replace("\n", "\r\n")], ids=["ex", "cpp", "py", "crlf"])
@pytest.mark.parametrize("limit", [150, 256, 997])
def test_long_text_is_truncated_after_a_whole_chunk(text, limit):
    """A long text is cut after a whole chunk."""
    kept = truncate_text(text, limit, count_words_before)
    assert MIN_KEPT_SHARE * limit <= len(kept.split()) <= limit
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
    """A long line is cut after a whole word."""
    found = truncate_text(text, 6, count_words_before)
    assert found == kept


def test_hostile_text_is_cut_in_no_time():
    """Blanks, brackets and one endless word are cut in bounded time."""
    began = time.process_time()
    for part in (" ", "\n", " \n", "\t", "(", "x", "x\n", "}\n", "\0"):
        assert len(truncate_text(part * 100_000, 512, count_words_before)) <= 512 * 40
    assert time.process_time() - began < 20


@pytest.mark.parametrize("family", ["bert", "qwen2"])
def test_every_embedder_truncates_equally_and_reports_it(tmp_path: Path, family: str) -> None:
    """Every embedder truncates at the same kind of boundary and counts the truncated texts."""
    if family == "bert":
        embedder = load_bundled(kernel=PLAIN_KERNEL)
    else:
        tiny_checkpoints.embedder(tmp_path, "qwen2")
        row = replace(load_catalogue()["qodo"], dimensions=32, end_id=0, context=256)
        embedder = load_pretrained(row, tmp_path, dtype="float32")
    tokens = embedder.tokenize([ELIXIR, "short", CPP], "passage")
    assert tokens.truncated == (0, 2)
    for at, text, end in ((0, ELIXIR, "\n\n"), (2, CPP, "}\n")):
        assert MIN_KEPT_SHARE * embedder.longest - 2 <= len(tokens.ids[at]) <= embedder.longest
        ends = [match.end() for match in re.finditer(re.escape(end), text)][:60]
        assert tokens.ids[at] in embedder.tokenize([text[:place] for place in ends], "passage").ids
    service = EmbeddingService(lambda: embedder)
    assert service.submit(["short", CPP, "x", ELIXIR]).result().truncated == (1, 3)
    assert service.state().truncated == 2
    service.close()
