"""A model's vocabulary: text to ids and ids to bytes, with special tokens out of the user's reach.

Reads a tokenizer.json. Text that spells a special token stays text: special ids enter a
sequence only when code of ours puts them there. Knows nothing of weights or prompts.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from codekin.errors import CheckpointError
from codekin.models.weights import read_json

ANCHOR = "☺"
"""Encoded before a text and cut off again, it keeps sentencepiece from adding a space in front."""

MARKS = (
    *("▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>", "<s>", "</s>", "<unk>", "<|endoftext|>"),
    *("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    *("<reponame>", "<filename>", "<gh_stars>", "<repo_name>", "<file_sep>"),
)
"""Tokens that are never made from a user's text, whatever a tokenizer.json says of them."""

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class Vocabulary:
    """One tokenizer.json, without its added tokens, padding, truncation and templates."""

    def __init__(self, path: Path) -> None:
        source = read_json(path)
        added = source.get("added_tokens") or []
        self.special: dict[str, int] = {row["content"]: int(row["id"]) for row in added}
        known = (source.get("model") or {}).get("vocab")
        # Some checkpoints keep the marks of infilling among the plain tokens.
        marks = {name: int(known[name]) for name in MARKS if isinstance(known, dict) and name in known}
        self.special = marks | self.special
        self.special_ids = frozenset(self.special.values())
        plain = {**source, "added_tokens": [], "post_processor": None, "padding": None, "truncation": None}
        try:
            self._tokenizer = Tokenizer.from_str(json.dumps(plain))
        except Exception as error:  # the tokenizers library raises bare Exception
            raise CheckpointError(f"{path} is not a tokenizer ({error}); fetch the model again.") from error
        self.source = source
        self._pattern = re.compile("|".join(map(re.escape, sorted(self.special, key=len, reverse=True))) or r"(?!)")
        self.byte_level = _mentions(source.get("pre_tokenizer"), "ByteLevel") or _mentions(
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
        cleaned = [clean(text) for text in texts]
        found = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(cleaned, add_special_tokens=False)]
        return [
            ids if self.special_ids.isdisjoint(ids) else self._encode_apart(text)
            for ids, text in zip(found, cleaned, strict=True)
        ]

    def tokens_before(self, text: str, places: Sequence[int]) -> list[int]:
        """How many of a text's tokens end before each of these places in it."""
        ends = [end for _, end in self._tokenizer.encode(clean(text), add_special_tokens=False).offsets]
        return [bisect_right(ends, place) for place in places]

    def encode_inside(self, text: str) -> list[int]:
        """Ids of a text that goes on after something else: no space is put in front of it."""
        if not text:
            return []
        anchor, whole = self.encode(ANCHOR), self.encode(ANCHOR + text)
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


def clean(text: str) -> str:
    """The text without lone surrogates, which no tokenizer accepts."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _mentions(part: Any, kind: str) -> bool:
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
