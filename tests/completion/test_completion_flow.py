"""From key to ghost text: one request lives, what is on the screen is used, what is stale is not."""

import asyncio

import pytest

from codekin.completion.events import Event, Events, read_events
from codekin.completion.flow import Flow
from codekin.completion.gap import Gap, gap_at
from codekin.completion.suggest import Suggestion


def gap(prefix: str, suffix: str = "\n") -> Gap:
    return Gap("a.ex", "elixir", prefix, suffix)


def answering(text: str, calls: list[str], seconds: float = 0.0):
    async def make() -> list[Suggestion]:
        calls.append(text)
        await asyncio.sleep(seconds)
        return [Suggestion(text, "line", 0.9)]

    return make


async def test_200_rapid_keystrokes_leave_one_request_alive():
    """Each key would start work that nobody waits for any more."""
    flow, calls, most = Flow(), [], 0
    asked = []
    for count in range(200):
        asked.append(asyncio.ensure_future(flow.ask("w", 0, gap("x" * count), answering("y", calls, 0.05), waits=0.0)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        most = max(most, flow.live)
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert most == 1
    assert sum(isinstance(outcome, list) for outcome in outcomes) == 1
    assert outcomes[-1][0].text == "y"


async def test_a_slow_answer_under_way_is_kept_while_what_is_typed_matches():
    """With a large model nobody would ever see a suggestion who types on."""
    flow, calls = Flow(), []
    await flow.ask("w", 0, gap("warm"), answering("up", calls, 0.2), waits=0.0)
    first = asyncio.ensure_future(flow.ask("w", 0, gap("re"), answering("turn x", calls, 0.05), waits=0.0))
    await asyncio.sleep(0.01)
    second = await flow.ask("w", 0, gap("ret"), answering("wrong", calls), waits=0.0)
    assert (second[0].text, calls) == ("urn x", ["up", "turn x"])
    third = asyncio.ensure_future(flow.ask("w", 0, gap("re", "\nend"), answering("turn y", calls, 0.05), waits=0.0))
    await asyncio.sleep(0.01)
    other = await flow.ask("w", 0, gap("rex", "\nend"), answering("new", calls), waits=0.0)
    assert other[0].text == "new"
    await asyncio.gather(first, third, return_exceptions=True)


async def test_two_windows_do_not_disturb_each_other():
    """Typing in one window would silence the other."""
    flow, calls = Flow(), []
    both = await asyncio.gather(
        *(flow.ask(window, 0, gap(window), answering(window, calls, 0.01), waits=0.0) for window in ("a", "b"))
    )
    assert [found[0].text for found in both] == ["a", "b"]


async def test_typing_along_a_suggestion_costs_no_call():
    """Every letter of an accepted text would be asked for again."""
    flow, calls = Flow(), []
    await flow.ask("w", 0, gap("re"), answering("turn x", calls), waits=0.0)
    for typed in ("t", "tu", "tur", "turn "):
        found = await flow.ask("w", 0, gap("re" + typed), answering("wrong", calls), waits=0.0)
        assert typed + found[0].text == "turn x"
    other = await flow.ask("w", 0, gap("rex"), answering("new", calls), waits=0.0)
    assert (calls, other[0].text) == (["turn x", "new"], "new")


async def test_the_same_place_is_answered_from_memory_unless_the_suffix_changed():
    """A stale text would be shown after an edit below the cursor."""
    flow, calls = Flow(), []
    await flow.ask("w", 0, gap("a"), answering("1", calls), waits=0.0)
    await flow.ask("w", 0, gap("b"), answering("2", calls), waits=0.0)
    again = await flow.ask("w", 0, gap("a"), answering("3", calls), waits=0.0)
    changed = await flow.ask("w", 0, gap("a", "\nelse"), answering("4", calls), waits=0.0)
    elsewhere = await flow.ask("w", 1, gap("a"), answering("5", calls), waits=0.0)
    assert [found[0].text for found in (again, changed, elsewhere)] == ["1", "4", "5"]


async def test_slow_answers_wait_for_a_pause_in_typing():
    """On weak hardware each key would start a generation."""
    now = [0.0]
    flow, calls = Flow(clock=lambda: now[0]), []

    async def slow() -> list[Suggestion]:
        now[0] += 1.0
        return []

    await flow.ask("w", 0, gap("a"), slow, waits=None)
    now[0] += 0.2
    task = asyncio.ensure_future(flow.ask("w", 0, gap("ab"), answering("x", calls), waits=None))
    await asyncio.sleep(0.02)
    assert not calls
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("text", "line", "column", "prefix"),
    [
        ("a\nbc\n", 2, 1, "a\nb"),
        ("a\r\nbc\r\n", 2, 2, "a\r\nbc"),
        ("a\r\nbc\r\n", 2, 99, "a\r\nbc"),
        ("a\rb", 2, 1, "a\rb"),
        ("a\fb\u2028c\u0085d\n", 1, 7, "a\fb\u2028c\u0085d"),
        ("a\n", 99, 0, "a\n"),
        ("", 1, 5, ""),
        ("🙂汉x", 1, 2, "🙂汉"),
    ],
)
def test_places_in_a_text(text, line, column, prefix):
    """Text would be inserted beside the cursor."""
    found = gap_at("a.ex", "elixir", text, line, column)
    assert (found.prefix, found.prefix + found.suffix) == (prefix, text)


def test_events_are_kept_and_damage_is_passed_over(tmp_path):
    """What the user accepted would be lost, or one bad line would lose all the rest."""
    file = tmp_path / "completion" / "events.jsonl"
    events = Events(file)
    for outcome in ("shown", "accepted"):
        events.add(Event(1.0, outcome, "a.ex", "elixir", "x\u2028y", 3, 0.5))
    with file.open("ab") as stream:
        stream.write(b'{"half": \n')
    assert [event.event for event in read_events(file)] == ["shown", "accepted"]
    assert Events(file).counts == {"shown": 1, "accepted": 1}
