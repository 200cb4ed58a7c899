"""What every embedder, generator, vector store and text index holds to, the fakes of the tests too."""

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

import tiny_checkpoints

from codekin.daemon.services.embedding import QueryEmbedder
from codekin.errors import CheckpointError, CodekinError, StoreError
from codekin.models.embedding.finetuned import EmbeddingHead, HeadedEmbedder, head_space
from codekin.models.embedding.local import load_bundled
from codekin.models.embedding.remote import RemoteEmbedder
from codekin.models.embedding.service import EmbeddingService
from codekin.models.generation.service import RemoteGenerator
from codekin.models.loading import LoadOptions, load_generator
from codekin.protocols import (
    Embedder,
    GeneratedText,
    GenerationRequest,
    Generator,
    Sampling,
    TextIndex,
    TextQuery,
    VectorStore,
)
from codekin.storage import ChunkIndex, FileState
from codekin.storage.terms import tokenize_for_search
from codekin.team.database import TeamDatabase
from codekin.team.statistics import refresh_statistics
from codekin.team.text_index import SearchScope, TeamTextIndex
from codekin.team.trees import SourceFile, add_repository, blob_key, write_files
from codekin.team.vectors import TeamVectors
from codekin.types import Chunk
from fakes import FakeEmbedder, FakeGenerator, FakeTextIndex, FakeVectorStore
from index_samples import chunk, chunks, path_of

FAKE = FakeEmbedder()
TEXTS = ["def add(a, b), do: a + b", "", "retry with backoff \udc80", "int main() { return 0; }", "x" * 50_000]


@contextmanager
def openai_server() -> Iterator[str]:
    """A server of OpenAI's two routes, with the fakes behind them."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.reply("application/json", json.dumps({"data": [{"id": "fake"}]}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path.endswith("embeddings"):
                rows = [row.tolist() for row in FAKE.embed(body["input"])]
                data = [{"index": at, "embedding": row} for at, row in enumerate(rows)]
                self.reply("application/json", json.dumps({"data": data}))
            else:
                sampling = Sampling(max_tokens=body["max_tokens"], stop=tuple(body.get("stop") or ()))
                request = GenerationRequest(prompt=body["prompt"], model="fake", sampling=sampling)
                *steps, _ = FakeGenerator().generate_steps(request)
                choices = [{"text": step.text, "finish_reason": step.finish or None} for step in steps]
                events = [f"data: {json.dumps({'choices': [choice]})}\n\n" for choice in choices]
                self.reply("text/event-stream", "".join(events) + "data: [DONE]\n\n")

        def reply(self, kind: str, text: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module", params=["fake", "local", "headed", "remote", "service"])
def embedder(request: pytest.FixtureRequest) -> Iterator[Embedder]:
    """Every embedder there is."""
    matrix = np.linalg.qr(np.random.default_rng(1).standard_normal((64, 64)))[0].astype(np.float32)
    if request.param == "fake":
        yield FAKE
    elif request.param == "local":
        yield load_bundled()
    elif request.param == "headed":
        yield HeadedEmbedder(FAKE, EmbeddingHead("head", matrix, head_space(FAKE.space, matrix), FAKE.space))
    elif request.param == "remote":
        with openai_server() as url, closing(RemoteEmbedder(url, "fake", texts_per_request=2)) as remote:
            yield remote
    else:
        with closing(EmbeddingService(lambda: FAKE)) as service:
            yield QueryEmbedder(service)


def test_an_embedder_gives_unit_rows_in_the_order_of_its_texts(embedder: Embedder) -> None:
    """One finite row of unit length a text, the same for the same text, alone or among others."""
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimensions)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=2e-3)
    for text, row in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(embedder.embed([text])[0], row, atol=2e-2)
    assert embedder.embed([]).shape == (0, embedder.dimensions)


def test_an_embedder_gives_the_same_in_batches(embedder: Embedder) -> None:
    """The batches hold each position once; together they are what `embed` gives."""
    vectors, seen = np.zeros((len(TEXTS), embedder.dimensions), np.float32), []
    for batch in embedder.embed_batches(TEXTS):
        vectors[batch.positions] = batch.vectors
        seen += batch.positions
        assert set(batch.truncated) <= set(batch.positions)
    assert sorted(seen) == list(range(len(TEXTS)))
    np.testing.assert_allclose(vectors, embedder.embed(TEXTS), atol=2e-3)


def test_an_embedder_says_what_it_is(embedder: Embedder) -> None:
    """Name, spaces, shorter vectors, texts read in part, and the reason why it stands in are always there."""
    assert all(isinstance(one, str) and one for one in (embedder.name, embedder.space, embedder.base_space))
    assert all(0 < width < embedder.dimensions for width in embedder.truncations)
    assert embedder.truncated >= 0
    assert embedder.note == ""


def test_an_embedder_refuses_an_adapter_that_it_cannot_take(embedder: Embedder, tmp_path: Path) -> None:
    """A folder without an adapter is one sentence."""
    with pytest.raises(CheckpointError):
        embedder.with_adapter(tmp_path, "tuned")


@pytest.fixture(scope="module", params=["fake", "local", "gguf", "remote"])
def generator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    """Every generator there is."""
    if request.param == "fake":
        yield FakeGenerator()
    elif request.param == "local":
        folder = tiny_checkpoints.generator(tmp_path_factory.mktemp("tiny"), "llama")
        yield load_generator(str(folder), LoadOptions(dtype="float32"))
    elif request.param == "gguf":
        pytest.importorskip("xllamacpp")
        file = tiny_checkpoints.gguf_generator(tmp_path_factory.mktemp("tiny"))
        yield load_generator(str(file), LoadOptions(threads=1))
    else:
        with openai_server() as url, closing(RemoteGenerator(url, "fake")) as remote:
            yield remote


def _generate(generator: Generator, **sampling: object) -> tuple[str, GeneratedText]:
    request = GenerationRequest(prompt="one two", model="m", sampling=Sampling(**sampling))  # type: ignore[arg-type]
    *steps, last = generator.generate_steps(request)
    assert isinstance(last, GeneratedText)
    return "".join(step.text for step in steps), last


def test_a_generator_ends_with_the_text_that_its_steps_made(generator: Generator) -> None:
    """The steps' texts are the whole, the same each time, and it says why it ended."""
    streamed, whole = _generate(generator, max_tokens=6)
    assert streamed == whole.text
    assert whole.finish in {"stop", "length"}
    assert (
        _generate(generator, max_tokens=6) == (streamed, whole) or whole.text == _generate(generator, max_tokens=6)[0]
    )
    assert generator.name


