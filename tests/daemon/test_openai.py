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

from codekin import paths
from codekin.errors import ModelError
from codekin.models.embedding.remote import RemoteEmbedder
from codekin.models.loading import LoadOptions, choose_embedder, load_generator
from codekin.protocols import Sampling
from codekin.settings import ModelSettings, RemoteSettings
from fakes import copy_earlier_tokens

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
    row += 'context = 512\nchat = "llama2"'
    (config / "settings.toml").write_text(
        f"[daemon]\nloopback_port = {port}\n[models]\ndtype = 'float32'\n[models.catalogue.tiny]\n{row}\n"
    )
    (data / "port").write_text(str(port))
    (data / "model").write_text(str(model))
    environment = {**os.environ, "CODEKIN_CONFIG_DIR": str(config), "CODEKIN_DATA_DIR": str(data)}
    run = [sys.executable, "-m", "codekin"]
    subprocess.run([*run, "daemon", "start", "--data-dir", str(data)], env=environment, check=True, timeout=110)
    yield data
    subprocess.run([*run, "daemon", "stop", "--data-dir", str(data)], env=environment, check=True, timeout=60)


@pytest.fixture(scope="module", params=["socket", "loopback"])
def client(request: pytest.FixtureRequest, data: Path) -> Iterator[openai.OpenAI]:
    if request.param == "socket":
        transport = httpx.HTTPTransport(uds=str(paths.socket_path(data)))
        http = httpx.Client(transport=transport)
        found = openai.OpenAI(base_url="http://codekin/v1", api_key="unused", http_client=http, max_retries=0)
    else:
        port, token = (data / "port").read_text(), (data / "token").read_text().strip()
        found = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=token, max_retries=0)
    with found:
        yield found


def test_models_are_listed(client: openai.OpenAI) -> None:
    """A client can find out which models there are."""
    assert {"codekin_embed", "tiny"} <= {row.id for row in client.models.list()}


def test_embeddings_in_both_encodings(client: openai.OpenAI) -> None:
    """Both encodings give the same vectors in the order of the texts."""
    coded = client.embeddings.create(model="codekin_embed", input=TEXTS)
    plain = client.embeddings.create(model="codekin_embed", input=TEXTS, encoding_format="float")
    first, second = (np.array([row.embedding for row in each.data]) for each in (coded, plain))
    np.testing.assert_allclose(first, second, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
    assert first[0] @ first[1] > first[0] @ first[2]
    assert coded.usage.prompt_tokens > len(TEXTS)


def test_wrong_requests_are_sentences(client: openai.OpenAI) -> None:
    """A wrong request is refused with the status of its kind and a sentence."""
    with pytest.raises(openai.BadRequestError, match="must be one of 384"):
        client.embeddings.create(model="codekin_embed", input="x", dimensions=7)
    with pytest.raises(openai.BadRequestError, match="shorten the prompt"):
        client.completions.create(model="tiny", prompt="x y " * 600)
    with pytest.raises(openai.BadRequestError, match="must be float or base64"):
        client.embeddings.create(model="codekin_embed", input="x", encoding_format="int8")  # type: ignore[arg-type]
    with pytest.raises(openai.BadRequestError, match="holds the token 999999"):
        client.completions.create(model="tiny", prompt=[1, 999999])
    with pytest.raises(openai.BadRequestError, match="must end with what the user says"):
        client.chat.completions.create(model="tiny", messages=[{"role": "system", "content": "x"}])


@pytest.mark.parametrize("name", ["text-embedding-3-small", "../../tiny", "gpt-4o"])
def test_an_unknown_model_is_not_found(client: openai.OpenAI, name: str) -> None:
    """A model that is not here is 404 with OpenAI's code, which clients do not repeat, by every way."""
    hi = [{"role": "user", "content": "hi"}]
    requests = [
        lambda: client.embeddings.create(model=name, input="x"),
        lambda: client.completions.create(model=name, prompt="x"),
        lambda: client.completions.create(model=name, prompt="x", stream=True),
        lambda: client.chat.completions.create(model=name, messages=hi),  # type: ignore[list-item,arg-type]
        lambda: client.models.retrieve(name),
    ]
    for request in requests:
        with pytest.raises(openai.NotFoundError) as raised:
            request()
        assert (raised.value.code, raised.value.param, raised.value.type) == (
            "model_not_found",
            "model",
            "invalid_request_error",
        )
    assert client.models.retrieve("tiny").id == "tiny"


def test_what_is_not_there_is_told_in_openais_form(client: openai.OpenAI) -> None:
    """An unknown path is JSON with OpenAI's four keys."""
    with pytest.raises(openai.NotFoundError) as raised:
        client.responses.create(model="tiny", input="hi")
    assert {"message", "type", "param", "code"} <= raised.value.body.keys()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "extra",
    [{"tools": [{"type": "function"}]}, {"response_format": {"type": "json_object"}}, {"typo_key": 1}, {"min_p": 0.5}],
)
def test_nothing_that_would_change_the_answer_is_ignored(client: openai.OpenAI, extra: dict[str, object]) -> None:
    """A parameter that is not offered is refused by name; what has no effect here is taken."""
    options = {"model": "tiny", "max_tokens": 2}
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(messages=[{"role": "user", "content": "x"}], extra_body=extra, **options)  # type: ignore[call-overload]
    assert raised.value.param == next(iter(extra))
    with pytest.raises(openai.BadRequestError):
        client.completions.create(prompt="x", extra_body=extra, **options)  # type: ignore[call-overload]
    harmless = {"user": "me", "metadata": {}, "typo_key": None}
    assert client.completions.create(prompt="x", extra_body=harmless, **options).choices  # type: ignore[call-overload]


