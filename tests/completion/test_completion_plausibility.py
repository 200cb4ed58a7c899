"""A guess is shown only where it can be right: words in prose, names in scope in code, no repeats, known arities."""

import pytest

from codekin.completion.context import CursorPosition
from codekin.completion.corpus_snapshot import build_corpus
from codekin.completion.ngrams import TokenVocabulary
from codekin.completion.plausibility import CursorPlace, has_evidence
from codekin.completion.suggestions import context_at_cursor
from codekin.completion.variants import _adapt_token

CORPUS = build_corpus(
    [
        (
            "lib/a.ex",
            "x = Enum.into(pairs, %{})\ny = Enum.into(others, [])\nz = list |> Enum.into(%{})\nfilters release\n",
        ),
        ("src/task.h", "struct Task { int urgency; std::string description; };\n"),
    ]
)
ELIXIR = "defmodule Stock do\n  def run(numbers, page) do\n    total = Enum.sum(numbers)\n    │\n  end\nend\n"
CPP = "void Task::scan (int limit) {\n  int count = 0;\n  │\n  return;\n}\n"
DOC = 'defmodule Stock do\n  @moduledoc """\n  │\n  """\nend\n'


def check(language: str, source: str, line: str, text: str, *, expected: bool) -> None:
    """Whether `text` may go on at the end of `line`, typed at the mark in a source."""
    before, after = source.split("│")
    path = "lib/stock.ex" if language == "elixir" else "src/task.cpp"
    cursor = CursorPosition(path, language, before + line, after)
    place = CursorPlace(CORPUS, cursor, context_at_cursor(cursor))
    assert place.is_plausible(text) == expected


@pytest.mark.parametrize(
    ("line", "text", "expected"),
    [
        ("// Generate list of values.", "clear();", False),
        ("// Parse the whole thing.", " php", False),
        ("// Look for exact match ", "length() ? true : false;", False),
        ("// Handle the ", "org/licenses/mit-license.php", False),
        ("// Permission is ", "hereby granted, free of charge, to any person", False),
        ("// The above ", "copyright notice and this permission notice shall be", False),
        ("// Look for exact ", "match of values", True),
        ("// Labels are ", "19.", False),
        ("int a;  // ", "*", False),
        ("// Keep the password ", "password of them", False),
        ("// Keep the pass", "word of them", True),
        ("// Finds ", "a", True),
        ("// It isn't ", "the user's task, so (for now) skip it", True),
    ],
)
def test_comments_get_words_alone(line, text, expected):
    """No code, no licence, nothing behind a finished sentence."""
    check("cpp", CPP, line, text, expected=expected)


@pytest.mark.parametrize(
    ("line", "text", "expected"),
    [
        ("Means are taken by Welf", "er, by Welford's method, cancellation.\"", False),
        ("Counts the stock.", " Items are listed", False),
        ("Counts the ", "Enum.count(items)", False),
        ("Counts the ", "items of a shelf", True),
        ("Calls ", "`Enum.count/1` on them", True),
        ("Calls ", "`Enum.count/1 on them", False),
    ],
)
def test_docs_get_words_alone(line, text, expected):
    """A heredoc is prose: code stands in closed backticks only, and a string of another kind is not closed in it."""
    check("elixir", DOC, line, text, expected=expected)


@pytest.mark.parametrize(
    ("line", "text", "expected"),
    [
        ("numbers |> ", "Enum.sort_by(sort_by)", False),
        ("Multi.delete(", ":release, release_changeset)", False),
        ("", "Integer.to_string(remaining)", False),
        ("", "Integer.to_string(total)", True),
        ("Enum.map(numbers, ", "fn number -> number * page end)", True),
        ("for number <- ", "numbers, do: number + page", True),
        ("{:ok, ", "found} = fetch(page)", True),
        ("run(", "numbers, page: page)", True),
    ],
)
def test_names_that_nothing_binds_are_not_shown(line, text, expected):
    """A bare lower-case argument is bound in the function, defined in the file, or bound by the line itself."""
    check("elixir", ELIXIR, line, text, expected=expected)


@pytest.mark.parametrize(
    ("line", "text", "expected"),
    [
        ("for (auto& i : ", "all) {", False),
        ("set (", "limit, count);", True),
        ("set (", "urgency);", True),
        ("auto copy = ", "count + limit;", True),
        ("auto wide = static_cast<", "uint64_t>(count);", True),
    ],
)
def test_names_of_the_file_and_its_header_are_in_sight(line, text, expected):
    """In C++ a member may come from the header of the same name; a name from nowhere may not."""
    check("cpp", CPP, line, text, expected=expected)


