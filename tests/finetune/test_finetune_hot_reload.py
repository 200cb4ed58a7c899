"""A hundred models take over while others ask: every answer comes, and its vectors are of one space."""

import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from finetune_samples import NoisyEmbedder, application, write_files

from codekin.daemon.services.code_queries import CodeQueries
from codekin.daemon.services.embedding import EmbeddingEngine
from codekin.daemon.services.workspaces import OpenWorkspace
from codekin.indexing.embedding_queue import EmbeddedBatch, EmbeddingBacklog
from codekin.models import checkpoints
from codekin.models.embedding.finetuned import active_head, head_space, load_checkpoint
from codekin.ranking import find_similar
from codekin.settings import Settings
from codekin.storage import ChunkIndex
from codekin.types import Chunk, Filters
from fakes import write_head

RELOADS = 100
ASKERS = 4


class FakeEngine(EmbeddingEngine):
    """An engine whose model needs no loading."""

    def __init__(self, data: Path, base: NoisyEmbedder) -> None:
        super().__init__(data, Settings(), lambda replaced: None)
        self._base = base

    def embedder(self) -> NoisyEmbedder:
        return self._base

    def finetuned_embedder(self, folder: Path, name: str):
        return load_checkpoint(folder, name, self._base)


@pytest.fixture
def opened(tmp_path):
    """An index of some files, its workspace, and an embedder without noise."""
    base, root = NoisyEmbedder(noise=0.0, space="base-1"), tmp_path / "root"
    root.mkdir()
    workspace = OpenWorkspace(root, tmp_path / "data")
    with ChunkIndex.open(workspace.folder, write=True) as index:
        write_files(index, application(12), base)
        yield index, workspace, base
    workspace.close_index()


def test_reloads_under_load(opened, tmp_path):
    """Queries keep finding the same chunk while heads that reverse every vector are swapped."""
    index, workspace, base = opened
    folder = tmp_path / "data" / "checkpoints" / workspace.folder.name
    turned = -np.eye(base.dimensions, dtype=np.float32)
    for name, matrix in (("straight", -turned), ("turned", turned)):
        write_head(folder, name, matrix, {"base_space": base.space, "space": head_space(base.space, matrix)})
    backlog = EmbeddingBacklog(index, lambda space: active_head(folder, space))
    backlog.enter(EmbeddedBatch(base.space, base.name, base.dimensions))
    engine, stop = FakeEngine(tmp_path / "data", base), threading.Event()
    asked = next(index.chunks(path)[1] for path in index.files())
    query = Chunk("", asked.language, asked.kind, asked.name, 1, 9, asked.text + "\n# a text that is not stored\n")
    right = {hit.name for hit in find_similar(index, base, query, Filters(), 1)}
    responses: list[tuple[set[str], str, str]] = []
    trouble: list[Exception] = []

    def ask() -> None:
        try:
            while not stop.is_set():
                found = CodeQueries(engine).similar_to_chunk(workspace, query, Filters(), 1)
                responses.append(({hit.name for hit in found.hits}, found.space, found.degraded))
        except Exception as error:  # noqa: BLE001 - told below
            trouble.append(error)

    askers = [threading.Thread(target=ask) for _ in range(ASKERS)]
    for asker in askers:
        asker.start()
    for number in range(RELOADS):
        checkpoints.set_pointer(folder, "active", ("straight", "turned", "base")[number % 3])
        backlog.reload_head()
        backlog.promote_space()
    stop.set()
    for asker in askers:
        asker.join()
    assert not trouble
    assert len(responses) > ASKERS
    assert {space for _, space, _ in responses} <= {base.space, *(head_space(base.space, m) for m in (turned, -turned))}
    assert {degraded for *_, degraded in responses} == {""}
    assert all(names == right for names, *_ in responses)


def test_a_stored_vector_is_of_the_space_that_is_searched(opened):
    """A vector is read from the space of the open view, even if another space takes over meanwhile."""
    index, _, base = opened
    view = index.view()
    digest = index.chunks(next(iter(index.files())))[0].digest
    before = index.vector(digest)
    index.ensure_space("other", "other", base.dimensions)
    index.project_space(base.space, "other", lambda rows: -rows)
    index.promote("other", keep_old=True)
    np.testing.assert_array_equal(index.vector(digest, view), before)
    np.testing.assert_array_equal(index.vector(digest), -before)


def test_back_at_the_base_its_kept_vectors_serve_at_once(opened):
    """A trained encoder opens a space of its own; what the base had embedded is not embedded again."""
    index, _, base = opened
    plain, trained = (
        EmbeddedBatch(space, "model", base.dimensions, base=base.space) for space in (base.space, "trained")
    )
    backlog = EmbeddingBacklog(index)
    backlog.enter(plain)
    backlog.enter(trained)
    texts = backlog.next_batch(1000)
    assert texts
    vectors = dict(zip(texts, base.embed(list(texts.values())), strict=True))
    backlog.store(EmbeddedBatch("trained", "model", base.dimensions, vectors, base=base.space))
    assert backlog.promote_space()
    assert index.serving_space().fingerprint == "trained"
    backlog.enter(plain)
    assert backlog.next_batch() == {}
    assert backlog.promote_space()
    assert index.serving_space().fingerprint == base.space
    backlog.enter(EmbeddedBatch("another-model", "model", base.dimensions))
    backlog.promote_space()
    assert [space.fingerprint for space in index.status().spaces if space.state in {"serving", "kept"}] == [
        "another-model"
    ]


def test_the_engine_holds_a_few_finetuned_models(tmp_path):
    """The same checkpoint is read once; a damaged one is refused."""
    base = NoisyEmbedder(space="base-1")
    engine = EmbeddingEngine(tmp_path, Settings(), lambda replaced: None)
    engine._service = SimpleNamespace(embedder=lambda: base)
    engine._imports_done.set()
    engine._load_started.acquire()
    for number in range(6):
        matrix = np.eye(64, dtype=np.float32) * (number + 1)
        write_head(tmp_path, f"c{number}", matrix, {"base_space": base.space})
    assert engine.finetuned_embedder(tmp_path, "c0") is engine.finetuned_embedder(tmp_path, "c0")
    for number in range(6):
        engine.finetuned_embedder(tmp_path, f"c{number}")
    assert len(engine._finetuned) == 4
