"""The services: many callers, priorities, cancellation, reloads, eviction, remote servers."""

import gc
import json
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_checkpoints

from codekin.errors import Cancelled, HttpError, ModelError
from codekin.models.embedding.local import load_bundled
from codekin.models.embedding.remote import RemoteEmbedder
from codekin.models.embedding.service import EmbeddingService
from codekin.models.generation.generator import LocalGenerator
from codekin.models.generation.service import GenerationService, RemoteGenerator
from codekin.models.loading import LoadOptions, load_generator
from codekin.models.planner import ModelCache
from codekin.protocols import REMOTE_MODEL, EmbeddingBatch, GeneratedText, GenerationRequest, Sampling, TextKind
from fakes import FakeEmbedder


@dataclass(frozen=True)
class GatedEmbedder(FakeEmbedder):
    """Embeds text by text, each slow one only when the test lets it."""

    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    done: list[str] = field(default_factory=list)

    def embed_batches(self, texts: Sequence[str], kind: TextKind = "passage") -> Iterator[EmbeddingBatch]:
        for at, text in enumerate(texts):
            if text.startswith("slow"):
                assert self.gate.acquire(timeout=20)
            self.done.append(text)
            yield EmbeddingBatch([at], self.embed([text], kind), 1)


@pytest.fixture
def gated() -> Iterator[tuple[GatedEmbedder, EmbeddingService]]:
    embedder = GatedEmbedder()
    service = EmbeddingService(lambda: embedder)
    yield embedder, service
    embedder.gate.release(1000)
    service.close()


def test_queries_pass_background_work(gated: tuple[GatedEmbedder, EmbeddingService]) -> None:
    """A query is embedded before the queued indexing work."""
    embedder, service = gated
    background = service.submit(["slow 1", "slow 2", "slow 3"], priority="index")
    assert service.embed("query").shape == (embedder.dimensions,)
    assert not background.done()
    embedder.gate.release(3)
    np.testing.assert_allclose(background.result(20).vectors, embedder.embed(["slow 1", "slow 2", "slow 3"]))


def test_background_work_can_be_cancelled(gated: tuple[GatedEmbedder, EmbeddingService]) -> None:
    """Background work can be cancelled."""
    embedder, service = gated
    cancellation = threading.Event()
    future = service.submit(["slow 1", "slow 2", "slow 3"], "passage", "index", cancellation)
    cancellation.set()
    embedder.gate.release(1)
    with pytest.raises(Cancelled):
        future.result(20)
    assert len(embedder.done) <= 1


def test_a_failed_load_is_a_state_and_a_sentence() -> None:
    """A model that cannot be loaded gives its callers a state and one sentence."""

    def fail() -> FakeEmbedder:
        raise ModelError("It is broken; mend it.")

    service = EmbeddingService(fail)
    with pytest.raises(ModelError, match="mend it"):
        service.embed("x")
    assert service.state().phase == "failed"
    assert service.state().problem == "It is broken; mend it."
    service.reload(FakeEmbedder).result(20)
    assert service.state().phase == "ready"
    service.close()


def test_a_reload_that_fails_keeps_the_old_model(gated: tuple[GatedEmbedder, EmbeddingService]) -> None:
    """When a reload fails, the previous model continues to serve."""
    _, service = gated

    def fail() -> FakeEmbedder:
        raise ModelError("It is broken.")

    with pytest.raises(ModelError):
        service.reload(fail).result(20)
    assert service.embed("x") is not None
    assert service.state().problem == "It is broken."


def test_similarity_is_a_cosine(gated: tuple[GatedEmbedder, EmbeddingService]) -> None:
    """The product of two texts' vectors is their cosine: 1 for equal texts."""
    first, second = gated[1].embed_batch(["a", "a"])
    assert float(first @ second) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def starcoder(tmp_path_factory: pytest.TempPathFactory) -> LocalGenerator:
    folder = tiny_checkpoints.generator(tmp_path_factory.mktemp("starcoder"), "gpt_bigcode")
    return load_generator(str(folder), LoadOptions(dtype="float32"))