def test_a_generator_leaves_the_stop_string_out(generator: Generator) -> None:
    """Where a stop string comes, the text ends before it."""
    text = _generate(generator, max_tokens=6)[1].text
    stop = text[2:4]
    assert len(stop) == 2
    stopped = _generate(generator, max_tokens=6, stop=(stop,))[1]
    assert stop not in stopped.text
    assert stopped.finish == "stop"


def test_a_generator_can_be_left(generator: Generator) -> None:
    """Leaving the iteration after the first step ends the work."""
    steps = generator.generate_steps(GenerationRequest(prompt="x", model="m", sampling=Sampling(max_tokens=50)))
    next(steps)
    steps.close()  # type: ignore[attr-defined] # an iterator that is a generator


@contextmanager
def team_index(new_database: Callable[[], str], parts: list[list[Chunk]]) -> Iterator[tuple[TeamDatabase, int]]:
    """A team's index of one branch with these files."""
    with TeamDatabase(new_database()) as database:
        [branch] = add_repository(database, "sample", "/sample", ["main"])
        keys = [blob_key("", file[0].language, file[0].path, b"") for file in parts]
        files = [SourceFile(file[0].path, key.hex(), key, file) for file, key in zip(parts, keys, strict=True)]
        for file in files:  # one at a time: blobs are numbered in the order of the files
            write_files(database, branch, [file])
        refresh_statistics(database, branch)
        yield database, branch


