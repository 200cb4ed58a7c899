"""An embedder in another process: our daemon, or any server with OpenAI's `/v1/embeddings`."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from codekin.errors import CheckpointError, ModelError, UsageError
from codekin.http import parse_endpoint
from codekin.http.cancellation import PENDING, CancellableClient
from codekin.http.client import AnswerLimits, hide_credentials
from codekin.protocols import Embedder, EmbeddingBatch, TextKind, Vectors

MAX_TEXTS_PER_REQUEST = 64


MAX_DIMENSIONS = 16_384


MAX_ANSWER_BYTES = 64 << 20
"""Vectors of 64 texts, 16,384 numbers in decimal each, take 22 MB."""


MAX_CALL_TIMEOUTS = 4
"""A whole call may take so many times what the server may be silent for."""


_WRONG_SPACE = "The server describes an embedding space that cannot be; check its URL."


_WRONG_FORMAT = "The server's embeddings are not in OpenAI's format; check its URL."


class RemoteEmbedder:
    """An Embedder over a Unix socket's path or an http(s) URL (with or without `/v1`).

    Requests, once at the start, the model's space and dimensions. Raises HttpError
    when the server cannot be reached, ModelError when it has no such model. `priority` is
    passed on to our own daemon: `index` waits behind queries; with `root` the encoder that was trained for this
    workspace embeds, where there is one. `base_space` is then the space of the model that it was trained from.
    """

    note = ""
    truncations: tuple[int, ...] = ()

    def __init__(  # noqa: PLR0913
        self,
        address: str | Path,
        model: str = "",
        *,
        api_key: str = "",
        timeout: float = 60.0,
        priority: str = "index",
        texts_per_request: int = MAX_TEXTS_PER_REQUEST,
        root: str = "",
    ) -> None:
        base_url = str(address).rstrip("/")
        base_url = base_url.removesuffix("/v1") if "://" in base_url else base_url
        endpoint = parse_endpoint(base_url, api_key, timeout)
        limits = AnswerLimits(MAX_ANSWER_BYTES, MAX_CALL_TIMEOUTS * timeout) if "://" in base_url else None
        self._client = CancellableClient(replace(endpoint, limits=limits))
        self._texts_per_request = texts_per_request
        self._root = {"root": root} if root else {}
        self._daemon_fields: dict[str, Any] = {}
        self.dimensions = self.truncated = 0
        try:
            self._read_model(self._find_model_row(model, base_url), base_url, priority)
        except BaseException:
            self.close()
            raise

    def embed(self, texts: Sequence[str], kind: TextKind = "passage") -> Vectors:
        """Vectors of shape (len(texts), dimensions), float32, rows of unit length."""
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for batch in self.embed_batches(texts, kind):
            vectors[batch.positions] = batch.vectors
        return vectors

    def embed_batches(self, texts: Sequence[str], kind: TextKind = "passage") -> Iterator[EmbeddingBatch]:
        """The same, one request at a time; empty batches while a request is under way, to be left at any of them."""
        for start in range(0, len(texts), self._texts_per_request):
            part = list(texts[start : start + self._texts_per_request])
            for response in self._client.post("/v1/embeddings", self._body(part, kind)):
                if response is PENDING:
                    yield EmbeddingBatch([], np.empty((0, self.dimensions), np.float32))
                else:
                    vectors = self._vectors(response, len(part))
                    truncated = tuple(start + at for at in _truncated_positions(response, len(part)))
                    self.truncated += len(truncated)
                    yield EmbeddingBatch(list(range(start, start + len(part))), vectors, 0, truncated)

    def decode(self, ids: Sequence[int]) -> str:
        """Its vocabulary is not here."""
        raise UsageError(f"`input` holds {len(ids)} token ids, whose vocabulary is on the server: send texts.")

    def with_adapter(self, folder: Path, name: str) -> Embedder:
        """Refuses: an adapter needs the model's weights in this process."""
        raise CheckpointError(f"{self.name} runs elsewhere and takes no adapter: roll back ({folder.name}, {name}).")

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _read_model(self, row: dict[str, Any], base_url: str, priority: str) -> None:
        """Take over the server's word on its model; a foreign server's dimensions are seen on a sample."""
        self.name = row["id"]
        if row.get("space"):
            self._daemon_fields = {"priority": priority, **self._root}
            self.space, self.dimensions, self.base_space = _read_space(row)
            return
        *_, response = self._client.post("/v1/embeddings", self._body(["dimensions"], "passage"))
        self.dimensions = self._vectors(response, 1).shape[1]
        digest = sha256(f"{base_url}\0{self.name}\0{self.dimensions}".encode()).hexdigest()
        self.base_space = self.space = f"remote-{digest[:16]}"

    def _find_model_row(self, model: str, base_url: str) -> dict[str, Any]:
        """The model's row of `/v1/models`; the first embedder (or the first row) when none is named."""
        rows = _read_model_rows(self._client.get("/v1/models", **self._root))
        embedders = [row for row in rows if row.get("space")] or rows
        chosen = [row for row in rows if row["id"] == model] if model else embedders[:1]
        if not chosen:
            offered = ", ".join(row["id"] for row in rows)[:500] or "none"
            raise ModelError(
                f"{hide_credentials(base_url)} has no model {model!r} (it offers {offered}); name one of these."
            )
        return dict(chosen[0])

    def _body(self, texts: list[str], kind: TextKind) -> dict[str, Any]:
        extra = {**self._daemon_fields, "kind": kind} if self._daemon_fields else {}
        return {"model": self.name, "input": texts, "encoding_format": "base64", **extra}

    def _vectors(self, response: Any, count: int) -> Vectors:
        if not isinstance(response, dict):
            raise ModelError(_WRONG_FORMAT)
        if self._daemon_fields and response.get("space") != self.space:
            raise ModelError("The embedding model was changed meanwhile; open the embedder again.")
        vectors = _decode_embeddings(response, count)
        if self.dimensions and vectors.shape[1] != self.dimensions:
            raise ModelError(f"The server sent vectors of {vectors.shape[1]} dimensions, not {self.dimensions}.")
        return vectors