def test_penalties_and_biases_change_the_text(client: openai.OpenAI, data: Path) -> None:
    """A token that is forbidden does not come, and one that is preferred comes; what is out of bounds is named."""
    generator = load_generator((data / "model").read_text(), LoadOptions(dtype="float32"))
    plain = generator.generate(generator.prompt("def f"), Sampling(max_tokens=12)).tokens
    repeated = next(token for token in plain if generator.vocabulary.bytes_of[token].isalnum())
    options = {"model": "tiny", "prompt": "def f", "max_tokens": 12, "temperature": 0, "logprobs": 0}

    def tokens(**more: object) -> list[str]:
        return client.completions.create(**options, **more).choices[0].logprobs.tokens  # type: ignore[call-overload,no-any-return]

    text_of = generator.vocabulary.bytes_of[repeated].decode("utf-8", "replace")
    assert text_of in tokens()
    assert text_of not in tokens(logit_bias={str(repeated): -100})
    assert set(tokens(logit_bias={str(repeated): 100})) == {text_of}
    with pytest.raises(openai.BadRequestError, match="between -2 and 2"):
        tokens(frequency_penalty=3)
    with pytest.raises(openai.BadRequestError, match="names the token"):
        tokens(logit_bias={"999999": 1})


def test_several_texts_of_a_prompt(client: openai.OpenAI) -> None:
    """n texts with seeds of their own, the best of several, and the prompt in front."""
    options = {"model": "tiny", "max_tokens": 6, "seed": 5}
    drawn = client.completions.create(prompt=["def f", "x = "], n=3, **options)
    assert [choice.index for choice in drawn.choices] == list(range(6))
    assert len({choice.text for choice in drawn.choices[:3]}) > 1
    alone = client.completions.create(prompt="def f", **options)
    assert alone.choices[0].text == drawn.choices[0].text
    streamed = ["", "", ""]
    for chunk in client.completions.create(prompt="def f", n=3, stream=True, **options):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == [choice.text for choice in drawn.choices[:3]]
    best = client.completions.create(prompt="def f", best_of=3, **options)
    assert best.choices[0].text in streamed
    assert best.choices[0].logprobs is None
    assert best.usage.completion_tokens > alone.usage.completion_tokens
    echoed = client.completions.create(prompt="def f", echo=True, **options)
    assert echoed.choices[0].text == "def f" + alone.choices[0].text
    with pytest.raises(openai.BadRequestError, match="at least as many as `n`"):
        client.completions.create(prompt="x", n=3, best_of=2, **options)


def test_token_ids_in_place_of_texts(client: openai.OpenAI, data: Path) -> None:
    """Ids of the model's own tokenizer mean the text that they spell."""
    generator = load_generator((data / "model").read_text(), LoadOptions(dtype="float32"))
    ids = generator.prompt("def f")
    options = {"model": "tiny", "max_tokens": 5, "temperature": 0}
    text = client.completions.create(prompt="def f", **options).choices[0].text
    assert [choice.text for choice in client.completions.create(prompt=[ids, ids], **options).choices] == [text, text]
    assert client.completions.create(prompt=ids, **options).choices[0].text == text
    one, many = (
        client.embeddings.create(model="codekin_embed", input=value).data
        for value in ([1200, 1300], [[1200, 1300], [1400]])
    )
    assert one[0].embedding == pytest.approx(many[0].embedding)
    assert len(many) == 2
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length"):
        client.embeddings.create(model="codekin_embed", input=[[10_000_000]])