@pytest.fixture(params=["fake", "index", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    """Every vector store, with the texts of one file."""
    parts = chunks(path_of(1))
    if request.param == "fake":
        yield FakeVectorStore({part.digest: part.text for part in parts})
    elif request.param == "postgres":
        with team_index(request.getfixturevalue("new_database"), [parts]) as (database, _):
            yield TeamVectors(database)
    else:
        with ChunkIndex.open(tmp_path / "index", write=True) as index:
            index.replace_file(path_of(1), FileState(0, 0, 1, "h", "elixir"), parts)
            yield index


DIGESTS = [part.digest for part in chunks(path_of(1))]
ROWS = {part.digest: FAKE.embed([part.text])[0] for part in chunks(path_of(1))}


def test_a_store_keeps_each_vector_once(store: VectorStore) -> None:
    """New ones are counted, known ones left alone, those of unknown texts left out."""
    assert store.serving_space() is None
    assert store.ensure_space(FAKE.space, FAKE.name, FAKE.dimensions).state == "serving"
    assert store.missing_digests(FAKE.space, [*DIGESTS, DIGESTS[0]]) == DIGESTS
    first = dict(list(ROWS.items())[:2])
    assert store.put_vectors({**first, "00" * 32: ROWS[DIGESTS[0]]}) == 2
    assert store.put_vectors(ROWS) == len(DIGESTS) - 2
    assert store.unembedded_texts(FAKE.space) == []
    found = {
        digest: row for digests, rows in store.vectors(FAKE.space) for digest, row in zip(digests, rows, strict=True)
    }
    assert found.keys() == ROWS.keys()
    assert all(np.allclose(found[digest], ROWS[digest], atol=1e-3) for digest in DIGESTS)
    assert (store.status().vectors, store.status().chunks) == (len(DIGESTS), len(DIGESTS))


def test_a_store_builds_a_second_space_beside_the_first(store: VectorStore) -> None:
    """It is filled by a product, promoted in one step, and the old one is dropped."""
    store.ensure_space(FAKE.space, FAKE.name, FAKE.dimensions)
    store.put_vectors(ROWS)
    assert store.ensure_space("moved", "moved", FAKE.dimensions).state == "building"
    assert store.project_space(FAKE.space, "moved", lambda rows: -rows) == len(ROWS)
    assert store.project_space(FAKE.space, "moved", lambda rows: -rows) == 0
    store.promote("moved", keep_old=True)
    assert store.status().space == "moved"
    store.drop_space(FAKE.space)
    with pytest.raises(StoreError):
        store.drop_space("moved")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda store: store.put_vectors(ROWS, "nowhere"),
        lambda store: store.promote("nowhere"),
        lambda store: store.ensure_space(FAKE.space, FAKE.name, 3),
        lambda store: store.put_vectors({DIGESTS[0]: np.full(FAKE.dimensions, np.nan, np.float32)}),
    ],
)
def test_a_store_refuses_what_cannot_be(store: VectorStore, wrong: Callable[[VectorStore], object]) -> None:
    """Unknown spaces, other dimensions and numbers that are not finite are a StoreError."""
    store.ensure_space(FAKE.space, FAKE.name, FAKE.dimensions)
    with pytest.raises(StoreError):
        wrong(store)


PARTS = [chunk(path_of(number), number, 0, "elixir" if number % 2 else "cpp") for number in range(6)]


@pytest.fixture(params=["fake", "tantivy", "postgres"])
def text_index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[TextIndex, list[int]]]:
    """Every text index over PARTS, each in a file of its own, with the ids of the parts."""
    if request.param == "fake":
        terms = [frozenset(tokenize_for_search(part.text)) for part in PARTS]
        entries = [(10 + at, at + 1, part.language, terms[at]) for at, part in enumerate(PARTS)]
        yield FakeTextIndex(entries), [entry[0] for entry in entries]
        return
    if request.param == "postgres":
        with team_index(request.getfixturevalue("new_database"), [[part] for part in PARTS]) as (database, branch):
            ids = [row[0] for row in database.rows("SELECT id FROM chunk ORDER BY blob")]
            yield TeamTextIndex.open(database, SearchScope((branch,))), ids
        return
    with ChunkIndex.open(tmp_path / "index", write=True) as index:
        for at, part in enumerate(PARTS):
            index.replace_file(part.path, FileState(0, 0, 1, f"h{at}", part.language), [part])
        index.flush(force=True)
        view = index.view()
        assert view.text_index is not None
        yield view.text_index, view.snapshot.columns.id.tolist()


def test_a_text_index_finds_a_text_by_its_own_words(text_index: tuple[TextIndex, list[int]]) -> None:
    """The text itself comes first, with the highest score; no more than the limit come."""
    index, ids = text_index
    assert index.documents == len(PARTS)
    for key, part in zip(ids, PARTS, strict=True):
        found, scores = index.search(TextQuery(Counter(tokenize_for_search(part.text))), 3)
        assert found[0] == key
        assert len(found) <= 3
        assert (np.diff(scores) <= 0).all()


def test_a_text_index_keeps_to_language_and_files(text_index: tuple[TextIndex, list[int]]) -> None:
    """Conditions are met by every match; words that nothing has find nothing."""
    index, ids = text_index
    counts = Counter(tokenize_for_search("".join(part.text for part in PARTS)))
    found, _ = index.search(TextQuery(counts, "elixir"), 10)
    assert set(found.tolist()) <= {key for key, part in zip(ids, PARTS, strict=True) if part.language == "elixir"}
    assert len(found)
    assert set(index.search(TextQuery(counts, files=[1]), 10)[0].tolist()) == {ids[0]}
    assert len(index.search(TextQuery(Counter(["zxqv"])), 10)[0]) == 0


def test_the_errors_of_the_protocols_are_codekins() -> None:
    """A caller that catches CodekinError catches what any of them raises."""
    assert issubclass(StoreError, CodekinError)
    assert issubclass(CheckpointError, CodekinError)
