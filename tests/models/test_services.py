"""The services: many callers, priorities, cancellation, reloads, eviction, remote servers."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_checkpoints

from codekin.errors import Cancelled, ModelError, WireError
from codekin.models import load_generator
from codekin.models.generation import Generated, Generator
from codekin.models.generators import REMOTE, Ask, GenerationService
from codekin.models.loading import Options
from codekin.models.remote import RemoteEmbedder
from codekin.models.remote_generation import RemoteGenerator
from codekin.models.residency import Residency
from codekin.models.sampling import Sampling
from codekin.models.service import EmbeddingService
from codekin.seams import Step, TextKind
from fakes import FakeEmbedder


class GatedEmbedder:
    """Embeds text by text, each one only when the test lets it."""

    def __init__(self) -> None:
        fake = FakeEmbedder()
        self.name, self.space, self.dimensions, self.embed = fake.name, fake.space, fake.dimensions, fake.embed
        self.gate = threading.Semaphore(0)
        self.done: list[str] = []

    def steps(self, texts: Sequence[str], kind: TextKind = "passage") -> Iterator[Step]:
        for at, text in enumerate(texts):
            if text.startswith("slow"):
                assert self.gate.acquire(timeout=20)
            self.done.append(text)
            yield Step([at], self.embed([text], kind), 1)


@pytest.fixture
def gated() -> Iterator[tuple[GatedEmbedder, EmbeddingService]]:
    embedder = GatedEmbedder()
    service = EmbeddingService(lambda: embedder)
    yield embedder, service
    embedder.gate.release(1000)
    service.close()


def test_queries_pass_background_work(gated: tuple[GatedEmbedder, EmbeddingService]) -> None:
    """A query that waits for the indexing of a repository."""
    embedder, service = gated
    background = service.submit(["slow 1", "slow 2", "slow 3"], priority="index")
    assert service.embed("query").shape == (embedder.dimensions,)
    assert not background.done()
    embedder.gate.release(3)
    np.testing.assert_allclose(background.result(20).vectors, embedder.embed(["slow 1", "slow 2", "slow 3"]))


def test_background_work_can_be_withdrawn(gated: tuple[GatedEmbedder, EmbeddingService]) -> None:
    """An indexer that went away would keep the model busy."""
    embedder, service = gated
    withdrawn = threading.Event()
    future = service.submit(["slow 1", "slow 2", "slow 3"], "passage", "index", withdrawn)
    withdrawn.set()
    embedder.gate.release(1)
    with pytest.raises(Cancelled):
        future.result(20)
    assert len(embedder.done) <= 1


def test_a_failed_load_is_a_state_and_a_sentence() -> None:
    """A model that cannot be loaded would hang its callers."""

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
    """A damaged checkpoint would leave the user without a model."""
    _, service = gated

    def fail() -> FakeEmbedder:
        raise ModelError("It is broken.")

    with pytest.raises(ModelError):
        service.reload(fail).result(20)
    assert service.embed("x") is not None
    assert service.state().problem == "It is broken."


def test_similarity_is_a_cosine(gated: tuple[GatedEmbedder, EmbeddingService]) -> None:
    """Two equal texts that are not alike."""
    assert gated[1].similarity("a", "a") == pytest.approx(1.0)


@pytest.fixture(scope="module")
def starcoder(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    folder = tiny_checkpoints.generator(tmp_path_factory.mktemp("starcoder"), "gpt_bigcode")
    return load_generator(str(folder), Options(dtype="float32"))


def test_generation_in_every_way_is_the_same(starcoder: Generator) -> None:
    """A batch or a stream that gives another text than a single request."""
    service = GenerationService(lambda _: starcoder)
    asks = [Ask(prompt=text, model="m", sampling=Sampling(max_tokens=12)) for text in ("def f", "x = ", "")]
    single = [service.generate(ask).text for ask in asks]
    assert [found.text for found in service.generate_batch(asks)] == single
    for ask, text in zip(asks, single, strict=True):
        steps = list(service.stream(ask))
        assert isinstance(steps[-1], Generated)
        assert steps[-1].text == text == "".join(step.text for step in steps[:-1])
    service.close()


def test_a_withdrawn_text_frees_the_worker_within_a_token(starcoder: Generator) -> None:
    """A text nobody waits for would be written to its end."""
    service = GenerationService(lambda _: starcoder)
    withdrawn, tokens = threading.Event(), []

    def arrived(step: Any) -> None:
        tokens.append(step)
        withdrawn.set()

    asked = Ask(prompt="x", model="m", sampling=Sampling(max_tokens=400, temperature=1, seed=1, regex="[a-z]*"))
    with pytest.raises(Cancelled):
        service.submit(asked, withdrawn, arrived).result(30)
    assert len(tokens) == 1
    assert service.generate(Ask(prompt="y", model="m", sampling=Sampling(max_tokens=2))).prompt_tokens == 1
    service.close()


def test_the_model_used_least_lately_makes_room() -> None:
    """A second model that does not fit beside the first, or an idle one that keeps its memory."""
    now, gone = [0.0], []
    resident = Residency(10, lambda: now[0])
    for key in "abac":
        now[0] += 1
        if key in resident.held():
            resident.touch(key)
        else:
            resident.enter(key, 4, lambda key=key: gone.append(key))
    assert (resident.held(), gone) == ({"a": 4, "c": 4}, ["b"])
    now[0] = 10
    resident.touch("a")
    assert resident.release_idle(5) == ["c"]
    assert (resident.held(), gone) == ({"a": 4}, ["b", "c"])


def test_embedder_and_generator_make_room_for_each_other(starcoder: Generator) -> None:
    """Two models that do not fit together would fill the memory, or one would never get its turn."""
    resident = Residency(10)
    loads: list[str] = []
    embedding = EmbeddingService(lambda: (loads.append("embedder"), FakeEmbedder())[1], resident, lambda: 6)
    generation = GenerationService(lambda key: (loads.append(key), starcoder)[1], lambda _: 6, resident)
    ask = Ask(prompt="x", model="m", sampling=Sampling(max_tokens=2))
    vector = embedding.embed("a")
    text = generation.generate(ask).text
    assert (embedding.state().phase, embedding.state().name) == ("idle", "fake")
    np.testing.assert_array_equal(embedding.embed("a"), vector)
    assert (embedding.state().phase, generation.loaded()) == ("ready", {})
    assert generation.generate(ask).text == text
    assert loads == ["embedder", "m", "embedder", "m"]
    assert resident.release_idle(0) == ["m"]
    embedding.close()
    generation.close()


def test_a_generator_whose_room_was_taken_while_it_was_loaded_serves_once(starcoder: Generator) -> None:
    """It would stay beside the memory that is counted, and the status that lists it would fail for ever."""
    resident, loads = Residency(10), []

    def load(key: str) -> Generator:
        loads.append(key)
        if len(loads) == 1:
            resident.enter("another", 6, lambda: None)
        return starcoder

    service = GenerationService(load, lambda _: 6, resident)
    ask = Ask(prompt="x", model="m", sampling=Sampling(max_tokens=2))
    text = service.generate(ask).text
    assert (service.loaded(), list(resident.held())) == ({}, ["another"])
    assert service.generate(ask).text == text
    assert (service.loaded(), loads) == ({"m": 6}, ["m", "m"])
    service.close()


def test_a_model_that_was_let_go_is_loaded_once_for_many(gated: tuple[GatedEmbedder, EmbeddingService]) -> None:
    """Callers at the same time would each load the model, or wait for each other for ever."""
    resident, loads = Residency(), []
    service = EmbeddingService(lambda: (loads.append(1), FakeEmbedder())[1], resident)
    service.embed("x")
    assert resident.release_idle(0) == ["embedder"]
    both = [service.submit([f"text {number}"], "passage", lane) for number in range(6) for lane in ("query", "index")]
    assert all(future.result(20).vectors.shape == (1, 64) for future in both)
    assert len(loads) == 2
    service.close()


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
    """A server that sends lists, out of order, not of unit length, and knows none of our keys."""
    with foreign_server({"/v1/models": {"data": [{"id": "other"}]}, "/v1/embeddings": numbers}) as url:
        embedder = RemoteEmbedder(f"{url}/v1/", "other")
        np.testing.assert_allclose(embedder.embed(["a", "b"]), [[1, 0], [0.6, 0.8]], atol=1e-6)
        assert embedder.dimensions == 2
        assert embedder.space.startswith("remote-")
        embedder.close()


@pytest.mark.parametrize("answer", [{}, {"data": [{"index": 0, "embedding": "!"}]}, {"data": []}, b"<html>"])
def test_a_server_that_talks_nonsense_is_a_sentence(answer: Any) -> None:
    """A wrong URL would end in a trace, or in vectors of nothing."""
    with (
        foreign_server({"/v1/models": {"data": [{"id": "m"}]}, "/v1/embeddings": answer}) as url,
        pytest.raises((ModelError, WireError)),
    ):
        RemoteEmbedder(url, "m")


def test_a_foreign_completion_server() -> None:
    """A stream of another server that is not understood."""
    events = [{"choices": [{"text": "he"}]}, {"choices": [{"text": "y", "finish_reason": "stop"}]}, {"choices": []}]
    stream = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    with foreign_server({"/v1/completions": stream}) as url:
        service = GenerationService(lambda _: pytest.fail("loaded"), remote=RemoteGenerator(f"{url}/v1", "m"))
        found = service.generate(Ask(prompt="x", model=REMOTE, sampling=Sampling(max_tokens=3)))
        assert (found.text, found.finish) == ("hey", "stop")
        service.close()


def test_the_real_small_llama(smollm2: Path) -> None:
    """A real model, whose text shows what random weights would not."""
    generator = load_generator(str(smollm2), Options(dtype="float32"))
    prompt = "def add(a, b):\n    return a + b\n\ndef sub(a, b):\n    return a -"
    found = generator.generate(generator.prompt(prompt), Sampling(max_tokens=4, stop=("\n",)))
    assert found.text == " b"
    narrow = load_generator(str(smollm2), Options(dtype="int8"))
    assert narrow.generate(narrow.prompt(prompt), Sampling(max_tokens=4, stop=("\n",))).text == " b"