def test_generation_in_every_way_is_the_same(starcoder: LocalGenerator) -> None:
    """A single request, a batch and a stream give the same text."""
    service = GenerationService(lambda _: starcoder)
    requests = [
        GenerationRequest(prompt=text, model="m", sampling=Sampling(max_tokens=12)) for text in ("def f", "x = ", "")
    ]
    single = [service.generate(request).text for request in requests]
    assert [found.text for found in service.submit_batch(requests).result()] == single
    for request, text in zip(requests, single, strict=True):
        steps = list(service.stream(request))
        assert isinstance(steps[-1], GeneratedText)
        assert steps[-1].text == text == "".join(step.text for step in steps[:-1])
    service.close()


def test_a_cancelled_text_frees_the_worker_within_a_token(starcoder: LocalGenerator) -> None:
    """A cancelled generation stops within one token."""
    service = GenerationService(lambda _: starcoder)
    cancellation, tokens = threading.Event(), []

    def on_step(step: Any) -> None:
        tokens.append(step)
        cancellation.set()

    long_request = GenerationRequest(
        prompt="x", model="m", sampling=Sampling(max_tokens=400, temperature=1, seed=1, regex="[a-z]*")
    )
    with pytest.raises(Cancelled):
        service.submit(long_request, cancellation, on_step).result(30)
    assert len(tokens) == 1
    assert (
        service.generate(GenerationRequest(prompt="y", model="m", sampling=Sampling(max_tokens=2))).prompt_tokens == 1
    )
    service.close()


def test_the_least_recently_used_model_makes_room() -> None:
    """The least recently used model is unloaded for a new one, and idle ones after the timeout."""
    now, gone = [0.0], []
    model_cache = ModelCache(10, lambda: now[0])
    for key in "abac":
        now[0] += 1
        if key in model_cache.sizes():
            model_cache.mark_used(key)
        else:
            model_cache.reserve(key, 4, lambda key=key: gone.append(key))
    assert (model_cache.sizes(), gone) == ({"a": 4, "c": 4}, ["b"])
    now[0] = 10
    model_cache.mark_used("a")
    assert model_cache.release_idle(5) == ["c"]
    assert (model_cache.sizes(), gone) == ({"a": 4}, ["b", "c"])


def test_embedder_and_generator_make_room_for_each_other(starcoder: LocalGenerator) -> None:
    """Loading one model unloads the other where both do not fit in memory."""
    model_cache = ModelCache(10)
    loads: list[str] = []
    embedding = EmbeddingService(lambda: (loads.append("embedder"), FakeEmbedder())[1], model_cache, lambda: 6)
    generation = GenerationService(lambda key: (loads.append(key), starcoder)[1], lambda _: 6, model_cache)
    request = GenerationRequest(prompt="x", model="m", sampling=Sampling(max_tokens=2))
    vector = embedding.embed("a")
    text = generation.generate(request).text
    assert (embedding.state().phase, embedding.state().name) == ("idle", "fake")
    np.testing.assert_array_equal(embedding.embed("a"), vector)
    assert (embedding.state().phase, generation.loaded()) == ("ready", {})
    assert generation.generate(request).text == text
    assert loads == ["embedder", "m", "embedder", "m"]
    assert model_cache.release_idle(0) == ["m"]
    embedding.close()
    generation.close()


def test_a_generator_whose_room_was_taken_while_it_was_loaded_serves_once(starcoder: LocalGenerator) -> None:
    """A generator that lost its memory while it was loading serves its request and is then unloaded."""
    model_cache, loads = ModelCache(10), []

    def load(key: str) -> LocalGenerator:
        loads.append(key)
        if len(loads) == 1:
            model_cache.reserve("another", 6, lambda: None)
        return starcoder

    service = GenerationService(load, lambda _: 6, model_cache)
    request = GenerationRequest(prompt="x", model="m", sampling=Sampling(max_tokens=2))
    text = service.generate(request).text
    assert (service.loaded(), list(model_cache.sizes())) == ({}, ["another"])
    assert service.generate(request).text == text
    assert (service.loaded(), loads) == ({"m": 6}, ["m", "m"])
    service.close()


