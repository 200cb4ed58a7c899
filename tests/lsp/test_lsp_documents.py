"""Documents stay equal to the client's text through any edits, in every position encoding."""

import random

import pytest

from codekin.lsp.documents import (
    Documents,
    DocumentSnapshot,
    Encoding,
    choose_encoding,
    split_lines,
    to_client_units,
    to_code_points,
)

ALPHABET = ["a", "b", " ", "é", "汉", "🙂", "👩‍💻", "\f", "\v", "\x1c", "\x85", "\u2028", "\u2029", "\n", "\r\n", "\r"]
CODECS = {Encoding.UTF8: ("utf-8", 1), Encoding.UTF16: ("utf-16-le", 2), Encoding.UTF32: ("utf-32-le", 4)}


def reference_offset(text: str, line: int, character: int, encoding: Encoding) -> int:
    """The slow, plain reading of the protocol: walk the text character by character."""
    codec, width = CODECS[encoding]
    at = 0
    while line and at < len(text):
        if text[at] == "\r":
            at += 2 if text[at : at + 2] == "\r\n" else 1
            line -= 1
        else:
            line -= text[at] == "\n"
            at += 1
    if line:
        return len(text)
    while at < len(text) and text[at] not in "\r\n":
        character -= len(text[at].encode(codec)) // width
        if character < 0:
            break
        at += 1
    return at


def position(line: int, character: int) -> dict[str, int]:
    return {"line": line, "character": character}


def random_text(source: random.Random, longest: int) -> str:
    return "".join(source.choices(ALPHABET, k=source.randrange(longest)))


def random_change(source: random.Random) -> dict:
    if source.random() < 0.03:
        return {"text": random_text(source, 30)}
    start = (source.randrange(9), source.randrange(14))
    end = (start[0] + source.randrange(3), source.randrange(14))
    start, end = min(start, end), max(start, end)
    return {"range": {"start": position(*start), "end": position(*end)}, "text": random_text(source, 6)}


def apply_reference(text: str, change: dict, encoding: Encoding) -> str:
    if "range" not in change:
        return change["text"]
    start, end = (reference_offset(text, encoding=encoding, **change["range"][at]) for at in ("start", "end"))
    return text[:start] + change["text"] + text[end:]


@pytest.mark.parametrize("encoding", list(Encoding))
def test_fuzzed_sessions_do_not_drift(encoding):
    """After any series of edits the server's text equals the client's."""
    for seed in range(1200):
        source = random.Random(seed)
        text = random_text(source, 60)
        documents = Documents(encoding)
        documents.open("file:///a", "elixir", 0, text)
        for version in range(1, 9):
            changes = [random_change(source) for _ in range(source.randrange(1, 4))]
            for change in changes:
                text = apply_reference(text, change, encoding)
            snapshot = documents.change("file:///a", version, changes)
            assert text == "".join(snapshot.lines)
            assert split_lines(text) == list(snapshot.lines)


@pytest.mark.parametrize("encoding", list(Encoding))
def test_offsets_and_positions_agree_with_the_reference(encoding):
    """Offsets and positions agree with the reference for every encoding."""
    source = random.Random(7)
    for _ in range(300):
        text = random_text(source, 40)
        snapshot = DocumentSnapshot("u", "cpp", 0, split_lines(text), encoding)
        where = position(source.randrange(8), source.randrange(12))
        offset = reference_offset(text, encoding=encoding, **where)
        assert offset == snapshot.offset(where)
        assert offset == snapshot.offset(position(*snapshot.position(offset)))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("a", ["a"]),
        ("a\n", ["a\n", ""]),
        ("a\rb\r\nc\nd", ["a\r", "b\r\n", "c\n", "d"]),
        ("\r\r\n\n", ["\r", "\r\n", "\n", ""]),
        ("a\fb\vc\u2028d\x85e", ["a\fb\vc\u2028d\x85e"]),
    ],
)
def test_only_the_protocols_breaks_end_a_line(text, lines):
    """Only the protocol's line breaks end a line."""
    assert lines == split_lines(text)


def test_a_position_inside_a_character_is_its_start():
    """A column inside a surrogate pair is moved to the emoji's start."""
    assert [to_code_points("a🙂b", column, Encoding.UTF16) for column in range(5)] == [0, 1, 1, 2, 3]
    assert [to_code_points("a🙂b", column, Encoding.UTF8) for column in range(8)] == [0, 1, 1, 1, 1, 2, 3, 3]
    assert [to_client_units("a🙂b", count, Encoding.UTF16) for count in range(4)] == [0, 1, 3, 4]


