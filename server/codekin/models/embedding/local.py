"""Embedders that run in this process: prepare and tokenise text, batch by length, run the model, return unit vectors.

`LocalEmbedder` joins a tokenizer function with a forward function, whatever the model; `load_bundled` builds the one
that ships with the package, without torch. Text is split into words for it, and cut at a chunk, a line or a word where
it is too long.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from codekin.errors import CheckpointError, ModelError, UsageError
from codekin.models.catalogue import read_json
from codekin.models.checkpoints import ADAPTER_WEIGHTS, HEAD_FILE, HEAD_TENSOR, file_digest
from codekin.models.embedding.onnx_encoder import SCALES_FILE, load_onnx_encoder, map_tensors
from codekin.models.embedding.onnx_graph import QUANTISATION_SCHEME
from codekin.models.planner import require_torch
from codekin.models.vocabulary import strip_surrogates
from codekin.models.weights import read_tokenizer_json
from codekin.protocols import EmbeddingBatch, TextKind, Vectors

if TYPE_CHECKING:
    from codekin.models.embedding.adapters import TransformersEncoder
    from codekin.models.linear import LinearKernel

MAX_CHARACTERS = 24_000
"""Characters read of a text; the encoder's 512 tokens end long before."""

_WORD_OR_OPERATOR = re.compile(
    r"[A-Z]?[a-z\x80-\U0010ffff]+|[A-Z]+(?![a-z])|\d+(?:\.\d+)?"  # the words of a name, a number
    r"|[-+*/=<>!%&|^~.]{2,3}|[-+*/=<>%&|^~]|(?<!\w)!"
)


def split_code_words(text: str) -> str:
    """The words and operators that the encoder reads, in order, one space between them."""
    return " ".join(_WORD_OR_OPERATOR.findall(text[:MAX_CHARACTERS]))


TRUNCATION_SCHEME = "fragments-2"
"""Part of an embedding space's fingerprint: where texts are cut decides their vectors."""

MIN_KEPT_SHARE = 0.94
"""The part of the room that is filled at least: a better place to cut is not looked for before that."""

CHARACTERS_PER_TOKEN = 40
"""Characters of a text looked at for each token of room."""

_INDENT = re.compile(r"^[ \t]*(?=\S)", re.MULTILINE)
_BLOCK_END = re.compile(r"end\b|[)\]}]")
_WORD = re.compile(r"\S+\s*")
TAB_WIDTH = 8

TokenCounter = Callable[[str, Sequence[int]], Sequence[int]]
"""From a text and ascending places in it to the tokens before each place."""


def truncate_text(text: str, limit: int, count_tokens: TokenCounter) -> str:
    """The beginning of a text that fits into `limit` tokens and ends with a chunk, a line or a word.

    One endless word comes back whole: its tokens have to be cut.
    """
    text = text[: limit * CHARACTERS_PER_TOKEN]
    lines = [at + 1 for at, letter in enumerate(text) if letter == "\n"]
    counts = count_tokens(text, lines)
    fitting = [position for position, count in zip(lines, counts, strict=True) if count <= limit]
    late = [position for position, count in zip(lines, counts, strict=True) if MIN_KEPT_SHARE * limit <= count <= limit]
    if late:
        return text[: min(late, key=lambda position: (_next_indent(text, position), -position))]
    start = fitting[-1] if fitting else 0
    words = [match.end() for match in _WORD.finditer(text, start)][: limit + 1]
    whole = [position for position, count in zip(words, count_tokens(text, words), strict=True) if count <= limit]
    return text[: whole[-1]] if whole else text[:start] or text


def _next_indent(text: str, position: int) -> float:
    """How far right the next line with something in it begins; one that closes a block belongs to what is above."""
    blank = _INDENT.search(text, position)
    if blank is None:
        return 0
    return len(blank[0].expandtabs(TAB_WIDTH)) + (0.5 if _BLOCK_END.match(text, blank.end()) else 0)


BUNDLED_FOLDER = Path(__file__).parents[1] / "codekin_embed"

