"""Keeps a generated text to a given beginning, whatever tokens it takes: letters that are typed already.

A prompt that ends within a word makes an unlikely token; cut before the word, with the word as the beginning of what
is generated, it ends where the tokeniser would end it ("token healing").
"""

from bisect import bisect_left
from functools import cached_property

from torch import Tensor, full_like

from codekin.models.vocabulary import Vocabulary


class Openings:
    """Finds the tokens that agree with bytes to come; one for each vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def agreeing(self, rest: bytes) -> list[int]:
        """Ids of the tokens that begin with the bytes, or with which the bytes begin."""
        low, high = bisect_left(self._sorted, (rest, -1)), bisect_left(self._sorted, (rest + b"\xff" * 8, -1))
        longer = [token for _, token in self._sorted[low:high]]
        return longer + [token for size in range(1, len(rest)) for token in self._shorter.get(rest[:size], ())]

    def bytes_of(self, token: int) -> bytes:
        """The bytes of a token."""
        return self._vocabulary.bytes_of[token]

    @cached_property
    def _sorted(self) -> list[tuple[bytes, int]]:
        return sorted((piece, token) for token, piece in enumerate(self._vocabulary.bytes_of) if piece)

    @cached_property
    def _shorter(self) -> dict[bytes, list[int]]:
        found: dict[bytes, list[int]] = {}
        for piece, token in self._sorted:
            found.setdefault(piece, []).append(token)
        return found


class Beginning:
    """The state of one request: which bytes are still to come."""

    def __init__(self, openings: Openings, text: str) -> None:
        self._openings = openings
        self._rest = text.encode("utf-8", "replace")

    def restrict(self, logits: Tensor) -> Tensor:
        """The logits with every token that leaves the beginning at minus infinity."""
        allowed = self._openings.agreeing(self._rest) if self._rest else []
        if not allowed:
            return logits
        kept = full_like(logits, float("-inf"))
        kept[allowed] = logits[allowed]
        return kept

    def accept(self, token: int) -> bool:
        """Take a token; the text may always go on."""
        self._rest = self._rest[len(self._openings.bytes_of(token)) :]
        return True
