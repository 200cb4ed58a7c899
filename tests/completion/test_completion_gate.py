"""The gate turns a confidence into a chance, by language and kind of place, and learns from outcomes."""

from dataclasses import replace

import pytest

from codekin.completion.context import CursorPosition
from codekin.completion.gate import Gate, default_gate, load_gate, place_of
from codekin.completion.outcomes import SuggestionEvent

SHOWN = SuggestionEvent(1.0, "shown", "a.ex", "elixir", "x", 1, 0.5, id="0", place="token", estimate=0.5)


def outcomes(*events: str) -> list[SuggestionEvent]:
    """A suggestion for each group of events, which are joined by spaces."""
    return [replace(SHOWN, id=str(number), event=event) for number, some in enumerate(events) for event in some.split()]


def test_the_chance_grows_with_the_confidence_in_every_place():
    """No group turns the order of guesses over, and a chance is one."""
    gate = default_gate()
    for language in ("elixir", "cpp", "c", "python", "unknown"):
        for place in ("line", "token", "word", "prose"):
            chances = [gate.chance(step / 20, language, place) for step in range(21)]
            assert chances == sorted(chances)
            assert 0 < chances[0] < chances[-1] < 1


@pytest.mark.parametrize(
    ("events", "rises"),
    [
        (["accepted retained"] * 40, True),
        (["shown rejected"] * 40, False),
        (["accepted lost"] * 40, False),
        (["rejected retained"] * 40, True),  # typed by the user's own hand
    ],
)
def test_outcomes_move_the_chance(events, rises):
    """What stood there in the end counts, whatever was pressed; other places stay as they were."""
    gate = Gate({})
    learned = gate.fitted_to(outcomes(*events))
    assert (learned.chance(0.5, "elixir", "token") > 0.6) == rises
    assert (learned.chance(0.5, "elixir", "token") < 0.4) != rises
    assert learned.chance(0.5, "cpp", "token") == gate.chance(0.5, "cpp", "token")


def test_few_outcomes_move_it_little():
    """Two rejections do not silence a language, and what was only shown says nothing."""
    learned = Gate({}).fitted_to(outcomes("shown rejected", "shown rejected", "shown"))
    assert 0.4 < learned.chance(0.5, "elixir", "token") < 0.5
    assert not Gate({}).fitted_to(outcomes("shown")).shifts


def test_it_is_kept_and_a_damaged_file_is_the_default(tmp_path):
    """What was learned counts after a restart; a file that cannot be read costs only what was learned."""
    learned = default_gate().fitted_to(outcomes(*["rejected"] * 9))
    learned.save(tmp_path)
    assert load_gate(tmp_path).shifts == learned.shifts
    for text in ("", "[]", '{"shifts": {"elixir/token": "x"}}', '{"shifts": {"elixir/token": 1e9}}'):
        (tmp_path / "gate.json").write_text(text)
        assert load_gate(tmp_path).shifts == {}


@pytest.mark.parametrize(
    ("line", "kind", "expected"),
    [("  ", "code", "line"), ("  x = ", "code", "token"), ("  Rep", "code", "word"), ("# a", "comment", "prose")],
)
def test_kinds_of_places(line, kind, expected):
    """A line's start, a token's start, within a word, and prose."""
    assert place_of(CursorPosition("a.ex", "elixir", f"a\n{line}", ""), kind) == expected