PREPARATION_SAMPLE = '  def handleCall2(:get_HTTPState!, x_y) do\n\t# doc "é"\n  end\n' + "vector<int> aB_c; " * 400


BATCH_TOKENS = 1024
SHARED_BATCH_TOKENS = 2048
"""The same where several threads share a batch."""


@dataclass(frozen=True, slots=True)
class TokenizedTexts:
    """Token ids of texts, special tokens included, and the positions of those that were cut to fit."""

    ids: list[list[int]]
    truncated: tuple[int, ...] = ()


@dataclass(slots=True)
class LocalEmbedder:
    """An Embedder out of a tokenizer and a forward function.

    `forward` takes id sequences and the kind of text and gives unit vectors (n, dimensions).
    `head` is an optional matrix (dimensions, dimensions): v becomes normalise(head @ v).
    `adapt` gives the same model under the LoRA adapter in a folder; None where it takes none.
    """

    name: str
    space: str
    dimensions: int
    tokenize: Callable[[Sequence[str], TextKind], TokenizedTexts]
    forward: Callable[[list[list[int]], TextKind], Vectors]
    budget: int = BATCH_TOKENS
    head: NDArray[np.float32] | None = None
    longest: int = 512
    note: str = ""
    truncations: tuple[int, ...] = ()
    adapt: "Callable[[Path], LocalEmbedder] | None" = field(default=None, compare=False)
    decode_ids: "Callable[[Sequence[int]], str] | None" = field(default=None, compare=False)
    encoder: "TransformersEncoder | None" = field(default=None, compare=False)
    truncated: int = field(default=0, compare=False)

    @property
    def base_space(self) -> str:
        """Its own space."""
        return self.space

    def embed(self, texts: Sequence[str], kind: TextKind = "passage") -> Vectors:
        """Vectors of shape (len(texts), dimensions), float32, rows of unit length."""
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for batch in self.embed_batches(texts, kind):
            vectors[batch.positions] = batch.vectors
        return vectors

    def embed_batches(self, texts: Sequence[str], kind: TextKind = "passage") -> Iterator[EmbeddingBatch]:
        """The same, one batch at a time: between two of them the caller may do something else."""
        tokens = self.tokenize(texts, kind)
        self.truncated += len(tokens.truncated)
        for positions in plan_batches([len(ids) for ids in tokens.ids], self.budget):
            vectors = self._apply_head(self.forward([tokens.ids[at] for at in positions], kind))
            count = sum(len(tokens.ids[at]) for at in positions)
            yield EmbeddingBatch(positions, vectors, count, tuple(set(positions) & set(tokens.truncated)))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids. Raises UsageError for ids that are not in the vocabulary."""
        if self.decode_ids is None:
            raise UsageError(f"{self.name} takes no token ids: send texts.")
        return self.decode_ids(ids)

    def with_adapter(self, folder: Path, name: str) -> "LocalEmbedder":
        """The same model under the adapter in a folder. Raises CheckpointError where it takes none."""
        if self.adapt is None:
            raise CheckpointError(f"{self.name} takes no adapter: roll back to another checkpoint.")
        return replace(self.adapt(folder), name=name)

    def _apply_head(self, found: Vectors) -> Vectors:
        if self.head is not None:
            found = found @ self.head.T
            found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        if not np.isfinite(found).all():
            raise ModelError(f"{self.name} gave numbers that are not finite: set models.dtype to float32.")
        return found


@dataclass(frozen=True, slots=True)
class _SmallEncoder:
    """A BERT's forward function, its sizes, and what its numbers depend on beside the weights."""

    forward: Callable[[list[list[int]]], Vectors]
    vocabulary: int
    positions: int
    dimensions: int
    scheme: tuple[str, ...] = ()
    budget: int = BATCH_TOKENS


