"""Embedders that run here: text to token ids, ids to batches, batches to unit vectors.

`LocalEmbedder` joins a tokenizer function with a forward function, whatever the model;
`load_bundled` builds the one that ships with the package. Knows nothing of queues,
threads or HTTP; a caller that wants to pause between batches iterates over `steps`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from codekin.errors import CheckpointError
from codekin.models.adapters import WEIGHTS, merged, read_adapter
from codekin.models.batching import TOKEN_BUDGET, plan_batches
from codekin.models.bert import Bert, build_bert
from codekin.models.checkpoints import HEAD, TENSOR
from codekin.models.cutting import SCHEME, cut_text
from codekin.models.digests import file_digest
from codekin.models.kernels import Kernel, fastest_kernel
from codekin.models.preparation import LONGEST, prepare
from codekin.models.weights import read_json, read_tensors
from codekin.seams import Step, TextKind, Vectors

if TYPE_CHECKING:  # it brings transformers' side, which the bundled encoder does without
    from codekin.models.pretrained import Encoder

BUNDLED = Path(__file__).with_name("codekin_embed")

PREPARATION_SAMPLE = '  def handleCall2(:get_HTTPState!, x_y) do\n\t# doc "é"\n  end\n' + "vector<int> aB_c; " * 400


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of texts, special tokens included, and the positions of those that were cut to fit."""

    ids: list[list[int]]
    cut: tuple[int, ...] = ()


@dataclass(slots=True)
class LocalEmbedder:
    """An Embedder out of a tokenizer and a forward function.

    `forward` takes id sequences and the kind of text and gives unit vectors (n, dimensions).
    `head` is an optional matrix (dimensions, dimensions): v becomes normalise(head @ v).
    `cut` counts the texts that were longer than the model reads since it was loaded; `note`
    says why this embedder stands in for another; `truncations` are the shorter vectors it offers;
    `adapt` gives the same model under the LoRA adapter in a folder.
    """

    name: str
    space: str
    dimensions: int
    tokenize: Callable[[Sequence[str], TextKind], Tokens]
    forward: Callable[[list[list[int]], TextKind], Tensor]
    budget: int = TOKEN_BUDGET
    head: NDArray[np.float32] | None = None
    longest: int = 512
    note: str = ""
    truncations: tuple[int, ...] = ()
    adapt: "Callable[[Path], LocalEmbedder] | None" = field(default=None, compare=False)
    encoder: "Encoder | None" = field(default=None, compare=False)
    cut: int = field(default=0, compare=False)

    def embed(self, texts: Sequence[str], kind: TextKind = "passage") -> Vectors:
        """Vectors of shape (len(texts), dimensions), float32, rows of unit length."""
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for step in self.steps(texts, kind):
            vectors[step.positions] = step.vectors
        return vectors

    def steps(self, texts: Sequence[str], kind: TextKind = "passage") -> Iterator[Step]:
        """The same, one batch at a time: between two steps the caller may do something else."""
        tokens = self.tokenize(texts, kind)
        self.cut += len(tokens.cut)
        for positions in plan_batches([len(ids) for ids in tokens.ids], self.budget):
            vectors = self.forward([tokens.ids[at] for at in positions], kind)
            count = sum(len(tokens.ids[at]) for at in positions)
            yield Step(positions, self._finished(vectors), count, tuple(set(positions) & set(tokens.cut)))

    def _finished(self, vectors: Tensor) -> Vectors:
        found: Vectors = vectors.float().cpu().numpy()
        if self.head is not None:
            found = found @ self.head.T
            found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return found


