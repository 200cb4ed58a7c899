"""From key to ghost text: one request lives, what is on the screen is used, what is stale is not."""

import asyncio

import pytest

from codekin.completion.context import CursorPosition, cursor_at
from codekin.completion.outcomes import SuggestionEvent, SuggestionLog, read_events
from codekin.completion.scheduler import CompletionScheduler
from codekin.completion.suggestions import Suggestion


def cursor(prefix: str, suffix: str = "\n") -> CursorPosition:
    return CursorPosition("a.ex", "elixir", prefix, suffix)


def answering(text: str, calls: list[str], seconds: float = 0.0):
    async def make() -> list[Suggestion]:
        calls.append(text)
        await asyncio.sleep(seconds)
        return [Suggestion(text, "line", 0.9)]

    return make


async def test_200_rapid_keystrokes_leave_one_request_alive():
    """Of 200 rapid keystrokes only the last request is computed."""
    scheduler, calls, most = CompletionScheduler(), [], 0
    requests = []
    for count in range(200):
        requests.append(
            asyncio.ensure_future(
                scheduler.request_suggestions("w", 0, cursor("x" * count), answering("y", calls, 0.05), delay=0.0)
            )
        )
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        most = max(most, scheduler.pending)
    outcomes = await asyncio.gather(*requests, return_exceptions=True)
    assert most == 1
    assert sum(isinstance(outcome, list) for outcome in outcomes) == 1
    assert outcomes[-1][0].text == "y"


async def test_a_slow_answer_under_way_is_kept_while_what_is_typed_matches():
    """A running answer is kept while the typed text matches it."""
    scheduler, calls = CompletionScheduler(), []
    await scheduler.request_suggestions("w", 0, cursor("warm"), answering("up", calls, 0.2), delay=0.0)
    first = asyncio.ensure_future(
        scheduler.request_suggestions("w", 0, cursor("re"), answering("turn x", calls, 0.05), delay=0.0)
    )
    await asyncio.sleep(0.01)
    second = await scheduler.request_suggestions("w", 0, cursor("ret"), answering("wrong", calls), delay=0.0)
    assert (second[0].text, calls) == ("urn x", ["up", "turn x"])
    third = asyncio.ensure_future(
        scheduler.request_suggestions("w", 0, cursor("re", "\nend"), answering("turn y", calls, 0.05), delay=0.0)
    )
    await asyncio.sleep(0.01)
    other = await scheduler.request_suggestions("w", 0, cursor("rex", "\nend"), answering("new", calls), delay=0.0)
    assert other[0].text == "new"
    await asyncio.gather(first, third, return_exceptions=True)


async def test_two_windows_do_not_disturb_each_other():
    """Each window has its own requests."""
    scheduler, calls = CompletionScheduler(), []
    both = await asyncio.gather(
        *(
            scheduler.request_suggestions(window, 0, cursor(window), answering(window, calls, 0.01), delay=0.0)
            for window in ("a", "b")
        )
    )
    assert [found[0].text for found in both] == ["a", "b"]


async def test_typing_along_a_suggestion_costs_no_call():
    """Typing along a suggestion calls no model."""
    scheduler, calls = CompletionScheduler(), []
    await scheduler.request_suggestions("w", 0, cursor("re"), answering("turn x", calls), delay=0.0)
    for typed in ("t", "tu", "tur", "turn "):
        found = await scheduler.request_suggestions("w", 0, cursor("re" + typed), answering("wrong", calls), delay=0.0)
        assert typed + found[0].text == "turn x"
    other = await scheduler.request_suggestions("w", 0, cursor("rex"), answering("new", calls), delay=0.0)
    assert (calls, other[0].text) == (["turn x", "new"], "new")


async def test_the_same_place_is_answered_from_memory_unless_the_suffix_changed():
    """The cache is used only if the text below the cursor is unchanged."""
    scheduler, calls = CompletionScheduler(), []
    await scheduler.request_suggestions("w", 0, cursor("a"), answering("1", calls), delay=0.0)
    await scheduler.request_suggestions("w", 0, cursor("b"), answering("2", calls), delay=0.0)
    again = await scheduler.request_suggestions("w", 0, cursor("a"), answering("3", calls), delay=0.0)
    changed = await scheduler.request_suggestions("w", 0, cursor("a", "\nelse"), answering("4", calls), delay=0.0)
    elsewhere = await scheduler.request_suggestions("w", 1, cursor("a"), answering("5", calls), delay=0.0)
    assert [found[0].text for found in (again, changed, elsewhere)] == ["1", "4", "5"]


async def test_slow_answers_wait_for_a_pause_in_typing():
    """Where answers are slow, a request waits for a pause in typing."""
    now = [0.0]
    scheduler, calls = CompletionScheduler(clock=lambda: now[0]), []

    async def slow() -> list[Suggestion]:
        now[0] += 1.0
        return []

    await scheduler.request_suggestions("w", 0, cursor("a"), slow, delay=None)
    now[0] += 0.2
    task = asyncio.ensure_future(scheduler.request_suggestions("w", 0, cursor("ab"), answering("x", calls), delay=None))
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
    """A line and a column give the text before and after the cursor."""
    found = cursor_at("a.ex", "elixir", text, line, column)
    assert (found.prefix, found.prefix + found.suffix) == (prefix, text)


def test_events_are_kept_and_damage_is_passed_over(tmp_path):
    """Events are kept, and a damaged line is skipped."""
    file = tmp_path / "completion" / "events.jsonl"
    events = SuggestionLog(file)
    for outcome in ("shown", "accepted"):
        events.append(SuggestionEvent(1.0, outcome, "a.ex", "elixir", "x\u2028y", 3, 0.5))
    with file.open("ab") as stream:
        stream.write(b'{"half": \n')
    assert [event.event for event in read_events(file)] == ["shown", "accepted"]
    assert SuggestionLog(file).counts == {"shown": 1, "accepted": 1}