def load_bundled(
    folder: Path = BUNDLED_FOLDER, kernel_cache: Path | None = None, kernel: "LinearKernel | None" = None
) -> LocalEmbedder:
    """The encoder in `folder` (config.json, tokenizer.json, model.safetensors; head.safetensors where it has a head).

    It runs in 8-bit integers where the folder holds the scales of its activations and no kernel is given, else by
    torch. Raises CheckpointError where a file is missing, damaged or foreign to the others.
    """
    config = read_json(folder / "config.json")
    opened = partial(_open_encoder, folder, config, kernel_cache, kernel)
    encoder = opened(None)
    longest = min(int(config.get("max_tokens", encoder.positions)), encoder.positions)
    tokenizer = read_tokenizer(folder / "tokenizer.json", vocabulary=encoder.vocabulary)
    embedder = LocalEmbedder(
        name="codekin_embed",
        space=_bundled_space(folder, longest, encoder.scheme),
        dimensions=encoder.dimensions,
        tokenize=bert_tokenizer(tokenizer, longest),
        forward=_without_kind(encoder.forward),
        budget=encoder.budget,
        longest=longest,
        decode_ids=lambda ids: tokenizer.decode(require_known_ids(ids, tokenizer.get_vocab_size())),
    )
    # The adapted copy is made of one without `adapt`: nothing refers to itself, so a model that is unloaded is freed.
    return _with_stored_head(replace(embedder, adapt=partial(_adapt_bundled, embedder, opened)), folder / HEAD_FILE)


def _open_encoder(
    folder: Path,
    config: Mapping[str, Any],
    kernel_cache: Path | None,
    kernel: "LinearKernel | None",
    adapter_folder: Path | None,
) -> _SmallEncoder:
    """The encoder in a folder, with the adapter of another folder merged into its weights where one is given."""
    if kernel is not None or not (folder / SCALES_FILE).exists():
        require_torch(f"The encoder in {folder}")
        from codekin.models.embedding.bert import open_bert  # noqa: PLC0415 - torch

        bert = open_bert(folder, config, kernel_cache, kernel, adapter_folder)
        sizes = (bert.token_embeddings.shape[0], bert.longest, bert.dimensions)
        return _SmallEncoder(lambda ids: bert.embed(ids).numpy(), *sizes)
    if adapter_folder is None:
        tensors = map_tensors(folder / "model.safetensors")
    else:
        require_torch(f"The adapter in {adapter_folder}")
        from codekin.models.embedding.bert import merged_arrays  # noqa: PLC0415 - torch

        tensors = merged_arrays(folder, adapter_folder)
    encoder = load_onnx_encoder(folder, config, tensors)
    vocabulary, width = encoder.embeddings.tokens.shape
    scheme = (QUANTISATION_SCHEME, file_digest(folder / SCALES_FILE))
    return _SmallEncoder(
        encoder.embed, vocabulary, len(encoder.embeddings.positions), width, scheme, SHARED_BATCH_TOKENS
    )


def _adapt_bundled(
    embedder: LocalEmbedder, opened: Callable[[Path | None], _SmallEncoder], adapter_folder: Path
) -> LocalEmbedder:
    """The encoder with the adapter of another folder merged into its weights."""
    forward = _without_kind(opened(adapter_folder).forward)
    space = space_fingerprint(embedder.space, "lora", file_digest(adapter_folder / ADAPTER_WEIGHTS))
    return replace(embedder, space=space, forward=forward)


def _with_stored_head(embedder: LocalEmbedder, path: Path) -> LocalEmbedder:
    """The embedder with the head that was tuned beside its weights, where there is one."""
    if not path.exists():
        return embedder
    head = map_tensors(path).get(HEAD_TENSOR)
    if head is None:
        raise CheckpointError(f"{path} holds no head; use another checkpoint.")
    return with_head(embedder, head.astype(np.float32), file_digest(path))


def _without_kind(forward: Callable[[list[list[int]]], Vectors]) -> Callable[[list[list[int]], TextKind], Vectors]:
    return lambda ids, kind: forward(ids)  # noqa: ARG005 - this encoder treats queries and passages alike


