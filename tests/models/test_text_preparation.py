"""What the bundled encoder reads of a text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codekin.models.embedding.local import MAX_CHARACTERS, split_code_words


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
    """Names are split into words; operators are kept."""
    assert expected == split_code_words(text)


@given(st.text())
def test_takes_any_text(text):
    """Any text is accepted."""
    prepared = split_code_words(text)

    assert prepared == " ".join(prepared.split(" "))
    assert prepared == split_code_words(text)


def test_cuts_what_the_encoder_would_not_read():
    """Text beyond what the encoder reads is cut off."""
    assert split_code_words("word " * MAX_CHARACTERS) == split_code_words("word " * (MAX_CHARACTERS // 5))


def test_is_linear_in_hostile_text():
    """Long runs of capitals, marks or digits take linear time."""
    began = time.process_time()
    for text in (
        "A" * MAX_CHARACTERS,
        "=" * MAX_CHARACTERS,
        "1." * MAX_CHARACTERS,
        "aA" * MAX_CHARACTERS,
        "_" * MAX_CHARACTERS,
    ):
        split_code_words(text)

    assert time.process_time() - began < 5