def _truncated_positions(response: Any, count: int) -> list[int]:
    """Positions of the texts that our own daemon read in part."""
    found = response.get("truncated") if isinstance(response, dict) else None
    return [at for at in found if isinstance(at, int) and 0 <= at < count] if isinstance(found, list) else []


def _read_model_rows(answer: Any) -> list[dict[str, Any]]:
    """The rows of a list of models that have an id. Raises ModelError where it is none."""
    rows = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and isinstance(row.get("id"), str) for row in rows):
        raise ModelError("The server's list of models is not in OpenAI's format; check its URL.")
    return rows


def _read_space(row: dict[str, Any]) -> tuple[str, int, str]:
    """Space, dimensions and base space that our own daemon reports for its model. Raises ModelError."""
    space, dimensions, base = row["space"], row.get("dimensions"), row.get("base_space", row["space"])
    if not (isinstance(space, str) and isinstance(base, str) and isinstance(dimensions, int)):
        raise ModelError(_WRONG_SPACE)
    if 0 < dimensions <= MAX_DIMENSIONS:
        return space, dimensions, base
    raise ModelError(_WRONG_SPACE)


def _decode_embeddings(response: dict[str, Any], count: int) -> Vectors:
    """Unit rows in the order of the input; the server may send base64 or lists of numbers."""
    rows = response.get("data")
    if not isinstance(rows, list) or len(rows) != count:
        raise ModelError(_WRONG_FORMAT)
    if not all(isinstance(row, dict) and isinstance(row.get("index"), int) for row in rows):
        raise ModelError(_WRONG_FORMAT)
    by_index = {row["index"]: row.get("embedding") for row in rows}
    if by_index.keys() != set(range(count)):
        raise ModelError(_WRONG_FORMAT)
    try:
        with np.errstate(over="ignore"):
            vectors = np.array([_decode_vector(by_index[at]) for at in range(count)], dtype=np.float32)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ModelError(_WRONG_FORMAT) from error
    if vectors.ndim != 2 or not 0 < vectors.shape[1] <= MAX_DIMENSIONS:
        raise ModelError(_WRONG_FORMAT)
    if not np.isfinite(vectors).all():
        raise ModelError("The server sent vectors with numbers that are not finite; choose another model there.")
    unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit


def _decode_vector(value: Any) -> Vectors:
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4")
    return np.asarray(value, dtype=np.float32)
