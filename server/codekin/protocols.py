"""The protocols between packages, with the values that cross them.

Each has a real implementation and a fake one in the tests, and one suite of contract tests that runs against all.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from codekin.errors import UsageError

if TYPE_CHECKING:  # the daemon's routes import this module, and answer the first handshake without numpy
    import numpy as np
    from numpy.typing import NDArray

    Vectors: TypeAlias = NDArray[np.float32]
else:
    Vectors = Any
"""Shape (n, dimensions), rows of unit length."""

MAX_SEED = 2**63 - 1
MAX_BIASED_TOKENS = 1024

TextKind = Literal["query", "passage"]


class EmbeddingBatch(NamedTuple):
    """A batch of vectors: positions in the input, their vectors in the same order, and the tokens read.

    `truncated` holds the positions of texts that were longer than the model reads, and were read in part.
    """

    positions: list[int]
    vectors: Vectors
    tokens: int = 0
    truncated: tuple[int, ...] = ()


class Embedder(Protocol):
    """Turns texts into unit vectors of one embedding space.

    `space` is the space's fingerprint: model, revision, attention, pooling, prompt, adapter or head, tokenizer.
    Vectors of two spaces are never compared.
    """

    @property
    def name(self) -> str:
        """The model's name, for people."""
        ...

    @property
    def space(self) -> str:
        """The fingerprint of what its vectors may be compared with."""
        ...

    @property
    def base_space(self) -> str:
        """The space of the model that it was fine-tuned from; its own where it was not."""
        ...

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""
        ...

    @property
    def truncations(self) -> tuple[int, ...]:
        """The shorter vectors that it offers (Matryoshka), in numbers; often none."""
        ...

    @property
    def truncated(self) -> int:
        """How many texts were longer than the model reads since it was loaded."""
        ...

    @property
    def note(self) -> str:
        """A sentence on why it replaces another one; empty where it does not."""
        ...

    def embed(self, texts: Sequence[str], kind: TextKind = "passage") -> Vectors:
        """Vectors of shape (len(texts), dimensions), float32, rows of unit length."""
        ...

    def embed_batches(self, texts: Sequence[str], kind: TextKind = "passage") -> Iterator[EmbeddingBatch]:
        """The same, a batch at a time, in any order: between two of them the caller may pause or leave."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids of its vocabulary. Raises UsageError where it has no such tokens."""
        ...

    def with_adapter(self, folder: Path, name: str) -> "Embedder":
        """The same model under the LoRA adapter in a folder. Raises CheckpointError where it takes none."""
        ...


DraftFunction = Callable[[list[int]], list[int]]
"""From all tokens so far to tokens that may come next; empty for no idea."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are chosen and when to stop; temperature 0 is greedy.

    `top_k` 0 and `top_p` 1 keep all tokens. `regex` or `grammar` (Lark) constrains the text; `begins` is what it
    begins with.
    `logprobs` requests so many alternatives of each token. The penalties for presence and frequency and `logit_bias`
    (token ids and what their logits are raised by) are OpenAI's.
    """

    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int | None = None
    stop: tuple[str, ...] = ()
    regex: str | None = None
    grammar: str | None = None
    begins: str = ""
    logprobs: int | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for values out of bounds."""
        _require_valid(1 <= self.max_tokens <= 1 << 20, "max_tokens must be at least 1")
        _require_valid(0 <= self.temperature <= 100, "temperature must lie between 0 and 100")
        _require_valid(0 < self.top_p <= 1, "top_p must lie above 0 and at most at 1")
        _require_valid(self.top_k >= 0, "top_k must not be negative")
        _require_valid(0.01 <= self.repetition_penalty <= 100, "repetition_penalty must lie between 0.01 and 100")
        penalties = self.presence_penalty, self.frequency_penalty
        _require_valid(all(-2 <= each <= 2 for each in penalties), "a penalty must lie between -2 and 2")
        _require_valid(len(self.logit_bias) <= MAX_BIASED_TOKENS, f"at most {MAX_BIASED_TOKENS} tokens have a bias")
        _require_valid(
            all(token >= 0 and -100 <= bias <= 100 for token, bias in self.logit_bias),
            "a bias must lie between -100 and 100, of a token's number",
        )
        _require_valid(self.seed is None or 0 <= self.seed <= MAX_SEED, "seed must be a whole number from 0 on")
        _require_valid(all(self.stop), "a stop string must not be empty")
        _require_valid(len(self.stop) <= 64, "there may be at most 64 stop strings")
        _require_valid(not (self.regex and self.grammar), "give a regular expression or a grammar, not both")
        _require_valid(not (self.begins and (self.regex or self.grammar)), "give a beginning or a grammar, not both")
        _require_valid(self.logprobs is None or 0 <= self.logprobs <= 20, "logprobs must lie between 0 and 20")


def _require_valid(holds: bool, sentence: str) -> None:
    if not holds:
        raise UsageError(f"{sentence[0].upper()}{sentence[1:]}.")


REMOTE_MODEL = "remote"
"""The `model` of a request that the server of the settings answers."""


@dataclass(frozen=True, slots=True)
class FileOrigin:
    """Where a text comes from; models that were trained with such a heading see it. Either may be empty."""

    repository: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """What one side of a conversation said; the role is system, user or assistant."""

    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """What to generate: a prompt to continue, with a `suffix` a gap to fill, with `chat` an instruction.

    `prompt_ids` are token ids in place of the prompt, `messages` a conversation.
    """

    prompt: str
    model: str
    prompt_ids: tuple[int, ...] = ()
    messages: tuple[ChatMessage, ...] = ()
    suffix: str | None = None
    chat: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    draft: DraftFunction | None = None


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """A generated token with its log-probability, and those of its alternatives on request."""

    token: int
    text: str
    logprob: float
    rivals: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class GenerationStep:
    """What came since the step before: text that is certain, tokens, and `finish` at the end (stop or length)."""

    text: str = ""
    tokens: tuple[int, ...] = ()
    choices: tuple[TokenChoice, ...] = ()
    finish: str = ""


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """A finished text; `reused` prompt tokens came from a cache, `drafted` tokens from a draft."""

    text: str
    tokens: tuple[int, ...]
    finish: str
    prompt_tokens: int
    reused: int = 0
    drafted: int = 0
    choices: tuple[TokenChoice, ...] = ()


class Generator(Protocol):
    """Continues a prompt, or fills the gap before a suffix: here, or on a server."""

    @property
    def name(self) -> str:
        """The model's name, for people."""
        ...

    def generate_steps(self, request: GenerationRequest) -> Iterator[GenerationStep | GeneratedText]:
        """Steps with new text, many of them empty; the last value is the whole text. Raises CodekinError.

        Leaving the iteration ends the work within a token.
        """
        ...


