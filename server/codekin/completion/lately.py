"""What a generator thought lately: typing on asks it for what is new alone.

A line that it wrote goes on as it did once its beginning was typed, and a line that it weighed keeps the weights of
the tokens that are left. It knows ids and texts, no model.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from codekin.completion.drafting import Codec
from codekin.completion.prompt import Prompt

REMEMBERED = 64
"""Lines whose weights are kept."""


class Lately:
    """The last line that a generator wrote, and the lines that it weighed; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: list[int] = []
        self._written = ""
        self._weighed: OrderedDict[tuple[int, ...], list[float]] = OrderedDict()

    def wrote(self, prompt: Prompt, own: str) -> None:
        """Takes note of a line behind a prompt."""
        with self._lock:
            self._ids, self._written = prompt.ids, prompt.begins + own

    def rest(self, prompt: Prompt, codec: Codec) -> str | None:
        """What is left of the last line if the prompt goes on as it did, else None."""
        with self._lock:
            ids, written = self._ids, self._written
        if not written or prompt.ids[: len(ids)] != ids:
            return None
        typed = codec.decode(prompt.ids[len(ids) :]) + prompt.begins
        return written[len(typed) :] if written.startswith(typed) and len(written) > len(typed) else None

    def weighed(self, prompt: Prompt, line: Sequence[int], scores: Sequence[float]) -> None:
        """Takes note of the log-probability of each of a line's ids behind a prompt."""
        with self._lock:
            self._weighed[*prompt.ids, *line] = list(scores)
            while len(self._weighed) > REMEMBERED:
                self._weighed.popitem(last=False)

    def scores(self, prompt: Prompt, line: Sequence[int]) -> list[float] | None:
        """What is known of a line's ids behind a prompt; None unless all of them are."""
        with self._lock:
            known = self._weighed.get((*prompt.ids, *line))
        return known[len(known) - len(line) :] if known is not None and len(known) >= len(line) else None
