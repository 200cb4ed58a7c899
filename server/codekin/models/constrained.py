"""Keeps generation within a regular expression or a Lark grammar, by llguidance.

Whatever is generated matches, or is the beginning of a match cut by the limit of tokens.
Knows tokens and masks; nothing of models.
"""

import json
from collections.abc import Sequence

import llguidance
import llguidance.numpy
import numpy as np
import torch
from torch import Tensor

from codekin.errors import UsageError
from codekin.models.sampling import Sampling
from codekin.models.vocabulary import Vocabulary


class Grammars:
    """Compiles constraints for one vocabulary; the tables are built at the first use."""

    def __init__(self, vocabulary: Vocabulary, size: int, end_ids: Sequence[int]) -> None:
        self._vocabulary = vocabulary
        self._size = size
        self._end_ids = list(end_ids)
        self._tokenizer: llguidance.LLTokenizer | None = None

    def start(self, sampling: Sampling) -> "Constraint | None":
        """A fresh matcher for a request, None where it asks for no constraint. Raises UsageError."""
        if not sampling.regex and not sampling.grammar:
            return None
        try:
            if sampling.regex:
                grammar = llguidance.LLMatcher.grammar_from_regex(sampling.regex)
            else:
                grammar = llguidance.LLMatcher.grammar_from_lark(sampling.grammar or "")
        except ValueError as error:
            raise UsageError(f"The grammar cannot be used ({error}); correct it.") from error
        matcher = llguidance.LLMatcher(self._tables(), grammar, log_level=0)
        if problem := matcher.get_error():
            raise UsageError(f"The grammar cannot be used ({' '.join(problem.split())[:300]}); correct it.")
        return Constraint(matcher, self._size, self._end_ids)

    def _tables(self) -> llguidance.LLTokenizer:
        if self._tokenizer is None:
            source = json.dumps(self._vocabulary.source)
            self._tokenizer = llguidance.LLTokenizer(source, n_vocab=self._size, eos_token=self._end_ids or None)
        return self._tokenizer


class Constraint:
    """The state of one request within its grammar."""

    def __init__(self, matcher: llguidance.LLMatcher, size: int, end_ids: list[int]) -> None:
        self._matcher = matcher
        self._mask = llguidance.numpy.allocate_token_bitmask(1, size)
        self._size = size
        self._end_ids = end_ids

    def restrict(self, logits: Tensor) -> Tensor:
        """The logits with every token that cannot come next at minus infinity."""
        llguidance.numpy.fill_next_token_bitmask(self._matcher, self._mask, 0)
        bits = np.unpackbits(self._mask[0].view(np.uint8), bitorder="little")[: self._size]
        allowed = torch.from_numpy(bits.astype(bool)).to(logits.device)
        if not bool(allowed.any()):
            allowed[self._end_ids] = True
        return logits.masked_fill(~allowed, float("-inf"))

    def accept(self, token: int) -> bool:
        """Take a token; false where the text is complete and nothing can follow."""
        self._matcher.consume_token(token)
        return not self._matcher.is_stopped()

    def complete(self) -> bool:
        """Whether the text so far matches as a whole."""
        return bool(self._matcher.is_accepting() or self._matcher.is_stopped())