@dataclass(frozen=True, slots=True)
class TextQuery:
    """What a text index looks for: how often each term occurs in the query, and what a match must be in.

    Other words for the query's own count less than one, but over .25. `files` are file numbers; None for all.
    """

    counts: Mapping[str, float]
    language: str | None = None
    files: Sequence[int] | None = None


class TextIndex(Protocol):
    """Finds chunks by their words; one consistent state of an index."""

    @property
    def documents(self) -> int:
        """How many chunks it holds."""
        ...

    def search(self, query: TextQuery, limit: int) -> "tuple[NDArray[np.int64], NDArray[np.float32]]":
        """Ids and scores (both (n,), n at most `limit`) of the best matches, best first; raises StoreError."""
        ...


@dataclass(frozen=True, slots=True)
class EmbeddingSpace:
    """One embedding space; `state` is building, serving, kept or dropped.

    `slots` counts the records that its file has had, in use or not.
    """

    id: int
    fingerprint: str
    name: str
    dimensions: int
    state: str
    slots: int


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """Counts of the index; `vectors` are live chunks that the serving space covers."""

    seq: int
    files: int
    skipped: int
    chunks: int
    vectors: int
    space: str
    spaces: tuple[EmbeddingSpace, ...]
    text_index_behind: bool
    size_bytes: int


class VectorStore(Protocol):
    """Keeps one vector for each content hash and space; texts are known from the chunks of the store's files.

    Every method raises StoreError where the store fails.
    """

    def ensure_space(self, fingerprint: str, name: str, dimensions: int) -> EmbeddingSpace:
        """The space with this fingerprint; the first one serves at once, a later one is building."""
        ...

    def status(self) -> IndexStatus:
        """Counts and spaces."""
        ...

    def serving_space(self) -> EmbeddingSpace | None:
        """The space that answers queries."""
        ...

    def put_vectors(self, vectors: Mapping[str, Vectors], space: str | None = None) -> int:
        """Stores unit vectors by digest for known texts, in the serving space by default; returns how many were new."""
        ...

    def missing_digests(self, space: str, digests: Iterable[str]) -> list[str]:
        """Those digests, in order and once each, that have no vector in the space."""
        ...

    def unembedded_texts(self, space: str, limit: int = 256) -> list[tuple[str, str]]:
        """Up to `limit` live texts without a vector in the space, after their digests."""
        ...

    def vectors(self, fingerprint: str) -> Iterator[tuple[list[str], Vectors]]:
        """All vectors of a space in blocks: digests and float32 rows."""
        ...

    def project_space(self, source: str, target: str, transform: Callable[[Vectors], Vectors]) -> int:
        """Fills the space `target` with the transformed vectors of `source`; returns how many."""
        ...

    def promote(self, fingerprint: str, keep_old: bool = False) -> None:
        """Makes a space the serving one, in one step; the old one is kept or dropped."""
        ...

    def drop_space(self, fingerprint: str) -> None:
        """Gives up a space that does not serve."""
        ...
