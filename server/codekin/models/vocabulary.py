"""A model's vocabulary: text to token ids, and token ids back to text, also while they are generated.

Text that spells a special token stays text: only our own code puts special ids into a sequence.
"""

import codecs
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from codekin.errors import CheckpointError
from codekin.models.weights import read_tokenizer_json

SENTENCEPIECE_ANCHOR = "☺"
"""Encoded before a text and cut off again, it keeps sentencepiece from adding a space in front."""

SPECIAL_TOKENS = (
    *("▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>", "<s>", "</s>", "<unk>", "<|endoftext|>"),
    *("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    *("<reponame>", "<filename>", "<gh_stars>", "<repo_name>", "<file_sep>"),
    *("<\uff5cfim▁begin\uff5c>", "<\uff5cfim▁hole\uff5c>", "<\uff5cfim▁end\uff5c>"),
)
"""Tokens that are never made from a user's text, whatever a tokenizer.json says of them."""

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class ModelVocabulary:
    """One tokenizer.json, without its added tokens, padding, truncation and templates."""

    def __init__(self, path: Path, source: dict[str, Any] | None = None) -> None:
        """`source` replaces the file's content where that is of another format."""
        source = read_tokenizer_json(path) if source is None else source
        added = source.get("added_tokens") or []
        self.special: dict[str, int] = {row["content"]: int(row["id"]) for row in added}
        known = (source.get("model") or {}).get("vocab")
        # Some checkpoints keep the marks of infilling among the plain tokens.
        marks = {name: int(known[name]) for name in SPECIAL_TOKENS if isinstance(known, dict) and name in known}
        self.special = marks | self.special
        self.special_ids = frozenset(self.special.values())
        plain = {**source, "added_tokens": [], "post_processor": None, "padding": None, "truncation": None}
        try:
            self._tokenizer = Tokenizer.from_str(json.dumps(plain))
        except Exception as error:  # the tokenizers library raises bare Exception
            raise CheckpointError(f"{path} is not a tokenizer ({error}); fetch the model again.") from error
        self.source = source
        self._pattern = re.compile("|".join(map(re.escape, sorted(self.special, key=len, reverse=True))) or r"(?!)")
        self.byte_level = _uses_component(source.get("pre_tokenizer"), "ByteLevel") or _uses_component(
            source.get("decoder"), "ByteLevel"
        )

    @property
    def size(self) -> int:
        """Ids that the tokenizer knows, special ones included."""
        return max([self._tokenizer.get_vocab_size(), *(number + 1 for number in self.special_ids)])

    def encode(self, text: str) -> list[int]:
        """Ids of a text that begins a sequence; never a special one."""
        return self.encode_many([text])[0]

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """The same for many texts at once, in parallel."""
        cleaned = [strip_surrogates(text) for text in texts]
        found = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(cleaned, add_special_tokens=False)]
        return [
            ids if self.special_ids.isdisjoint(ids) else self._encode_apart(text)
            for ids, text in zip(found, cleaned, strict=True)
        ]

    def tokens_before(self, text: str, positions: Sequence[int]) -> list[int]:
        """How many of a text's tokens end before each of these places in it."""
        ends = [end for _, end in self._tokenizer.encode(strip_surrogates(text), add_special_tokens=False).offsets]
        return [bisect_right(ends, position) for position in positions]

    def encode_continuation(self, text: str) -> list[int]:
        """Ids of a text that goes on after something else: no space is put in front of it."""
        if not text:
            return []
        anchor, whole = self.encode(SENTENCEPIECE_ANCHOR), self.encode(SENTENCEPIECE_ANCHOR + text)
        return whole[len(anchor) :] if whole[: len(anchor)] == anchor else self.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of generated ids; special ids give nothing, broken UTF-8 gives U+FFFD."""
        return b"".join(self.bytes_of[number] for number in ids).decode("utf-8", "replace")

    def token_id(self, name: str) -> int:
        """The id of a special token. Raises CheckpointError where the tokenizer has none of that name."""
        number = self.special.get(name, self._tokenizer.token_to_id(name))
        if number is None:
            raise CheckpointError(f"The tokenizer has no {name} token, so this model cannot infill; choose another.")
        return int(number)

    @cached_property
    def bytes_of(self) -> list[bytes]:
        """For each id the bytes it stands for."""
        table = [b""] * self.size
        turn = _byte_level_bytes if self.byte_level else _sentencepiece_bytes
        for token, number in self._tokenizer.get_vocab().items():
            if number not in self.special_ids:
                table[number] = turn(token)
        return table

    def _encode_apart(self, text: str) -> list[int]:
        """Ids of a text that spells a special token, which is cut in two so that no part is special."""
        parts: list[str] = []
        start = 0
        for match in self._pattern.finditer(text):
            parts.append(text[start : match.start() + 1])
            start = match.start() + 1
        parts.append(text[start:])
        ids: list[int] = []
        for part in parts:
            encoded = self._tokenizer.encode(part, add_special_tokens=False).ids
            ids += [number for number in encoded if number not in self.special_ids]
        return ids


def strip_surrogates(text: str) -> str:
    """The text without lone surrogates, which no tokenizer accepts."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _uses_component(part: Any, kind: str) -> bool:
    return f'"{kind}"' in json.dumps(part)


def _sentencepiece_bytes(token: str) -> bytes:
    if match := _BYTE_TOKEN.fullmatch(token):
        return bytes([int(match[1], 16)])
    return token.replace("▁", " ").encode()


def _byte_level_bytes(token: str) -> bytes:
    """Each character of a byte-level token stands for one byte, by GPT-2's table."""
    try:
        return bytes(_BYTES[character] for character in token)
    except KeyError:
        return token.encode()


def _byte_table() -> dict[str, int]:
    """GPT-2's table: printable Latin-1 characters stand for themselves, the rest for 256 and up."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [number for number in range(256) if number not in printable]
    return {chr(number): number for number in printable} | {chr(256 + at): number for at, number in enumerate(others)}


_BYTES = _byte_table()


class TokenTextStream:
    """Collects bytes and gives out text that can no longer turn out to belong to a stop string."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.text = ""
        self.stopped = False
        self._stops = tuple(stops)
        self._held = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_bytes: bytes) -> str:
        """The text that became certain with a token's bytes; `stopped` is set at a stop string."""
        return self._append_text(self._decoder.decode(token_bytes))

    def finish(self) -> str:
        """What was held back, at the end of the tokens; half a character is left out."""
        rest, self._held = self._held, ""
        self.text += rest
        return rest

    def _append_text(self, text: str) -> str:
        if self.stopped:
            return ""
        held = self._held + text
        found = [position for stop in self._stops if (position := held.find(stop)) >= 0]
        if found:
            self.stopped = True
            certain, self._held = held[: min(found)], ""
        else:
            keep = max((_stop_overlap(held, stop) for stop in self._stops), default=0)
            certain, self._held = held[: len(held) - keep], held[len(held) - keep :]
        self.text += certain
        return certain


def _stop_overlap(text: str, stop: str) -> int:
    """How many of the text's last characters may be the beginning of a stop string."""
    longest = min(len(text), len(stop) - 1)
    return next((length for length in range(longest, 0, -1) if stop.startswith(text[-length:])), 0)
