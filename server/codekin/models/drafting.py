"""Decides when a draft of the next tokens is worth checking, from what steps cost here and how the last drafts fared.

A checked draft makes a step wider. What that costs depends on the machine, the model and its numbers: in 8 bits four
rows cost as much as one, in 32 bits half as much again. So steps are timed, a draft is checked where it is expected to
pay, and no more is staked than what drafts have gained and a small part of the time: where they fail, a text comes
hardly later than without. Knows nothing of models.
"""

from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter

Draft = Callable[[list[int]], list[int]]
"""From all tokens so far to tokens that may come next; empty for no idea."""

SHORT, LONG = 3, 7
"""Tokens of a draft; with the one before them they fill the rows that products are made for. A long one follows a
draft that was right to its end."""

CREDIT, SHARE = 0.25, 0.03
"""What drafts that fail may lose: so many steps of a text, and this part of its time."""

LEARNING = 0.3
EXPECTED = {SHORT: 1.5, LONG: 6.0}
"""How fast it is learnt what drafts gain, and the tokens that they are first expected to gain."""

LONGEST_PAUSE = 32
REMEMBERED, LEAST_TIMED = 8, 3
_UNTIMED = {0: 1.0, SHORT: 1.2, LONG: 1.6}
"""What a step is taken to cost before it was timed, by the draft's length."""


class Pace:
    """What steps and drafts cost, as the latest were timed: the least of a few, since others can only slow them."""

    def __init__(self) -> None:
        self._steps = {length: deque[float](maxlen=REMEMBERED) for length in _UNTIMED}
        self._drafts = deque[float](maxlen=REMEMBERED)

    def stepped(self, rows: int, seconds: float) -> None:
        """Takes note of a step over so many rows; one that is wider than a long draft tells nothing."""
        if rows <= LONG + 1:
            self._steps[_length(rows - 1)].append(seconds)

    def drafted(self, seconds: float) -> None:
        """Takes note of what making a draft took."""
        self._drafts.append(seconds)

    def step(self, drafted: int) -> float:
        """What a step costs with so many drafted tokens, in steps without any."""
        plain, wide = self._steps[0], self._steps[_length(drafted)]
        is_known = plain and len(wide) >= LEAST_TIMED  # the first of a kind is slow
        return max(1.0, min(wide) / min(plain)) if is_known else _UNTIMED[_length(drafted)]

    @property
    def is_known(self) -> bool:
        """Whether a step without a draft was timed, to compare with."""
        return bool(self._steps[0])

    @property
    def draft(self) -> float:
        """What making a draft costs, in steps."""
        return min(self._drafts) / min(self._steps[0]) if self._drafts and self._steps[0] else 0.0


def _length(drafted: int) -> int:
    return next(length for length in _UNTIMED if drafted <= length)


class Drafting:
    """The draft of one request, with its successes."""

    def __init__(self, draft: Draft | None, pace: Pace) -> None:
        self._draft = draft
        self._pace = pace
        self._balance = CREDIT
        self._gains = dict(EXPECTED)
        self._longest = SHORT
        self._pause, self._next_pause = 0, 1
        self.accepted = 0

    def propose(self, ids: list[int], room: int) -> list[int]:
        """At most `room` tokens to check now, often none."""
        if self._draft is None or room <= 0 or not self._pace.is_known or not (length := self._worth_checking()):
            return []
        begun = perf_counter()
        found = list(self._draft(ids))[: min(room, length)]
        self._pace.drafted(perf_counter() - begun)
        self._balance -= self._pace.draft
        return found

    def learn(self, offered: int, accepted: int) -> None:
        """Take note of a step: how many tokens of a draft were offered to it, and how many of them were right."""
        self._balance += accepted + SHARE * (1 + accepted)
        if not offered:
            return
        self._balance -= self._pace.step(offered) - 1
        self.accepted += accepted
        length = _length(offered)
        self._gains[length] += LEARNING * (accepted - self._gains[length])
        self._longest = LONG if accepted == offered else SHORT
        self._pause = 0 if accepted else self._next_pause
        self._next_pause = 1 if accepted else min(2 * self._next_pause, LONGEST_PAUSE)

    def _worth_checking(self) -> int:
        """The length of the draft that is expected to gain most; where none does, a short one now and then."""
        lengths = [length for length in EXPECTED if length <= self._longest and self._cost(length) - 1 <= self._balance]
        gains = {length: (1 + self._gains[length]) / self._cost(length) for length in lengths}
        best = max(gains, key=gains.__getitem__, default=0)
        if not best or gains[best] > 1:
            return best
        self._pause -= 1
        return SHORT if self._pause < 0 and SHORT in gains else 0

    def _cost(self, length: int) -> float:
        return self._pace.step(length) + self._pace.draft


def prompt_lookup(longest: int = 3) -> Draft:
    """A draft that copies what followed the latest earlier occurrence of the last tokens."""

    def draft(ids: list[int]) -> list[int]:
        for length in range(min(longest, len(ids) - 1), 0, -1):
            if place := _last_before(ids, ids[-length:]):
                return ids[place : place + LONG]
        return []

    return draft


def _last_before(ids: Sequence[int], tail: Sequence[int]) -> int:
    """The place after the latest earlier occurrence of `tail`, 0 where there is none."""
    length = len(tail)
    for start in range(len(ids) - length - 1, -1, -1):
        if ids[start + length - 1] == tail[-1] and ids[start : start + length] == tail:
            return start + length
    return 0