def test_a_character_that_arrives_in_two_halves_is_joined():
    """JavaScript clients can insert the two surrogates of an emoji one after the other."""
    documents = Documents()
    documents.open("u", "elixir", 1, "ab")
    here = {"start": position(0, 1), "end": position(0, 1)}
    documents.change("u", 2, [{"range": here, "text": "\ud83d"}])
    assert documents.get("u").text == "a\ufffdb"
    after = {"start": position(0, 2), "end": position(0, 2)}
    documents.change("u", 3, [{"range": after, "text": "\ude42"}])
    assert documents.get("u").text == "a🙂b"


def test_stale_versions_are_left_out():
    """An edit for an older version is ignored."""
    documents = Documents()
    documents.open("u", "elixir", 5, "abc")
    start = {"start": position(0, 0), "end": position(0, 0)}
    assert documents.change("u", 4, [{"range": start, "text": "x"}]) is None
    assert documents.change("u", 7, [{"range": start, "text": "y"}]).text == "yabc"
    assert documents.change("u", 6, [{"range": start, "text": "z"}]) is None
    assert documents.get("u").text == "yabc"


def test_change_without_open_needs_the_whole_text():
    """A range edit of an unknown document is ignored; a full text opens it."""
    documents = Documents()
    span = {"start": position(0, 0), "end": position(3, 0)}
    assert documents.change("u", 1, [{"range": span, "text": "x"}]) is None
    assert documents.get("u") is None
    assert documents.change("u", 1, [{"range": span, "text": "x"}, {"text": "whole"}]).text == "whole"


def test_a_change_that_cannot_be_read_leaves_the_document_whole():
    """A batch with a wrong edit changes nothing."""
    documents = Documents()
    documents.open("u", "elixir", 1, "abc")
    good = {"range": {"start": position(0, 0), "end": position(0, 0)}, "text": "x"}
    with pytest.raises((KeyError, TypeError, ValueError)):
        documents.change("u", 2, [good, {"range": {"start": {}}, "text": "y"}])
    assert documents.get("u").text == "abc"


def test_positions_beyond_everything_are_clamped():
    """Clients send 2**31 - 1 and more for "to the end"."""
    documents = Documents()
    documents.open("u", "elixir", 1, "ab\ncd\n")
    far = 2**40
    span = {"start": position(0, far), "end": position(far, far)}
    assert documents.change("u", 2, [{"range": span, "text": "!"}]).text == "ab!"
    span = {"start": position(-3, -1), "end": position(0, 1)}
    assert documents.change("u", 3, [{"range": span, "text": ""}]).text == "b!"


def test_edits_leave_untouched_lines_alone():
    """After two hundred edits of a text of 20,000 lines, all other lines are the same objects."""
    documents = Documents()
    before = documents.open("u", "elixir", 1, "".join(f"value = {at}\n" for at in range(20_000)))
    spans = [{"start": position(at, 0), "end": position(at, 5)} for at in range(0, 2000, 10)]
    after = documents.change("u", 2, [{"range": span, "text": "x"} for span in spans])
    same = [one is other for one, other in zip(before.lines, after.lines, strict=True)]
    assert same.count(False) == 200


def test_a_line_of_a_megabyte_is_edited_in_place():
    """A minified line is one line, whatever it holds."""
    documents = Documents()
    documents.open("u", "cpp", 1, "汉🙂" * 250_000)
    span = {"start": position(0, 300_000), "end": position(0, 300_003)}
    text = documents.change("u", 2, [{"range": span, "text": "<>"}]).text
    assert text == "汉🙂" * 100_000 + "<>" + "汉🙂" * 149_999


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (None, "utf-16"),
        ([], "utf-16"),
        (["utf-8", "utf-16"], "utf-8"),
        (["ebcdic", "utf-32"], "utf-32"),
        (["x"], "utf-16"),
    ],
)
def test_the_clients_first_known_encoding_is_taken(offered, chosen):
    """The wrong unit shifts every column after the first emoji."""
    assert chosen == choose_encoding(offered)


def test_whole_texts_and_edits_under_an_unchanged_version_are_taken():
    """Some clients never count up: messages arrive in order, so each of them counts."""
    documents = Documents()
    documents.open("u", "elixir", 1, "abc")
    assert documents.change("u", 1, [{"text": "new"}]).text == "new"
    start = {"start": position(0, 0), "end": position(0, 0)}
    assert documents.change("u", 1, [{"range": start, "text": "x"}]).text == "xnew"
    assert documents.change("u", 0, [{"text": "whole"}]).text == "whole"
    assert documents.change("u", None, [{"range": start, "text": "y"}]).text == "ywhole"
