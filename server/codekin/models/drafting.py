"""Decides when a draft of the next tokens is worth checking, from how the last ones fared.

A checked draft costs a wider step: a short one next to nothing, a long one half as much again. So drafts are short
until one was right to its end, and where they keep failing they are left out for longer and longer. Knows nothing
of models.
"""

from collections.abc import Callable, Sequence

Draft = Callable[[list[int]], list[int]]
"""From all tokens so far to tokens that may come next; empty for no idea."""

SHORT_DRAFT = 3
"""With the token before it a step of four rows, which in 8 bits costs as much as one of a single row."""

LONGEST_DRAFT = 7
"""With the token before it a step of eight rows, up to which the 8-bit product is the faster one."""

LONGEST_PAUSE = 64


class Drafting:
    """The draft of one request, with its successes."""

    def __init__(self, draft: Draft | None) -> None:
        self._draft = draft
        self._length = SHORT_DRAFT
        self._pause = 0
        self._next_pause = 1
        self.offered = 0
        self.accepted = 0

    def propose(self, ids: list[int], room: int) -> list[int]:
        """At most `room` tokens to check now, often none."""
        if self._draft is None or room <= 0:
            return []
        if self._pause:
            self._pause -= 1
            return []
        return list(self._draft(ids))[: min(room, self._length)]

    def learn(self, offered: int, accepted: int) -> None:
        """Take note of how many of a draft's tokens were right."""
        if not offered:
            return
        self.offered += offered
        self.accepted += accepted
        self._length = LONGEST_DRAFT if accepted == offered else SHORT_DRAFT
        if accepted:
            self._next_pause = 1
        else:
            self._pause = self._next_pause
            self._next_pause = min(2 * self._next_pause, LONGEST_PAUSE)


def prompt_lookup(longest: int = 3) -> Draft:
    """A draft that copies what followed the latest earlier occurrence of the last tokens."""

    def draft(ids: list[int]) -> list[int]:
        for length in range(min(longest, len(ids) - 1), 0, -1):
            if place := _last_before(ids, ids[-length:]):
                return ids[place : place + LONGEST_DRAFT]
        return []

    return draft


def _last_before(ids: Sequence[int], tail: Sequence[int]) -> int:
    """The place after the latest earlier occurrence of `tail`, 0 where there is none."""
    length = len(tail)
    for start in range(len(ids) - length - 1, -1, -1):
        if ids[start + length - 1] == tail[-1] and ids[start : start + length] == tail:
            return start + length
    return 0
