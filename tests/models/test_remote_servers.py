"""Servers in the place of local models: one that somebody else wrote, and ones that are slow, busy or gone."""

import contextlib
import gzip
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest
import tiny_checkpoints

from codekin.errors import Cancelled, HttpError, ModelError
from codekin.models.embedding.remote import RemoteEmbedder
from codekin.models.generation.service import MAX_TOKEN_CHARACTERS, GenerationService, RemoteGenerator
from codekin.models.loading import LoadOptions, choose_embedder, load_generator
from codekin.protocols import REMOTE_MODEL, GeneratedText, GenerationRequest, Sampling
from codekin.settings import ModelSettings, RemoteSettings

PROMPT = "def add(a, b):\n    return a + b\n\ndef sub(a, b):\n"


@pytest.fixture(scope="module")
def model(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 with the name of its class, which the server wants to know."""
    folder = tmp_path_factory.mktemp("model")
    for file in smollm2.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "config.json").unlink()
    config = json.loads((smollm2 / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForCausalLM"]}))
    return folder


@pytest.fixture(scope="module")
def served(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of transformers' own server, with SmolLM2 behind it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path_factory.mktemp("hub"))}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}/v1"
            until = time.monotonic() + 200
            while not answers(url):
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.5)
            yield url
        finally:
            process.terminate()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/models").is_success
    except httpx.HTTPError:
        return False


def test_a_server_of_others_writes_what_the_model_here_would(served: str, model: Path, smollm2: Path) -> None:
    """Text from a third-party server equals that of the same model run locally."""
    remote = RemoteGenerator(served, str(model))
    remote.check()
    assert remote.problem == ""
    service = GenerationService(lambda _: pytest.fail("loaded"), remote=remote)
    request = GenerationRequest(prompt=PROMPT, model=REMOTE_MODEL, sampling=Sampling(max_tokens=12, temperature=0))
    generator = load_generator(str(smollm2), LoadOptions(dtype="float32"))
    expected = generator.generate(generator.prompt(PROMPT), Sampling(max_tokens=12))
    found = service.generate(request)
    assert found.text.strip() == expected.text.strip()
    assert found.finish == expected.finish
    steps = list(service.stream(request))
    assert "".join(step.text for step in steps[:-1]) == found.text
    service.close()


def test_a_text_of_a_foreign_server_is_cancelled(served: str, model: Path) -> None:
    """Cancelling a request ends the generation at a remote server."""
    service = GenerationService(lambda _: pytest.fail("loaded"), remote=RemoteGenerator(served, str(model)))
    cancellation, received = threading.Event(), []
    request = GenerationRequest(prompt=PROMPT, model=REMOTE_MODEL, sampling=Sampling(max_tokens=2000, temperature=0))
    future = service.submit(request, cancellation, lambda step: (received.append(step), cancellation.set()))
    with pytest.raises(Cancelled):
        future.result(60)
    assert len(received) == 1
    service.close()


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler, int], None]) -> Iterator[str]:
    """A server whose answers are written by `answer`, which is told how many requests came before."""
    count = iter(range(1000))

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer(self, next(count))

        do_GET = do_POST  # noqa: N815 - their names

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # a client that has gone

    found = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{found.server_address[1]}"
    finally:
        found.shutdown()
        found.server_close()


def say(request: BaseHTTPRequestHandler, status: int, content: bytes, length: int | None = None) -> None:
    request.send_response(status)
    is_stream = content.startswith(b"data:")
    request.send_header("Content-Type", "text/event-stream" if is_stream else "application/json")
    request.send_header("Content-Length", str(len(content) if length is None else length))
    request.end_headers()
    request.wfile.write(content)
    request.wfile.flush()


GOOD = b'data: {"choices": [{"text": "hi", "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
REQUEST = GenerationRequest(prompt="x", model=REMOTE_MODEL, sampling=Sampling(max_tokens=5))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.generator(tmp_path_factory.mktemp("tiny"), "llama")


def test_a_request_to_a_busy_server_is_repeated() -> None:
    """A request to a busy server is repeated."""
    with server(lambda request, number: say(request, *((503, b"") if number < 2 else (200, GOOD)))) as url:
        remote = RemoteGenerator(url, "m")
        service = GenerationService(lambda _: pytest.fail("loaded"), remote=remote)
        assert (service.generate(REQUEST).text, remote.problem) == ("hi", "")
        service.close()


def test_a_local_generator_answers_for_a_server_that_is_down(tiny: Path) -> None:
    """While a server is down the local generator responds; without one, the error names the status."""
    generator = load_generator(str(tiny), LoadOptions(dtype="float32"))
    requests = []
    with server(lambda request, number: (requests.append(number), say(request, 500, b""))) as url:
        remote = RemoteGenerator(url, "m")
        alone = GenerationService(lambda _: generator, remote=remote)
        with pytest.raises(ModelError, match="status 500"):
            alone.generate(REQUEST)
        assert not remote.is_up()
        assert "status 500" in remote.problem
        alone.close()
        helped = GenerationService(lambda _: generator, remote=RemoteGenerator(url, "m"), fallback=lambda: "tiny")
        here = GenerationRequest(prompt="x", model="tiny", sampling=REQUEST.sampling)
        assert helped.generate(REQUEST).text == helped.generate(here).text
        helped.close()


def test_half_an_answer_is_not_completed_by_another_model(tiny: Path) -> None:
    """A response that breaks off is an error, and no other model continues it."""
    half = GOOD[: GOOD.index(b"\n\n") + 2].replace(b'"stop"', b"null")
    with server(lambda request, _: say(request, 200, half, length=5000)) as url:
        generator = load_generator(str(tiny), LoadOptions(dtype="float32"))
        service = GenerationService(lambda _: generator, remote=RemoteGenerator(url, "m"), fallback=lambda: "tiny")
        with pytest.raises(ModelError, match="cannot be reached"):
            service.generate(REQUEST)
        service.close()


def silent(request: BaseHTTPRequestHandler, number: int) -> None:
    if number:
        time.sleep(30)
    say(request, 200, b'{"data": [{"id": "m", "space": "s", "dimensions": 2}]}')


def test_a_request_to_a_silent_server_is_left_at_once() -> None:
    """A cancelled query frees the connection at once."""
    with server(silent) as url:
        embedder = RemoteEmbedder(url, "m", timeout=25)
        steps = embedder.embed_batches(["text"])
        began = time.monotonic()
        assert next(steps).positions == []
        steps.close()
        generator = RemoteGenerator(url, "m", timeout=25)
        words = generator.generate_steps(REQUEST)
        assert next(words).text == ""
        words.close()
        embedder.close()
        generator.close()
        assert time.monotonic() - began < 20


def test_a_silent_server_is_given_up(tiny: Path) -> None:
    """A server that accepts a request and never responds is abandoned after the timeout."""
    with server(silent) as url:
        embedder = RemoteEmbedder(url, "m", timeout=1)
        with pytest.raises(HttpError, match="did not answer in time"):
            embedder.embed(["text"])
        generator = RemoteGenerator(url, "m", timeout=1)
        with pytest.raises(HttpError, match="did not answer in time"):
            list(generator.generate_steps(REQUEST))
        embedder.close()
        generator.close()


def test_many_texts_are_sent_in_batches() -> None:
    """Many texts are sent in batches, and the vectors are in the order of the texts."""
    sizes = []

    def embed(request: BaseHTTPRequestHandler, number: int) -> None:
        if request.command == "GET":
            return say(request, 200, b'{"data": [{"id": "m"}]}')
        if number % 3 == 2:
            return say(request, 429, b"")
        rows = ", ".join(f'{{"index": {at}, "embedding": [1.0, {len(sizes)}.0]}}' for at in range(counts[len(sizes)]))
        sizes.append(counts[len(sizes)])
        return say(request, 200, f'{{"data": [{rows}]}}'.encode())

    counts = [1, 4, 4, 2]
    with server(embed) as url:
        embedder = RemoteEmbedder(url, "m", texts_per_request=4)
        vectors = embedder.embed([str(number) for number in range(10)])
        embedder.close()
    assert sizes == counts
    np.testing.assert_allclose(vectors[:, 1] / vectors[:, 0], [1] * 4 + [2] * 4 + [3] * 2, rtol=1e-5)


def _good_embeddings(number: int) -> bytes:
    del number
    return b'{"data": [{"index": 0, "embedding": [3.0, 4.0]}]}'


MODELS = [b"[1]", b'{"data": "xyz"}', b'{"data": null}', b'{"data": [{}]}', b'{"data": [{"id": 5}]}', b"[" * 200_000]
SPACES = [b"10000000000000", b"-5", b'"no"', b"null", b"1e400"]


@pytest.mark.parametrize(
    "models", [*MODELS, *(b'{"data": [{"id": "m", "space": "x", "dimensions": ' + size + b"}]}" for size in SPACES)]
)
def test_a_list_of_models_that_is_none_is_one_sentence(models: bytes) -> None:
    """Whatever a server says of its models, it is OpenAI's format or a ModelError, and another embedder stands in."""
    with server(
        lambda request, number: say(request, 200, models if request.command == "GET" else _good_embeddings(number))
    ) as url:
        with pytest.raises((ModelError, HttpError)):
            RemoteEmbedder(url)
        embedder = choose_embedder(ModelSettings(remote=RemoteSettings(url=url, model="m")))
        assert embedder.name == "codekin_embed"
        assert embedder.note


@pytest.mark.parametrize(
    "embeddings",
    [
        b"null",
        b"[]",
        b'{"data": null}',
        b'{"data": [{"index": Infinity, "embedding": [1, 2]}]}',
        b'{"data": [{"index": 1, "embedding": [1, 2]}]}',
        b'{"data": [{"index": [], "embedding": [1, 2]}]}',
        b'{"data": [{"index": 0, "embedding": [[1, 2]]}]}',
        b'{"data": [{"index": 0, "embedding": []}]}',
        b'{"data": [{"index": 0, "embedding": null}]}',
        b'{"data": [{"index": 0, "embedding": [1e39, 1]}]}',
        b'{"data": [{"index": 0, "embedding": [NaN, 1]}]}',
        b'{"data": [{"index": 0, "embedding": ["a", "b"]}]}',
        b'{"data": [{"index": 0, "embedding": "!!!"}]}',
        b'{"data": [{"index": 0, "embedding": "YWJj"}]}',
        b"<html>",
        b"[" * 200_000,
    ],
)
def test_embeddings_that_are_none_are_one_sentence(embeddings: bytes) -> None:
    """Missing, nested, infinite, unnumbered or undecodable vectors are refused."""
    with (
        server(
            lambda request, _: say(request, 200, b'{"data": [{"id": "m"}]}' if request.command == "GET" else embeddings)
        ) as url,
        pytest.raises((ModelError, HttpError)),
    ):
        RemoteEmbedder(url, "m")


@pytest.mark.parametrize(
    "event",
    [b"[1]", b"5", b'{"choices": 5}', b'{"choices": [5]}', b'{"choices": [{"text": 5}]}', b"{}", b"[" * 200_000],
)
def test_completions_that_are_none_are_one_sentence(event: bytes) -> None:
    """What is not OpenAI's event is refused; the local generator may answer."""
    with server(lambda request, _: say(request, 200, b"data: " + event + b"\n\n")) as url:
        generator = RemoteGenerator(url, "m")
        with pytest.raises((ModelError, HttpError)):
            list(generator.generate_steps(REQUEST))
        assert generator.problem
        generator.close()


def test_a_text_is_cut_where_no_so_many_tokens_can_reach() -> None:
    """A server that sends more than it was asked for is left, and lone surrogates are replaced."""
    event = b'data: {"choices": [{"text": "\\ud800' + b"x" * 5_000 + b'"}]}\n\n'
    with server(lambda request, _: say(request, 200, event * 20)) as url:
        generator = RemoteGenerator(url, "m")
        *_, last = generator.generate_steps(REQUEST)
        generator.close()
    assert isinstance(last, GeneratedText)
    assert (len(last.text), last.finish) == (REQUEST.sampling.max_tokens * MAX_TOKEN_CHARACTERS, "length")
    assert last.text.startswith("?x")


def _endless(request: BaseHTTPRequestHandler, number: int) -> None:
    del number
    request.send_response(200)
    request.send_header("Content-Type", "text/event-stream")
    request.end_headers()
    with contextlib.suppress(OSError):
        for _ in range(400):
            request.wfile.write(b" " * (1 << 20))


def _compressed(request: BaseHTTPRequestHandler, number: int) -> None:
    del number
    request.send_response(200)
    request.send_header("Content-Encoding", "gzip")
    request.end_headers()
    with contextlib.suppress(OSError):
        request.wfile.write(gzip.compress(b" " * (1 << 26)))


def _dripping(request: BaseHTTPRequestHandler, number: int) -> None:
    del number
    request.send_response(200)
    request.end_headers()
    with contextlib.suppress(OSError):
        for _ in range(100):
            request.wfile.write(b" ")
            request.wfile.flush()
            time.sleep(0.2)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [(_endless, "too large"), (_compressed, "compresses"), (_dripping, "did not answer in time")],
)
def test_an_answer_has_an_end(answer: Callable[[BaseHTTPRequestHandler, int], None], sentence: str) -> None:
    """Bytes and time of a whole answer are bounded, for vectors and for text."""
    with server(answer) as url:
        with pytest.raises(HttpError, match=sentence):
            RemoteEmbedder(url, "m", timeout=0.5)
        generator = RemoteGenerator(url, "m", timeout=0.5)
        with pytest.raises(HttpError, match=sentence):
            list(generator.generate_steps(REQUEST))
        generator.close()


def test_user_and_password_of_a_url_are_never_shown() -> None:
    """They reach the server and no message."""
    seen = []
    with server(lambda request, _: (seen.append(request.headers["Authorization"]), say(request, 404, b"{}"))) as url:
        address = url.replace("://", "://alice:secret@")
        with pytest.raises(HttpError) as failure:
            RemoteEmbedder(address, "m")
        generator = RemoteGenerator(address, "m")
        with pytest.raises(HttpError):
            list(generator.generate_steps(REQUEST))
        generator.close()
    assert seen[0].startswith("Basic ")
    assert "secret" not in str(failure.value) + generator.problem
    assert url in str(failure.value)
