"""Whatever becomes of the embedder, words are found and no vector is lost."""

from dataclasses import dataclass

from driving import Driven, assert_whole
from trees import Place

from codekin.ingest.vectors import VectorWork
from codekin.seams import TextKind, Vectors
from fakes import FakeEmbedder


def test_words_are_found_while_the_embedder_fails_and_nothing_is_lost(place: Place) -> None:
    """A daemon that restarts would leave files without vectors for ever, or stop the indexing."""
    driven = Driven(place.root, place.folder)
    embedder, driven.embedder = driven.embedder, None
    ready = driven.settle()
    assert ready["pending"] == ready["fragments"] > 0
    assert not driven.index.status().lexical_behind
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
    """A single strange text would keep a whole index without vectors."""

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
    left = driven.index.unembedded("fake-1")
    assert status.vectors > 0
    assert left
    assert all("beta" in text for _, text in left)
    driven.close()


def test_another_model_gets_a_space_of_its_own_and_then_serves(place: Place) -> None:
    """Vectors of two models in one space give wrong neighbours."""
    driven = place.start()
    driven.close()
    driven = Driven(place.root, place.folder, FakeEmbedder(space="other-1"))
    driven.settle()
    assert driven.index.status().space == "other-1"
    assert_whole(driven.index)
    driven.close()


def test_without_an_embedder_words_are_enough(place: Place) -> None:
    """An index by words alone must come to rest too."""
    driven = Driven(place.root, place.folder)
    work = VectorWork.__new__(VectorWork)
    VectorWork.__init__(work, driven.indexer._vectors._backlog, None, driven.indexer._reports)
    driven.indexer._vectors = work
    ready = driven.settle()
    assert ready["pending"] == ready["fragments"]
    driven.close()
