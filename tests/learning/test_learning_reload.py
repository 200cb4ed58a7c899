"""A hundred models take over while others ask: every answer comes, and its vectors are of one space."""

import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from learning_samples import NoisyEmbedder, application, write_files

from codekin.daemon.engine import Engine
from codekin.daemon.kin import kin_of
from codekin.daemon.workspaces import Workspace
from codekin.index import Index
from codekin.ingest.backlog import Backlog
from codekin.ingest.embedding import Embedded
from codekin.models import checkpoints
from codekin.models.heads import active_head, head_space
from codekin.models.learned import read_learned
from codekin.records import Filters, Fragment
from codekin.retrieval import similar
from codekin.settings import Settings

RELOADS = 100
ASKERS = 4


class FakeEngine(Engine):
    """An engine whose model needs no loading."""

    def __init__(self, data: Path, base: NoisyEmbedder) -> None:
        super().__init__(data, Settings(), lambda replaced: None)
        self._base = base

    def embedder(self) -> NoisyEmbedder:
        return self._base

    def learned(self, folder: Path, name: str):
        return read_learned(folder, name, self._base)


@pytest.fixture
def opened(tmp_path):
    """An index of some files, its workspace, and an embedder without noise."""
    base, root = NoisyEmbedder(noise=0.0, space="base-1"), tmp_path / "root"
    root.mkdir()
    workspace = Workspace(root, tmp_path / "data")
    with Index.open(workspace.folder, write=True) as index:
        write_files(index, application(12), base)
        yield index, workspace, base
    workspace.close_index()


def test_reloads_under_load(opened, tmp_path):
    """Heads that turn every vector round: a query of one space among vectors of another would find the most unlike."""
    index, workspace, base = opened
    folder = tmp_path / "data" / "checkpoints" / workspace.folder.name
    turned = -np.eye(base.dimensions, dtype=np.float32)
    for name, matrix in (("straight", -turned), ("turned", turned)):
        checkpoints.write_head(
            folder, name, matrix, {"base_space": base.space, "space": head_space(base.space, matrix)}
        )
    backlog = Backlog(index, lambda space: active_head(folder, space))
    backlog.enter(Embedded(base.space, base.name, base.dimensions))
    engine, stop = FakeEngine(tmp_path / "data", base), threading.Event()
    asked = next(index.fragments(path)[1] for path in index.files())
    query = Fragment("", asked.language, asked.kind, asked.name, 1, 9, asked.text + "\n# a text that is not stored\n")
    right = {hit.name for hit in similar(index, base, query, Filters(), 1)}
    answers: list[tuple[set[str], str, str]] = []
    trouble: list[Exception] = []

    def ask() -> None:
        try:
            while not stop.is_set():
                found = kin_of(engine, workspace, query, Filters(), 1)
                answers.append(({hit.name for hit in found.hits}, found.space, found.degraded))
        except Exception as error:  # noqa: BLE001 - told below
            trouble.append(error)

    askers = [threading.Thread(target=ask) for _ in range(ASKERS)]
    for asker in askers:
        asker.start()
    for number in range(RELOADS):
        checkpoints.point(folder, "active", ("straight", "turned", "base")[number % 3])
        backlog.take_head()
        backlog.finish()
    stop.set()
    for asker in askers:
        asker.join()
    assert not trouble
    assert len(answers) > ASKERS
    assert {space for _, space, _ in answers} <= {base.space, *(head_space(base.space, m) for m in (turned, -turned))}
    assert {degraded for *_, degraded in answers} == {""}
    assert all(names == right for names, *_ in answers)


def test_a_stored_vector_is_of_the_space_that_is_searched(opened):
    """A space that takes over between opening the view and reading the vector would mix the two."""
    index, _, base = opened
    view = index.view()
    digest = index.fragments(next(iter(index.files())))[0].digest
    before = index.vector(digest)
    index.ensure_space("other", "other", base.dimensions)
    index.project_space(base.space, "other", lambda rows: -rows)
    index.promote("other", keep_old=True)
    np.testing.assert_array_equal(index.vector(digest, view), before)
    np.testing.assert_array_equal(index.vector(digest), -before)


def test_back_at_the_base_its_kept_vectors_serve_at_once(opened):
    """A trained encoder opens a space of its own; what the base had embedded is not embedded again."""
    index, _, base = opened
    plain, trained = (Embedded(space, "model", base.dimensions, base=base.space) for space in (base.space, "trained"))
    backlog = Backlog(index)
    backlog.enter(plain)
    backlog.enter(trained)
    texts = backlog.next_batch(1000)
    assert texts
    vectors = dict(zip(texts, base.embed(list(texts.values())), strict=True))
    backlog.store(Embedded("trained", "model", base.dimensions, vectors, base=base.space))
    assert backlog.finish()
    assert index.serving_space().fingerprint == "trained"
    backlog.enter(plain)
    assert backlog.next_batch() == {}
    assert backlog.finish()
    assert index.serving_space().fingerprint == base.space
    backlog.enter(Embedded("another-model", "model", base.dimensions))
    backlog.finish()
    assert [space.fingerprint for space in index.status().spaces if space.state in {"serving", "kept"}] == [
        "another-model"
    ]


def test_the_engine_holds_a_few_learned_models(tmp_path):
    """The same checkpoint is read once; a damaged one is refused."""
    base = NoisyEmbedder(space="base-1")
    engine = Engine(tmp_path, Settings(), lambda replaced: None)
    engine._service = SimpleNamespace(embedder=lambda: base)
    engine._imported.set()
    engine._begun.acquire()
    for number in range(6):
        matrix = np.eye(64, dtype=np.float32) * (number + 1)
        checkpoints.write_head(tmp_path, f"c{number}", matrix, {"base_space": base.space})
    assert engine.learned(tmp_path, "c0") is engine.learned(tmp_path, "c0")
    for number in range(6):
        engine.learned(tmp_path, f"c{number}")
    assert len(engine._learned) == 4