def _bundled_space(folder: Path, longest: int, scheme: Sequence[str]) -> str:
    """What the vectors depend on: weights, tokenizer, length, rounding, and how text is prepared, seen on a sample."""
    digests = [file_digest(folder / name) for name in ("model.safetensors", "tokenizer.json")]
    prepared = split_code_words(PREPARATION_SAMPLE)
    return space_fingerprint("codekin_embed", *digests, longest, prepared, TRUNCATION_SCHEME, *scheme)


def with_head(embedder: LocalEmbedder, head: NDArray[np.float32], digest: str) -> LocalEmbedder:
    """The same embedder in the space that a trained head opens."""
    expected = (embedder.dimensions, embedder.dimensions)
    if head.shape != expected or not np.isfinite(head).all():
        raise CheckpointError(f"The head has shape {head.shape}; {embedder.name} needs a finite one of {expected}.")
    return replace(embedder, head=head.astype(np.float32), space=space_fingerprint(embedder.space, "head", digest))


def space_fingerprint(*parts: Any) -> str:
    """A short name for an embedding space, different as soon as one part differs."""
    return f"{str(parts[0]).split('-')[0]}-{sha256(chr(0).join(map(str, parts)).encode()).hexdigest()[:16]}"


def read_tokenizer(path: Path, vocabulary: int) -> Tokenizer:
    """A tokenizer without padding or truncation, whose ids are all below `vocabulary`."""
    read_tokenizer_json(path)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises bare Exception
        raise CheckpointError(f"{path} is not a tokenizer ({error}); fetch the model again.") from error
    if tokenizer.get_vocab_size() > vocabulary:
        raise CheckpointError(
            f"{path} has {tokenizer.get_vocab_size()} tokens, the weights {vocabulary}; they belong to two models."
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # Text that spells a special token stays text.
    tokenizer.encode_special_tokens = True
    return tokenizer


def bert_tokenizer(tokenizer: Tokenizer, longest: int) -> Callable[[Sequence[str], TextKind], TokenizedTexts]:
    """Prepared text to ids; of more than `longest` those before the end of a chunk, a line or a word."""

    def encode(texts: Sequence[str]) -> list[list[int]]:
        prepared = [split_code_words(strip_surrogates(text)) for text in texts]
        # A text without tokens, where a tokenizer adds none of its own, is read as the first token.
        return [encoding.ids or [0] for encoding in tokenizer.encode_batch_fast(prepared)]

    def tokens_before(text: str, positions: Sequence[int]) -> list[int]:
        # Words are read one by one, so that the tokens of the parts are those of the whole.
        parts = [text[start:end] for start, end in pairwise([0, *positions])]
        return list(accumulate(len(ids) - 2 for ids in encode(parts)))

    def tokenize(texts: Sequence[str], kind: TextKind) -> TokenizedTexts:  # noqa: ARG001
        found = encode(texts)
        truncated = tuple(at for at, ids in enumerate(found) if len(ids) > longest or len(texts[at]) > MAX_CHARACTERS)
        for at in truncated:
            ids = encode([truncate_text(texts[at], longest - 2, tokens_before)])[0]
            found[at] = ids if len(ids) <= longest else [*ids[: longest - 1], ids[-1]]
        return TokenizedTexts(found, truncated)

    return tokenize


def require_known_ids(ids: Sequence[int], size: int) -> list[int]:
    """The ids. Raises UsageError where one is not below the size of the vocabulary."""
    if (highest := max(ids, default=0)) >= size:
        raise UsageError(
            f"`input` holds the token {highest}, but the embedder has {size}: send texts "
            "(LangChain: check_embedding_ctx_length=False)."
        )
    return list(ids)


def plan_batches(lengths: Sequence[int], budget: int = BATCH_TOKENS) -> list[list[int]]:
    """Positions grouped into batches, longest first, each at most `budget` padded tokens.

    A sequence longer than the budget gets a batch of its own. Every position appears once.
    """
    batches: list[list[int]] = []
    free_rows = 0
    for position in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
        if free_rows == 0:
            batches.append([])
            free_rows = max(1, budget // max(1, lengths[position]))
        batches[-1].append(position)
        free_rows -= 1
    return batches
