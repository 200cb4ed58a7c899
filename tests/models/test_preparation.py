"""What the bundled encoder reads of a text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codekin.models.preparation import LONGEST, prepare


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("parse_http_header", "parse http header"),
        ("parseHTTPHeader", "parse HTTP Header"),
        ("MyApp.Server.handle_call/3", "My App Server handle call / 3"),
        ("items |> Enum.map(&(&1 + 1))", "items |> Enum map & & 1 + 1"),
        ("a =:= b andalso X rem 2 =/= 0.", "a = = b andalso X rem 2 =/= 0"),
        ("x != y && !done || i <= n;", "x != y && ! done || i <= n"),
        ("std::vector<int> xs{1, 2};", "std vector < int > xs 1 2"),
        ("valid?(x) and fetch!(y)", "valid x and fetch y"),
        ("naïve_größe 中文", "naïve größe 中文"),
        ("3.25 + x24", "3.25 + x 24"),
        ("", ""),
    ],
)
def test_splits_names_and_keeps_operators(text, expected):
    """Names would reach the encoder whole, or operators would be lost."""
    assert expected == prepare(text)


@given(st.text())
def test_takes_any_text(text):
    """Some text would stop the indexer."""
    prepared = prepare(text)

    assert prepared == " ".join(prepared.split(" "))
    assert prepared == prepare(text)


def test_cuts_what_the_encoder_would_not_read():
    """A file of megabytes on one line would cost seconds."""
    assert prepare("word " * LONGEST) == prepare("word " * (LONGEST // 5))


def test_is_linear_in_hostile_text():
    """A long run of capitals, marks or digits would backtrack for minutes."""
    began = time.process_time()
    for text in ("A" * LONGEST, "=" * LONGEST, "1." * LONGEST, "aA" * LONGEST, "_" * LONGEST):
        prepare(text)

    assert time.process_time() - began < 5
