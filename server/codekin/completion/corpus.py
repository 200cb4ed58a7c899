"""What the repository model knows: a large segment, the files that changed since, and the files struck out.

A snapshot: changing it makes another. It knows nothing of disks; texts are handed in.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from codekin.completion.lexicon import Tokens, Vocabulary
from codekin.completion.ngrams import Hashes
from codekin.completion.segment import LONGEST_RUN, Segment, segment_of

LARGEST_TEXT = 400_000
COUNTED_RUN = 5
_SIGN_WEIGHT = 0.2
_NOTHING = np.zeros(0, np.uint32)


@dataclass(frozen=True)
class Base:
    """The large segment and what follows from it alone; every corpus that is made from another shares it."""

    vocabulary: Vocabulary
    segment: Segment

    @cached_property
    def file_numbers(self) -> Mapping[str, int]:
        """Numbers of its files."""
        return {path: number for number, path in enumerate(self.segment.paths)}

    @cached_property
    def word_weights(self) -> NDArray[np.float32]:
        """How much each token's word tells of a place, by its rarity; signs tell little."""
        traits = self.vocabulary.traits
        counts = np.bincount(traits["word"][self.segment.tokens], minlength=len(traits))[traits["word"]]
        rarity = np.log((len(self.segment.tokens) + 2) / (counts + 1.0))
        return np.where(traits["is_name"], rarity, _SIGN_WEIGHT).astype(np.float32)


@dataclass(frozen=True)
class Corpus:
    """All files of a workspace but those that are hidden.

    `built` is built rarely; `changed` maps paths to what took their place since (empty: removed).
    """

    built: Base
    changed: Mapping[str, Tokens] = field(default_factory=dict)

    def with_file(self, path: str, text: str | None) -> "Corpus":
        """The corpus after a file was written or, with None, removed."""
        tokens = encode_file(self.vocabulary, text) if text is not None else _NOTHING
        return replace(self, changed={**self.changed, path: tokens})

    @property
    def vocabulary(self) -> Vocabulary:
        """The numbers of all tokens."""
        return self.built.vocabulary

    @property
    def base(self) -> Segment:
        """The large segment."""
        return self.built.segment

    @property
    def file_numbers(self) -> Mapping[str, int]:
        """Numbers of the base's files."""
        return self.built.file_numbers

    def warmed(self) -> "Corpus":
        """The corpus with all that the first question would have to make."""
        for name in ("fresh", "is_struck", "_struck"):
            getattr(self, name)
        self.weights()
        return self

    @cached_property
    def is_struck(self) -> NDArray[np.bool_]:
        """Which files of the base are out of date."""
        return np.array([path in self.changed for path in self.base.paths], bool)

    @cached_property
    def fresh(self) -> Segment:
        """The changed files as a segment."""
        return segment_of([(path, tokens) for path, tokens in self.changed.items() if len(tokens)], self.vocabulary)

    @cached_property
    def _struck(self) -> Segment:
        struck = [(path, self.base_tokens(path)) for path in self.changed if path in self.file_numbers]
        return segment_of(struck, self.vocabulary, longest=COUNTED_RUN, shapes=False)

    def weights(self) -> NDArray[np.float32]:
        """The weights for all tokens known by now; new ones are as rare as can be."""
        known = self.built.word_weights
        missing = len(self.vocabulary.traits) - len(known)
        return known if missing <= 0 else np.concatenate([known, np.full(missing, known.max(), np.float32)])

    @property
    def is_worn(self) -> bool:
        """Whether so much has changed that the base should be built anew."""
        return sum(map(len, self.changed.values())) > max(50_000, len(self.base.tokens) // 20)

    def base_tokens(self, path: str) -> Tokens:
        """A file's tokens as they stand in the base; empty if it is not there."""
        number = self.file_numbers.get(path)
        if number is None:
            return _NOTHING
        return self.base.tokens[self.base.starts[number] + 1 : self.base.starts[number + 1]]

    def tokens_of(self, path: str) -> Tokens:
        """A file's tokens as they are now."""
        changed = self.changed.get(path)
        return self.base_tokens(path) if changed is None else changed

    def counts(self, length: int, keys: Hashes) -> NDArray[np.float64]:
        """How often runs of a length occur in the files that stand."""
        counts = self.base.tables[length - 1].counts(keys)
        if self.changed:
            counts = counts + self.fresh.tables[length - 1].counts(keys) - self._struck.tables[length - 1].counts(keys)
        return counts

    def place_of(self, path: str) -> int:
        """Where a file stands, or would stand, in the base: neighbours in path order are neighbours in place."""
        return int(self.base.starts[np.searchsorted(np.array(self.base.paths), path)]) if self.base.paths else 0


def encode_file(vocabulary: Vocabulary, text: str) -> Tokens:
    """The tokens of a whole file; a very long one is cut."""
    return vocabulary.encode("\n" + text[:LARGEST_TEXT].replace("\r\n", "\n"))[0]


def corpus_of(files: Iterable[tuple[str, str]]) -> Corpus:
    """Builds a corpus from paths and texts."""
    vocabulary = Vocabulary()
    encoded = [(path, encode_file(vocabulary, text)) for path, text in sorted(files)]
    fresh_vocabulary = Vocabulary(vocabulary.texts[7:])
    return Corpus(Base(fresh_vocabulary, segment_of(encoded, fresh_vocabulary, longest=LONGEST_RUN)))
