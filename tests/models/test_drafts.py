"""When drafts are checked: they pay where they are right, and hardly cost where they are wrong."""

import random
from collections.abc import Callable

import pytest

from codekin.models.generation import sampling
from codekin.models.generation.sampling import LONG_DRAFT, SHORT_DRAFT, DraftPolicy, StepTimings

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
    monkeypatch.setattr(sampling, "perf_counter", lambda: clock[0])

    def draft(_: list[int]) -> list[int]:
        clock[0] += 0.01
        return [0] * 12

    def write(timings: StepTimings, foreseen: Foreseen, tokens: int) -> float:
        run, done, begun = DraftPolicy(draft, timings), 0, clock[0]
        while done < tokens:
            offered = len(run.propose([], tokens - done - 1))
            accepted = min(offered, foreseen(done))
            cost = costs[(offered > 0) + (offered > SHORT_DRAFT)]
            clock[0] += cost
            timings.record_step(offered + 1, cost)
            run.record_outcome(offered, accepted)
            done += 1 + accepted
        return done / (clock[0] - begun)

    timings = StepTimings()
    write(timings, always(12), 200)
    return write(timings, foreseen, tokens)


@pytest.mark.parametrize("tokens", [24, 48, 200])
@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("machine", MACHINES)
def test_drafts_hardly_ever_cost(machine: str, draft: str, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where drafts fail or wide steps are expensive, drafting stops and costs next to nothing."""
    assert ratio(MACHINES[machine], DRAFTS[draft], tokens, monkeypatch) >= 0.95


@pytest.mark.parametrize(("machine", "least"), [("8 bits", 4.0), ("16 bits", 4.5), ("32 bits", 3.0)])
def test_right_drafts_pay(machine: str, least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drafts that are right are used."""
    assert ratio(MACHINES[machine], always(12), 200, monkeypatch) >= least


def test_drafts_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drafting resumes when a text that began as something new starts to repeat."""
    late: Foreseen = lambda at: 9 if at >= 100 else 0  # noqa: E731 - it is one of the drafts
    assert ratio(MACHINES["8 bits"], late, 300, monkeypatch) >= 1.8


def test_no_more_is_drafted_than_there_is_room_for() -> None:
    """A draft is no longer than the tokens that are left."""
    timings = StepTimings()
    timings.record_step(1, 1.0)
    run = DraftPolicy(lambda _: [1] * 12, timings)
    assert len(run.propose([], 2)) == 2
    assert not run.propose([], 0)
    assert len(run.propose([], LONG_DRAFT)) == SHORT_DRAFT


def test_nothing_is_drafted_before_a_plain_step_was_timed() -> None:
    """The first draft waits until a plain step was timed."""
    assert not DraftPolicy(lambda _: [1] * 12, StepTimings()).propose([], 9)