def test_a_model_that_was_let_go_is_loaded_once_for_many(gated: tuple[GatedEmbedder, EmbeddingService]) -> None:
    """Simultaneous callers load an unloaded model once."""
    model_cache, loads = ModelCache(), []
    service = EmbeddingService(lambda: (loads.append(1), FakeEmbedder())[1], model_cache)
    service.embed("x")
    assert model_cache.release_idle(0) == ["embedder"]
    both = [service.submit([f"text {number}"], "passage", lane) for number in range(6) for lane in ("query", "index")]
    assert all(future.result(20).vectors.shape == (1, 64) for future in both)
    assert len(loads) == 2
    service.close()


def media_type(content: bytes) -> str:
    return "text/event-stream" if content.startswith(b"data:") else "application/json"


@contextmanager
def foreign_server(answers: dict[str, Any]) -> Iterator[str]:
    """A server that knows only OpenAI's own keys; an answer is a value, or bytes as they are."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.reply(answers[self.path])

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known = {"model", "input", "encoding_format", "prompt", "suffix", "max_tokens", "temperature", "top_p"}
            assert set(body) <= known | {"stream", "seed", "stop"}, body
            answer = answers[self.path]
            self.reply(answer(body) if callable(answer) else answer)

        def reply(self, answer: Any) -> None:
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", media_type(content))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def numbers(body: dict[str, Any]) -> dict[str, Any]:
    rows = [{"index": at, "embedding": [3.0, 4.0 * at]} for at in range(len(body["input"]))]
    return {"data": rows[::-1]}


def test_a_foreign_embedding_server() -> None:
    """Vectors from a third-party server are sorted by index and scaled to unit length."""
    with foreign_server({"/v1/models": {"data": [{"id": "other"}]}, "/v1/embeddings": numbers}) as url:
        embedder = RemoteEmbedder(f"{url}/v1/", "other")
        np.testing.assert_allclose(embedder.embed(["a", "b"]), [[1, 0], [0.6, 0.8]], atol=1e-6)
        assert embedder.dimensions == 2
        assert embedder.space.startswith("remote-")
        embedder.close()


@pytest.mark.parametrize("answer", [{}, {"data": [{"index": 0, "embedding": "!"}]}, {"data": []}, b"<html>"])
def test_a_server_that_talks_nonsense_is_a_sentence(answer: Any) -> None:
    """A malformed response of a server raises one sentence."""
    with (
        foreign_server({"/v1/models": {"data": [{"id": "m"}]}, "/v1/embeddings": answer}) as url,
        pytest.raises((ModelError, HttpError)),
    ):
        RemoteEmbedder(url, "m")


def test_a_foreign_completion_server() -> None:
    """The stream of a third-party server is read to its end."""
    events = [{"choices": [{"text": "he"}]}, {"choices": [{"text": "y", "finish_reason": "stop"}]}, {"choices": []}]
    stream = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    with foreign_server({"/v1/completions": stream}) as url:
        service = GenerationService(lambda _: pytest.fail("loaded"), remote=RemoteGenerator(f"{url}/v1", "m"))
        found = service.generate(GenerationRequest(prompt="x", model=REMOTE_MODEL, sampling=Sampling(max_tokens=3)))
        assert (found.text, found.finish) == ("hey", "stop")
        service.close()


def test_the_real_small_llama(smollm2: Path) -> None:
    """SmolLM2 with its real weights completes a line, in float32 and in int8."""
    generator = load_generator(str(smollm2), LoadOptions(dtype="float32"))
    prompt = "def add(a, b):\n    return a + b\n\ndef sub(a, b):\n    return a -"
    found = generator.generate(generator.prompt(prompt), Sampling(max_tokens=4, stop=("\n",)))
    assert found.text == " b"
    narrow = load_generator(str(smollm2), LoadOptions(dtype="int8"))
    assert narrow.generate(narrow.prompt(prompt), Sampling(max_tokens=4, stop=("\n",))).text == " b"


def test_a_model_that_was_replaced_is_freed() -> None:
    """The old weights are freed after a reload, without a garbage collection."""
    service = EmbeddingService(load_bundled)
    service.embed("x")
    weights = weakref.ref(service.embedder().forward)
    gc.disable()
    try:
        service.reload(load_bundled).result(60)
        service.embed("x")
        assert weights() is None
    finally:
        gc.enable()
    service.close()
