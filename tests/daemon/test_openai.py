"""The OpenAI endpoints of a running daemon, asked by the official client over the socket and the loopback."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

import tiny_checkpoints

from codekin import places
from codekin.errors import ModelError
from codekin.models.drafting import prompt_lookup
from codekin.models.loading import Options, choose_embedder, load_generator
from codekin.models.remote import RemoteEmbedder
from codekin.models.sampling import Sampling
from codekin.settings import ModelSettings, RemoteSettings

TEXTS = ["def add(a, b), do: a + b", "int add(int a, int b) { return a + b; }", "the weather"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running daemon's data folder, with a small generator and a loopback port."""
    data, config = (tmp_path_factory.mktemp(name) for name in ("data", "config"))
    model = tiny_checkpoints.generator(tmp_path_factory.mktemp("model"), "gpt_bigcode")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    row = f'hub_id = "{model}"\nrole = "generator"\narchitecture = "gpt_bigcode"\ninfill = "starcoder"\nend_id = 0\n'
    row += "context = 512"
    (config / "settings.toml").write_text(
        f"[daemon]\nloopback_port = {port}\n[models]\ndtype = 'float32'\n[models.catalogue.tiny]\n{row}\n"
    )
    (data / "port").write_text(str(port))
    (data / "model").write_text(str(model))
    environment = {**os.environ, "CODEKIN_CONFIG_DIR": str(config), "CODEKIN_DATA_DIR": str(data)}
    run = [sys.executable, "-m", "codekin"]
    subprocess.run([*run, "daemon", "start", "--data-dir", str(data)], env=environment, check=True, timeout=110)
    # The token is made when the first caller over TCP needs one.
    httpx.get(f"http://127.0.0.1:{port}/v1/models")
    yield data
    subprocess.run([*run, "daemon", "stop", "--data-dir", str(data)], env=environment, check=True, timeout=60)


@pytest.fixture(scope="module", params=["socket", "loopback"])
def client(request: pytest.FixtureRequest, data: Path) -> Iterator[openai.OpenAI]:
    if request.param == "socket":
        transport = httpx.HTTPTransport(uds=str(places.socket_path(data)))
        http = httpx.Client(transport=transport)
        found = openai.OpenAI(base_url="http://codekin/v1", api_key="unused", http_client=http, max_retries=0)
    else:
        port, token = (data / "port").read_text(), (data / "token").read_text().strip()
        found = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=token, max_retries=0)
    with found:
        yield found


def test_models_are_listed(client: openai.OpenAI) -> None:
    """A client that cannot find out what it may ask for."""
    assert {"codekin_embed", "tiny"} <= {row.id for row in client.models.list()}