@pytest.mark.parametrize(
    ("line", "text", "expected"),
    [
        ("numbers |> ", "Enum.into()", False),
        ("numbers |> ", "Enum.into(%{})", True),
        ("", "Enum.into(numbers, %{})", True),
        ("", "Enum.into(numbers, %{}, page, total)", False),
        ("", "Enum.never_seen(numbers, page, total)", True),
        ("", "Enum.into(numbers, fn number -> number, page end)", True),
    ],
)
def test_calls_have_a_number_of_arguments_that_the_repository_uses(line, text, expected):
    """A pipe counts as an argument; a function that is called nowhere is not judged by its arguments."""
    check("elixir", ELIXIR, line, text, expected=expected)


@pytest.mark.parametrize(
    ("line", "text", "expected"),
    [
        ("total = ", "Enum.sum(numbers)", False),
        ("", "retry the request until it works", False),
        ("", "numbers.", False),
        ("", "end", True),
    ],
)
def test_repeats_and_prose_are_no_code(line, text, expected):
    """A line that stands close by, a sentence, and a line that ends in a dot."""
    check("elixir", ELIXIR, line, text, expected=expected)


def test_the_open_file_alone_is_no_evidence():
    """Nothing counts until another file was read."""
    assert not has_evidence(build_corpus(()), "lib/a.ex")
    assert not has_evidence(build_corpus([("lib/a.ex", "x")]), "lib/a.ex")
    assert has_evidence(build_corpus([("lib/a.ex", "x")]), "lib/b.ex")
    assert has_evidence(build_corpus(()).with_file("lib/b.ex", "y"), "lib/a.ex")
    assert not has_evidence(build_corpus(()).with_file("lib/b.ex", None), "lib/a.ex")


@pytest.mark.parametrize(
    ("word", "old", "new", "expected"),
    [
        ("filtered", "filter", "filtered", "filtered"),
        ("superuser", "user", "order", "superuser"),
        ("reuser", "user", "order", "reorder"),
        ("fetch_user", "user", "order", "fetch_order"),
        ("list_users", "user", "order", "list_orders"),
        ("UserController", "user", "order", "OrderController"),
        ("newUserId", "user", "order", "newOrderId"),
        ("user_id", "User", "LineItem", "line_item_id"),
    ],
)
def test_a_part_of_a_word_is_renamed_as_a_whole(word, old, new, expected):
    """Parts are renamed in their own case; letters within a part only where the repository has that word."""
    assert expected == _adapt_token(word, {old: new}, TokenVocabulary(["reorder"]))


@pytest.mark.parametrize(
    ("line", "text", "expected"),
    [
        ('log("Cannot import an empty ', 'task"""', False),
        ('log("Requested a password ', 'password")', False),
        ('log("Requested a password ', 'reset")', True),
        ('log("Requested a pass', 'word", "")', True),
    ],
)
def test_a_string_is_closed_once_and_says_no_word_twice(line, text, expected):
    """A string that begins on the line ends with one quote, and goes on with another word."""
    check("cpp", CPP, line, text, expected=expected)


@pytest.mark.parametrize(
    "header",
    [
        "// Copyright 2026 X\n// in the Software without restriction\n\n",
        "/* Permission is hereby granted,\n   in the Software without restriction */\n",
        "#!/usr/bin/env elixir\n# SPDX-License-Identifier: MIT\n# in the Software without restriction\n",
        "%% Licensed under the Apache License\n%% in the Software without restriction\r\n",
    ],
)
def test_a_licence_at_the_head_of_a_file_is_no_evidence(header):
    """The corpus begins behind it, so no sentence of it can be offered elsewhere."""
    corpus = build_corpus([("a.cpp", header + "#include <a>\n// Licensed games are counted.\nint a;\n")])
    words = {text.strip() for text in corpus.vocabulary.texts}
    assert "Software" not in words
    assert {"include", "games", "int"} <= words


def test_a_description_at_the_head_of_a_file_is_read():
    """Comments that are no licence stay."""
    corpus = build_corpus([("a.cpp", "// Sorts the shelves by weight.\nint a;\n")])
    assert "shelves" in {text.strip() for text in corpus.vocabulary.texts}