def test_a_conversation_by_the_chat_template(client: openai.OpenAI, data: Path) -> None:
    """Messages are put as the model was trained to read them; a stream brings the same answer and its usage."""
    messages = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
    ]
    options = {"model": "tiny", "max_completion_tokens": 6, "temperature": 0, "messages": messages}
    whole = client.chat.completions.create(logprobs=True, top_logprobs=2, **options)  # type: ignore[call-overload]
    generator = load_generator((data / "model").read_text(), LoadOptions(dtype="float32"))
    ids = generator.vocabulary.encode("[INST] <<SYS>>\nBe short.\n<</SYS>>\n\nhi [/INST]")
    expected = generator.generate(ids, Sampling(max_tokens=6))
    assert whole.choices[0].message.content == expected.text
    assert whole.choices[0].message.role == "assistant"
    assert len(whole.choices[0].logprobs.content[0].top_logprobs) == 2
    chunks = list(client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **options))  # type: ignore[call-overload]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == expected.text
    assert [chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert chunks[-1].usage.prompt_tokens == len(ids) == whole.usage.prompt_tokens


def test_completions_whole_and_streamed(client: openai.OpenAI, data: Path) -> None:
    """The streamed text equals the whole one, and both equal the model's."""
    generator = load_generator((data / "model").read_text(), LoadOptions(dtype="float32"))
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
    """Texts written side by side keep their places and equal those of single requests."""
    prompts = ["def f", "return return", "x = ", "y"]
    options = {"model": "tiny", "max_tokens": 9, "temperature": 0}
    together = client.completions.create(prompt=prompts, **options)
    assert [choice.index for choice in together.choices] == [0, 1, 2, 3]
    alone = [client.completions.create(prompt=prompt, **options).choices[0].text for prompt in prompts]
    assert [choice.text for choice in together.choices] == alone


def test_a_suffix_fills_the_gap(client: openai.OpenAI, data: Path) -> None:
    """The text before a suffix is what the model infills."""
    generator = load_generator((data / "model").read_text(), LoadOptions(dtype="float32"))
    from dataclasses import replace

    generator.model = replace(generator.model, infill="starcoder")
    expected = generator.generate(generator.infill("def f(", "):"), Sampling(max_tokens=10), copy_earlier_tokens())
    found = client.completions.create(model="tiny", prompt="def f(", suffix="):", max_tokens=10, temperature=0)
    assert found.choices[0].text == expected.text


def test_a_constraint_and_stop_strings(client: openai.OpenAI) -> None:
    """`regex` and `stop` bound the text."""
    body = {"regex": "[0-9]{3}-[0-9]{3}"}
    found = client.completions.create(model="tiny", prompt="x", max_tokens=30, temperature=1, extra_body=body)
    assert len(found.choices[0].text) == 7
    cut = client.completions.create(model="tiny", prompt="x", max_tokens=30, stop="-", temperature=1, extra_body=body)
    assert cut.choices[0].text.isdigit()


def test_leaving_a_stream_leaves_the_worker_free(client: openai.OpenAI) -> None:
    """An abandoned text neither spoils nor blocks the next one."""
    expected = client.completions.create(model="tiny", prompt="y", max_tokens=9, temperature=0).choices[0].text
    for _ in range(5):
        with client.completions.create(model="tiny", prompt="x", max_tokens=480, temperature=1, stream=True) as stream:
            next(iter(stream))
    found = client.completions.create(model="tiny", prompt="y", max_tokens=9, temperature=0)
    assert found.choices[0].text == expected


def test_many_at_once(client: openai.OpenAI) -> None:
    """Requests at the same time get their own answers."""
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
    """Without the token no program of the machine may use the models over TCP."""
    url = f"http://127.0.0.1:{(data / 'port').read_text()}/v1"
    with (
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()
    assert client.models.list().data


def test_our_own_daemon_as_a_remote_server(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of the settings takes the place of a local model, over TCP and over the socket."""
    monkeypatch.setenv("MY_TOKEN", (data / "token").read_text().strip())
    url = f"http://127.0.0.1:{(data / 'port').read_text()}/v1"
    remote = choose_embedder(
        ModelSettings(remote=RemoteSettings(url=url, model="codekin_embed", api_key_env="MY_TOKEN"))
    )
    assert isinstance(remote, RemoteEmbedder)
    near = RemoteEmbedder(paths.socket_path(data))
    np.testing.assert_allclose(remote.embed(TEXTS * 30), near.embed(TEXTS * 30), atol=2e-3)
    assert remote.space == near.space
    for each in (remote, near):
        each.close()
    with pytest.raises(ModelError, match="it offers"):
        RemoteEmbedder(url, "other", api_key=os.environ["MY_TOKEN"])


def test_a_server_that_is_down_is_replaced_and_named() -> None:
    """The bundled embedder replaces a server that is down, and its note names the server."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        embedder = choose_embedder(ModelSettings(remote=RemoteSettings(url=url, model="m")))
    assert embedder.name == "codekin_embed"
    assert url in embedder.note  # type: ignore[attr-defined]
