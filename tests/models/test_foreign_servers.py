"""Servers in the place of local models: one that somebody else wrote, and ones that are slow, busy or gone."""

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

from codekin.errors import Cancelled, ModelError, WireError
from codekin.models import load_generator
from codekin.models.generators import REMOTE, Ask, GenerationService
from codekin.models.loading import Options
from codekin.models.remote import RemoteEmbedder
from codekin.models.remote_generation import RemoteGenerator
from codekin.models.sampling import Sampling

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
    """A request that another server understands differently, or an answer of it that is read wrongly."""
    remote = RemoteGenerator(served, str(model))
    remote.check()
    assert remote.problem == ""
    service = GenerationService(lambda _: pytest.fail("loaded"), remote=remote)
    ask = Ask(prompt=PROMPT, model=REMOTE, sampling=Sampling(max_tokens=12, temperature=0))
    generator = load_generator(str(smollm2), Options(dtype="float32"))
    expected = generator.generate(generator.prompt(PROMPT), Sampling(max_tokens=12))
    found = service.generate(ask)
    assert found.text.strip() == expected.text.strip()
    assert found.finish == expected.finish
    steps = list(service.stream(ask))
    assert "".join(step.text for step in steps[:-1]) == found.text
    service.close()


def test_a_text_of_a_server_of_others_is_withdrawn(served: str, model: Path) -> None:
    """A text that nobody waits for would be waited for to its end."""
    service = GenerationService(lambda _: pytest.fail("loaded"), remote=RemoteGenerator(served, str(model)))
    withdrawn, pieces = threading.Event(), []
    ask = Ask(prompt=PROMPT, model=REMOTE, sampling=Sampling(max_tokens=2000, temperature=0))
    future = service.submit(ask, withdrawn, lambda step: (pieces.append(step), withdrawn.set()))
    with pytest.raises(Cancelled):
        future.result(60)
    assert len(pieces) == 1
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
    request.send_header("Content-Length", str(len(content) if length is None else length))
    request.end_headers()
    request.wfile.write(content)
    request.wfile.flush()


GOOD = b'data: {"choices": [{"text": "hi", "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
ASK = Ask(prompt="x", model=REMOTE, sampling=Sampling(max_tokens=5))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.generator(tmp_path_factory.mktemp("tiny"), "llama")


def test_a_busy_server_is_asked_again() -> None:
    """A server that is busy for a moment would cost the answer."""
    with server(lambda request, number: say(request, *((503, b"") if number < 2 else (200, GOOD)))) as url:
        remote = RemoteGenerator(url, "m")
        service = GenerationService(lambda _: pytest.fail("loaded"), remote=remote)
        assert (service.generate(ASK).text, remote.problem) == ("hi", "")
        service.close()


def test_a_local_generator_answers_for_a_server_that_is_down(tiny: Path) -> None:
    """A server that is down would leave the user without completions, or ask it with every key."""
    generator = load_generator(str(tiny), Options(dtype="float32"))
    asked = []
    with server(lambda request, number: (asked.append(number), say(request, 500, b""))) as url:
        remote = RemoteGenerator(url, "m")
        alone = GenerationService(lambda _: generator, remote=remote)
        with pytest.raises(ModelError, match="status 500"):
            alone.generate(ASK)
        assert not remote.is_up()
        assert "status 500" in remote.problem
        alone.close()
        helped = GenerationService(lambda _: generator, remote=RemoteGenerator(url, "m"), stand_in=lambda: "tiny")
        here = Ask(prompt="x", model="tiny", sampling=ASK.sampling)
        assert helped.generate(ASK).text == helped.generate(here).text
        helped.close()


def test_half_an_answer_is_not_completed_by_another_model(tiny: Path) -> None:
    """A text that begins with one model's words and ends with another's."""
    half = GOOD[: GOOD.index(b"\n\n") + 2].replace(b'"stop"', b"null")
    with server(lambda request, _: say(request, 200, half, length=5000)) as url:
        generator = load_generator(str(tiny), Options(dtype="float32"))
        service = GenerationService(lambda _: generator, remote=RemoteGenerator(url, "m"), stand_in=lambda: "tiny")
        with pytest.raises(ModelError, match="cannot be reached"):
            service.generate(ASK)
        service.close()


def silent(request: BaseHTTPRequestHandler, number: int) -> None:
    if number:
        time.sleep(30)
    say(request, 200, b'{"data": [{"id": "m", "space": "s", "dimensions": 2}]}')


def test_a_request_to_a_silent_server_is_left_at_once() -> None:
    """A query that was withdrawn would hold up all others until the time is over."""
    with server(silent) as url:
        embedder = RemoteEmbedder(url, "m", timeout=25)
        steps = embedder.steps(["text"])
        began = time.monotonic()
        assert next(steps).positions == []
        steps.close()
        generator = RemoteGenerator(url, "m", timeout=25)
        words = generator.steps(ASK)
        assert next(words).text == ""
        words.close()
        embedder.close()
        generator.close()
        assert time.monotonic() - began < 20


def test_a_silent_server_is_given_up(tiny: Path) -> None:
    """A server that takes requests and never answers would hold a worker for ever."""
    with server(silent) as url:
        embedder = RemoteEmbedder(url, "m", timeout=1)
        with pytest.raises(WireError, match="did not answer in time"):
            embedder.embed(["text"])
        generator = RemoteGenerator(url, "m", timeout=1)
        with pytest.raises(WireError, match="did not answer in time"):
            list(generator.steps(ASK))
        embedder.close()
        generator.close()


def test_many_texts_are_sent_in_batches() -> None:
    """One request with a whole repository in it, or vectors in another order than the texts."""
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