def test_embeddings_in_both_encodings(client: openai.OpenAI) -> None:
    """Vectors that differ by encoding, or come in another order."""
    coded = client.embeddings.create(model="codekin_embed", input=TEXTS)
    plain = client.embeddings.create(model="codekin_embed", input=TEXTS, encoding_format="float")
    first, second = (np.array([row.embedding for row in each.data]) for each in (coded, plain))
    np.testing.assert_allclose(first, second, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
    assert first[0] @ first[1] > first[0] @ first[2]
    assert coded.usage.prompt_tokens > len(TEXTS)


def test_wrong_requests_are_sentences(client: openai.OpenAI) -> None:
    """A wrong request would be a 500, or be answered with something else."""
    with pytest.raises(openai.BadRequestError, match="must be one of 384"):
        client.embeddings.create(model="codekin_embed", input="x", dimensions=7)
    with pytest.raises(openai.ConflictError, match="is not loaded"):
        client.embeddings.create(model="text-embedding-3-small", input="x")
    with pytest.raises(openai.ConflictError, match="There is no model"):
        client.completions.create(model="../../tiny", prompt="x")
    with pytest.raises(openai.BadRequestError, match="shorten the prompt"):
        client.completions.create(model="tiny", prompt="x y " * 600)
    with pytest.raises(openai.BadRequestError, match="`n` is not offered"):
        client.completions.create(model="tiny", prompt="x", n=2)


def test_completions_whole_and_streamed(client: openai.OpenAI, data: Path) -> None:
    """A streamed text that is not the whole one, or is not what the model says."""
    generator = load_generator((data / "model").read_text(), Options(dtype="float32"))
    expected = generator.generate(generator.prompt("def f"), Sampling(max_tokens=20))
    whole = client.completions.create(model="tiny", prompt="def f", max_tokens=20, temperature=0, logprobs=2)
    chunks = list(
        client.completions.create(
            model="tiny",
            prompt="def f",
            max_tokens=20,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert whole.choices[0].text == expected.text
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == expected.text
    assert whole.choices[0].finish_reason == expected.finish
    assert whole.usage is not None
    assert whole.usage.completion_tokens == len(expected.tokens) == chunks[-1].usage.completion_tokens
    assert len(whole.choices[0].logprobs.token_logprobs) == len(expected.tokens)


def test_several_prompts_are_answered_in_their_order(client: openai.OpenAI) -> None:
    """Texts that are written side by side would change places, or differ from those of single requests."""
    prompts = ["def f", "return return", "x = ", "y"]
    options = {"model": "tiny", "max_tokens": 9, "temperature": 0}
    together = client.completions.create(prompt=prompts, **options)
    assert [choice.index for choice in together.choices] == [0, 1, 2, 3]
    alone = [client.completions.create(prompt=prompt, **options).choices[0].text for prompt in prompts]
    assert [choice.text for choice in together.choices] == alone


def test_a_suffix_fills_the_gap(client: openai.OpenAI, data: Path) -> None:
    """A suffix that is ignored."""
    generator = load_generator((data / "model").read_text(), Options(dtype="float32"))
    from dataclasses import replace

    generator.model = replace(generator.model, infill="starcoder")
    expected = generator.generate(generator.infill("def f(", "):"), Sampling(max_tokens=10), prompt_lookup())
    found = client.completions.create(model="tiny", prompt="def f(", suffix="):", max_tokens=10, temperature=0)
    assert found.choices[0].text == expected.text


def test_a_constraint_and_stop_strings(client: openai.OpenAI) -> None:
    """Extras of ours that are dropped on the way."""
    body = {"regex": "[0-9]{3}-[0-9]{3}"}
    found = client.completions.create(model="tiny", prompt="x", max_tokens=30, temperature=1, extra_body=body)
    assert len(found.choices[0].text) == 7
    cut = client.completions.create(model="tiny", prompt="x", max_tokens=30, stop="-", temperature=1, extra_body=body)
    assert cut.choices[0].text.isdigit()


def test_leaving_a_stream_leaves_the_worker_free(client: openai.OpenAI) -> None:
    """An abandoned text would spoil or block the next one."""
    expected = client.completions.create(model="tiny", prompt="y", max_tokens=9, temperature=0).choices[0].text
    for _ in range(5):
        with client.completions.create(model="tiny", prompt="x", max_tokens=480, temperature=1, stream=True) as stream:
            next(iter(stream))
    found = client.completions.create(model="tiny", prompt="y", max_tokens=9, temperature=0)
    assert found.choices[0].text == expected


def test_many_at_once(client: openai.OpenAI) -> None:
    """Requests at the same time that get each other's answers."""
    found: dict[str, list[float]] = {}

    def ask(text: str) -> None:
        found[text] = client.embeddings.create(model="codekin_embed", input=text).data[0].embedding

    threads = [threading.Thread(target=ask, args=(f"{TEXTS[0]} {number}",)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for text, vector in found.items():
        again = client.embeddings.create(model="codekin_embed", input=text).data[0].embedding
        np.testing.assert_allclose(vector, again, atol=2e-3)


def test_the_loopback_wants_the_token(client: openai.OpenAI, data: Path) -> None:
    """Any program of the machine could use the models."""
    url = f"http://127.0.0.1:{(data / 'port').read_text()}/v1"
    with (
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()
    assert client.models.list().data


def test_our_own_daemon_as_a_remote_server(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other direction of the protocol: a server of the settings in place of a local model."""
    monkeypatch.setenv("MY_TOKEN", (data / "token").read_text().strip())
    url = f"http://127.0.0.1:{(data / 'port').read_text()}/v1"
    remote = choose_embedder(
        ModelSettings(remote=RemoteSettings(url=url, model="codekin_embed", api_key_env="MY_TOKEN"))
    )
    assert isinstance(remote, RemoteEmbedder)
    near = RemoteEmbedder(places.socket_path(data))
    np.testing.assert_allclose(remote.embed(TEXTS * 30), near.embed(TEXTS * 30), atol=2e-3)
    assert remote.space == near.space
    for each in (remote, near):
        each.close()
    with pytest.raises(ModelError, match="it offers"):
        RemoteEmbedder(url, "other", api_key=os.environ["MY_TOKEN"])


def test_a_server_that_is_down_is_replaced_and_named() -> None:
    """A remote server that is down would leave the user without an embedder, or without a word."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        embedder = choose_embedder(ModelSettings(remote=RemoteSettings(url=url, model="m")))
    assert embedder.name == "codekin_embed"
    assert url in embedder.note  # type: ignore[attr-defined]
