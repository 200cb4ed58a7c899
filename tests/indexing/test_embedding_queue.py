"""Whatever becomes of the embedder, words are found and no vector is lost."""

from dataclasses import dataclass

from indexer_driver import Driven, assert_whole
from sample_trees import Place

from codekin.indexing.embedding_queue import EmbeddingQueue
from codekin.protocols import TextKind, Vectors
from fakes import FakeEmbedder


def test_words_are_found_while_the_embedder_fails_and_nothing_is_lost(place: Place) -> None:
    """Text search works while the embedder fails, and the vectors are computed once it works again."""
    driven = Driven(place.root, place.folder)
    embedder, driven.embedder = driven.embedder, None
    ready = driven.settle()
    assert ready["pending"] == ready["chunks"] > 0
    assert not driven.index.status().text_index_behind
    assert any("The model is not there." in event["message"] for event in driven.told("problem"))
    driven.embedder = embedder
    driven.now += 100
    driven.settle()
    assert_whole(driven.index)
    driven.close()


@dataclass(frozen=True)
class Picky(FakeEmbedder):
    """Refuses any batch with a certain text."""

    def embed(self, texts: list[str], kind: TextKind = "passage") -> Vectors:  # type: ignore[override]
        """Unit vectors."""
        if any("beta" in text for text in texts):
            raise ValueError
        return super().embed(texts, kind)


def test_one_text_that_cannot_be_embedded_does_not_hold_up_the_others(place: Place) -> None:
    """A text that the embedder refuses leaves the other vectors unaffected."""

    class Refused(Driven):
        def _outcome(self, texts):
            try:
                return super()._outcome(texts)
            except ValueError:
                self.embedder, before = None, self.embedder
                outcome = super()._outcome(texts)
                self.embedder = before
                return outcome

    driven = Refused(place.root, place.folder, Picky())
    for _ in range(12):
        driven.settle()
        driven.now += 40
    status = driven.index.status()
    left = driven.index.unembedded_texts("fake-1")
    assert status.vectors > 0
    assert left
    assert all("beta" in text for _, text in left)
    driven.close()


def test_another_model_gets_a_space_of_its_own_and_then_serves(place: Place) -> None:
    """Vectors of another model open a space of their own."""
    driven = place.start()
    driven.close()
    driven = Driven(place.root, place.folder, FakeEmbedder(space="other-1"))
    driven.settle()
    assert driven.index.status().space == "other-1"
    assert_whole(driven.index)
    driven.close()


def test_without_an_embedder_words_are_enough(place: Place) -> None:
    """An index without vectors reaches the ready state too."""
    driven = Driven(place.root, place.folder)
    work = EmbeddingQueue.__new__(EmbeddingQueue)
    EmbeddingQueue.__init__(work, driven.indexer._vectors._backlog, None, driven.indexer._reporter)
    driven.indexer._vectors = work
    ready = driven.settle()
    assert ready["pending"] == ready["chunks"]
    driven.close()