def load_bundled(
    folder: Path = BUNDLED, kernel_cache: Path | None = None, kernel: Kernel | None = None
) -> LocalEmbedder:
    """The encoder in `folder` (config.json, tokenizer.json, model.safetensors; head.safetensors where it has a head).

    Raises CheckpointError where a file is missing, damaged or foreign to the others.
    """
    config = read_json(folder / "config.json")
    tensors = read_tensors(folder / "model.safetensors")
    kernel = kernel or fastest_kernel(kernel_cache)
    bert = build_bert(tensors, config, kernel)
    longest = min(int(config.get("max_tokens", bert.longest)), bert.longest)
    tokenizer = read_tokenizer(folder / "tokenizer.json", vocabulary=bert.words.shape[0])
    space = _bundled_space(folder, longest)

    def adapt(learned: Path) -> LocalEmbedder:
        weights = merged(read_tensors(folder / "model.safetensors"), read_adapter(learned))
        under = fingerprint(space, "lora", file_digest(learned / WEIGHTS))
        return replace(embedder, space=under, forward=_forward_of(build_bert(weights, config, kernel)), adapt=None)

    embedder = LocalEmbedder(
        name="codekin_embed",
        space=space,
        dimensions=bert.dimensions,
        tokenize=bert_tokenize(tokenizer, longest),
        forward=_forward_of(bert),
        longest=longest,
        adapt=adapt,
    )
    return _under_head(embedder, folder / HEAD)


def _under_head(embedder: LocalEmbedder, path: Path) -> LocalEmbedder:
    """The embedder with the head that was tuned beside its weights, where there is one."""
    if not path.exists():
        return embedder
    head = read_tensors(path).get(TENSOR)
    if head is None:
        raise CheckpointError(f"{path} holds no head; use another checkpoint.")
    return with_head(embedder, head.numpy(), file_digest(path))


def _forward_of(bert: Bert) -> Callable[[list[list[int]], TextKind], Tensor]:
    return lambda ids, kind: bert.embed(ids)  # noqa: ARG005 - this encoder treats queries and passages alike


def _bundled_space(folder: Path, longest: int) -> str:
    """What the vectors depend on: weights, tokenizer, length, and how text is prepared, seen on a sample."""
    digests = [file_digest(folder / name) for name in ("model.safetensors", "tokenizer.json")]
    return fingerprint("codekin_embed", *digests, longest, prepare(PREPARATION_SAMPLE), SCHEME)


def with_head(embedder: LocalEmbedder, head: NDArray[np.float32], digest: str) -> LocalEmbedder:
    """The same embedder in the space that a trained head opens."""
    expected = (embedder.dimensions, embedder.dimensions)
    if head.shape != expected or not np.isfinite(head).all():
        raise CheckpointError(f"The head has shape {head.shape}; {embedder.name} needs a finite one of {expected}.")
    return replace(embedder, head=head.astype(np.float32), space=fingerprint(embedder.space, "head", digest))


def fingerprint(*parts: Any) -> str:
    """A short name for an embedding space, different as soon as one part differs."""
    return f"{str(parts[0]).split('-')[0]}-{sha256(chr(0).join(map(str, parts)).encode()).hexdigest()[:16]}"


def read_tokenizer(path: Path, vocabulary: int) -> Tokenizer:
    """A tokenizer without padding or truncation, whose ids are all below `vocabulary`."""
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


def bert_tokenize(tokenizer: Tokenizer, longest: int) -> Callable[[Sequence[str], TextKind], Tokens]:
    """Prepared text to ids; of more than `longest` those before the end of a fragment, a line or a word."""

    def encode(texts: Sequence[str]) -> list[list[int]]:
        prepared = [prepare(clean(text)) for text in texts]
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(prepared)]

    def tokens_before(text: str, places: Sequence[int]) -> list[int]:
        # Words are read one by one, so that the tokens of the parts are those of the whole.
        parts = [text[start:end] for start, end in pairwise([0, *places])]
        return list(accumulate(len(ids) - 2 for ids in encode(parts)))

    def tokenize(texts: Sequence[str], kind: TextKind) -> Tokens:  # noqa: ARG001
        found = encode(texts)
        cut = tuple(at for at, ids in enumerate(found) if len(ids) > longest or len(texts[at]) > LONGEST)
        for at in cut:
            ids = encode([cut_text(texts[at], longest - 2, tokens_before)])[0]
            found[at] = ids if len(ids) <= longest else [*ids[: longest - 1], ids[-1]]
        return Tokens(found, cut)

    return tokenize


def clean(text: str) -> str:
    """The text without lone surrogates, which no tokenizer accepts."""
    return text.encode("utf-8", "replace").decode("utf-8")
