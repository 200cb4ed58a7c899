"""When drafts are checked: they pay where they are right, and hardly cost where they are wrong."""

import random
from collections.abc import Callable

import pytest

from codekin.models import drafting
from codekin.models.drafting import LONG, SHORT, Drafting, Pace

MACHINES = {
    "8 bits": (1.0, 1.03, 1.6),
    "16 bits": (1.0, 0.97, 1.2),
    "32 bits": (1.0, 1.6, 1.9),
    "many rows cost as many": (1.0, 3.5, 7.0),
}
"""What steps cost with no draft, a short one and a long one."""

Foreseen = Callable[[int], int]
"""How many of the next tokens a draft foresees at a place."""


def always(count: int) -> Foreseen:
    return lambda _: count


def by_chance(share: float) -> Foreseen:
    chance = random.Random(3)
    return lambda _: next(right for right in range(100) if chance.random() > share)


DRAFTS: dict[str, Foreseen] = {
    "never right": always(0),
    "one token": always(1),
    "right at first": lambda at: 9 if at < 12 else 0,
    "right in stretches": lambda at: 9 if at // 20 % 2 else 0,
    "seldom": by_chance(0.1),
    "often": by_chance(0.6),
}


def ratio(costs: tuple[float, ...], foreseen: Foreseen, tokens: int, monkeypatch: pytest.MonkeyPatch) -> float:
    """Tokens a second with drafts beside plain ones, once steps were timed, on a clock that steps and drafts move."""
    clock = [0.0]
    monkeypatch.setattr(drafting, "perf_counter", lambda: clock[0])

    def draft(_: list[int]) -> list[int]:
        clock[0] += 0.01
        return [0] * 12

    def write(pace: Pace, foreseen: Foreseen, tokens: int) -> float:
        run, done, begun = Drafting(draft, pace), 0, clock[0]
        while done < tokens:
            offered = len(run.propose([], tokens - done - 1))
            accepted = min(offered, foreseen(done))
            cost = costs[(offered > 0) + (offered > SHORT)]
            clock[0] += cost
            pace.stepped(offered + 1, cost)
            run.learn(offered, accepted)
            done += 1 + accepted
        return done / (clock[0] - begun)

    pace = Pace()
    write(pace, always(12), 200)
    return write(pace, foreseen, tokens)


@pytest.mark.parametrize("tokens", [24, 48, 200])
@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("machine", MACHINES)
def test_drafts_hardly_ever_cost(machine: str, draft: str, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where drafts fail, or where wide steps are dear, a text would come later than without drafts."""
    assert ratio(MACHINES[machine], DRAFTS[draft], tokens, monkeypatch) >= 0.95


@pytest.mark.parametrize(("machine", "least"), [("8 bits", 4.0), ("16 bits", 4.5), ("32 bits", 3.0)])
def test_right_drafts_pay(machine: str, least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fear of loss would keep back drafts that are right."""
    assert ratio(MACHINES[machine], always(12), 200, monkeypatch) >= least


def test_drafts_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that begins unlike anything known and then repeats would never be drafted."""
    late: Foreseen = lambda at: 9 if at >= 100 else 0  # noqa: E731 - it is one of the drafts
    assert ratio(MACHINES["8 bits"], late, 300, monkeypatch) >= 1.8


def test_no_more_is_drafted_than_there_is_room_for() -> None:
    """A text would grow beyond the tokens that were asked for."""
    pace = Pace()
    pace.stepped(1, 1.0)
    run = Drafting(lambda _: [1] * 12, pace)
    assert len(run.propose([], 2)) == 2
    assert not run.propose([], 0)
    assert len(run.propose([], LONG)) == SHORT


def test_nothing_is_drafted_before_a_plain_step_was_timed() -> None:
    """Nobody would know what drafts cost."""
    assert not Drafting(lambda _: [1] * 12, Pace()).propose([], 9)
