"""An embedder that lives in another process: any server with OpenAI's `/v1/embeddings`.

Our own daemon is one of them (the indexer child embeds through it) and tells its space;
a foreign server's space is its URL and model name. Knows nothing of weights or tokens.
"""

import base64
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from codekin.errors import ModelError
from codekin.seams import Step, TextKind, Vectors
from codekin.wire import WAITING, WithdrawableClient, endpoint

TEXTS_PER_REQUEST = 64


class RemoteEmbedder:
    """An Embedder over a Unix socket's path or an http(s) URL (with or without `/v1`).

    Asks the server once, at the start, for the model's space and dimensions. Raises WireError
    when the server cannot be reached, ModelError when it has no such model. `priority` is
    passed on to our own daemon: `index` waits behind queries; with `root` the encoder that was trained for this
    workspace embeds, where there is one. `base_space` is then the space of the model that it was trained from.
    """

    def __init__(  # noqa: PLR0913
        self,
        address: str | Path,
        model: str = "",
        *,
        api_key: str = "",
        timeout: float = 60.0,
        priority: str = "index",
        texts_per_request: int = TEXTS_PER_REQUEST,
        root: str = "",
    ) -> None:
        place = str(address).rstrip("/")
        place = place.removesuffix("/v1") if "://" in place else place
        self._client = WithdrawableClient(endpoint(place, api_key, timeout))
        self._texts_per_request = texts_per_request
        self._root = {"root": root} if root else {}
        self._extra: dict[str, Any] = {}
        self.dimensions = 0
        try:
            self._meet(self._row(model, place), place, priority)
        except BaseException:
            self.close()
            raise

    def embed(self, texts: Sequence[str], kind: TextKind = "passage") -> Vectors:
        """Vectors of shape (len(texts), dimensions), float32, rows of unit length."""
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for step in self.steps(texts, kind):
            vectors[step.positions] = step.vectors
        return vectors

    def steps(self, texts: Sequence[str], kind: TextKind = "passage") -> Iterator[Step]:
        """The same, one request at a time; empty steps while a request is under way, to be left at any of them."""
        for start in range(0, len(texts), self._texts_per_request):
            part = list(texts[start : start + self._texts_per_request])
            for answer in self._client.post("/v1/embeddings", self._body(part, kind)):
                if answer is WAITING:
                    yield Step([], np.empty((0, self.dimensions), np.float32))
                else:
                    vectors = self._vectors(answer, len(part))
                    cut = tuple(start + at for at in _cut(answer, len(part)))
                    yield Step(list(range(start, start + len(part))), vectors, 0, cut)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _meet(self, row: dict[str, Any], place: str, priority: str) -> None:
        """Take over the server's word on its model; a foreign server's dimensions are seen on a sample."""
        self.name = str(row["id"])
        if row.get("space"):
            self._extra = {"priority": priority, **self._root}
            self.space, self.dimensions = str(row["space"]), int(row["dimensions"])
            self.base_space = str(row.get("base_space", self.space))
            return
        *_, answer = self._client.post("/v1/embeddings", self._body(["dimensions"], "passage"))
        self.dimensions = self._vectors(answer, 1).shape[1]
        digest = sha256(f"{place}\0{self.name}\0{self.dimensions}".encode()).hexdigest()
        self.base_space = self.space = f"remote-{digest[:16]}"

    def _row(self, model: str, place: str) -> dict[str, Any]:
        """The model's row of `/v1/models`; the first embedder (or the first row) when none is named."""
        rows = (self._client.get("/v1/models", **self._root) or {}).get("data", [])
        embedders = [row for row in rows if row.get("space")] or rows
        chosen = [row for row in rows if row.get("id") == model] if model else embedders[:1]
        if not chosen:
            offered = ", ".join(str(row.get("id")) for row in rows) or "none"
            raise ModelError(f"{place} has no model {model!r} (it offers {offered}); name one of these.")
        return dict(chosen[0])

    def _body(self, texts: list[str], kind: TextKind) -> dict[str, Any]:
        extra = {**self._extra, "kind": kind} if self._extra else {}
        return {"model": self.name, "input": texts, "encoding_format": "base64", **extra}

    def _vectors(self, answer: Any, count: int) -> Vectors:
        if self._extra and answer.get("space") != self.space:
            raise ModelError("The embedding model was changed meanwhile; open the embedder again.")
        vectors = _decoded(answer, count)
        if self.dimensions and vectors.shape[1] != self.dimensions:
            raise ModelError(f"The server sent vectors of {vectors.shape[1]} dimensions, not {self.dimensions}.")
        return vectors


def _cut(answer: Any, count: int) -> list[int]:
    """Positions of the texts that our own daemon read in part."""
    found = answer.get("cut") if isinstance(answer, dict) else None
    return [at for at in found if isinstance(at, int) and 0 <= at < count] if isinstance(found, list) else []


def _decoded(answer: Any, count: int) -> Vectors:
    """Unit rows in the order of the input; the server may send base64 or lists of numbers."""
    try:
        rows = sorted(answer["data"], key=lambda row: int(row["index"]))
        vectors = np.array([_vector(row["embedding"]) for row in rows], dtype=np.float32)
    except (TypeError, KeyError, ValueError) as error:
        raise ModelError("The server's embeddings are not in OpenAI's format; check its URL.") from error
    if vectors.ndim != 2 or not vectors.size or len(vectors) != count or not np.isfinite(vectors).all():
        raise ModelError(f"The server sent {len(vectors)} vectors for {count} texts, or some are not finite.")
    unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit


def _vector(value: Any) -> Vectors:
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4")
    return np.asarray(value, dtype=np.float32)
