"""The arithmetic of fusion, by hand."""

import numpy as np
import pytest

from codekin.index.fusion import Signal, centre, fuse
from codekin.index.lexis import Frequencies, Lexis, alike, weigh
from codekin.index.sketch import resemblance, sketch
from codekin.index.terms import NUMBERS, count_terms, read_terms, write_terms
from codekin.index.tokens import pieces, tokens

NONE = float("nan")


def check(values: list[float], sample: list[float], expected: list[float]) -> None:
    """One signal of weight 1."""
    signal = Signal(np.array(values, np.float32), np.array(sample, np.float32), 1.0)
    assert fuse([signal]).tolist() == pytest.approx(expected, abs=1e-3)


def test_a_score_is_the_share_of_the_way_from_the_average_to_a_copy() -> None:
    """Scores could not be compared between queries."""
    check([1.0, 0.5, 0.2], [0.1, 0.3], [1.0, 0.375, 0.0])


def test_copies_of_the_query_do_not_widen_the_spread() -> None:
    """The query's own entry would make every other one look alike."""
    check([1.0, 0.5, 0.2], [0.1, 0.3, 1.0, 0.99], [1.0, 0.375, 0.0])


def test_signals_add_in_standard_deviations_by_weight() -> None:
    """A signal with a wide scale would drown the others."""
    one = Signal(np.array([0.4, 0.2], np.float32), np.array([0.1, 0.3], np.float32), 2.0)
    other = Signal(np.array([0.02, 0.06], np.float32), np.array([0.01, 0.03], np.float32), 1.0)
    own = 2 * 8 + 98
    assert fuse([one, other]).tolist() == pytest.approx([2 * 2 / own, 4 / own], abs=1e-3)


def test_a_missing_signal_is_foretold_by_the_others() -> None:
    """A fragment without a vector would never be shown, or always first."""
    words = Signal(np.array([0.5, 0.5], np.float32), np.array([0.1, 0.3], np.float32), 1.0)
    meaning = Signal(np.array([NONE, 0.2], np.float32), np.array([0.1, 0.3], np.float32), 1.0)
    without, average = fuse([words, meaning]).tolist()
    assert without == pytest.approx(1.5 * average, abs=1e-3)


def test_a_mean_of_few_is_drawn_to_zero() -> None:
    """The only fragment of a language would be centred to nothing."""
    assert centre(np.full(2, 5.0), 5).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("parseHTTPHeader2", ["parse", "http", "header", "2"]),
        ("handle_call |> f?", ["handle", "call", "|>", "f", "?"]),
        ("std::vector<int>", ["std", "::", "vector", "<", "int", ">"]),
        ("größe_Straße", ["gr", "öß", "e", "stra", "ß", "e"]),
        ("", []),
    ],
)
def test_names_are_split_into_words_and_operators_kept(text: str, expected: list[str]) -> None:
    """`parseHTTPHeader` and `parse_http_header` would have nothing in common."""
    assert pieces(text) == expected


def test_a_compound_name_also_counts_as_a_whole() -> None:
    """An exact call would weigh no more than its scattered words."""
    assert tokens("handleCall") == ["handle", "call", "handle_call"]


def test_terms_survive_storage_and_damage_shows() -> None:
    """Flipped bits would shift what a text is about."""
    from codekin.errors import StoreError

    data = bytearray(write_terms(count_terms("def f(x) do x && y end")))
    assert (read_terms(bytes(data)) == count_terms("def f(x) do x andalso y end")).all()
    data[3] ^= 4
    with pytest.raises(StoreError, match="damaged"):
        read_terms(bytes(data))


def test_tfidf_is_one_for_a_copy_and_counts_rare_words_more() -> None:
    """Words that stand everywhere would decide what is alike."""
    texts = ["common rare", "common other", "common thing"]
    terms = [count_terms(text) for text in texts]
    having = np.zeros(NUMBERS, np.int32)
    for one in terms:
        having[one >> 8] += 1
    lexis = Lexis(dict(enumerate(terms)), {0: Frequencies(having, 3)}, 0)
    found = alike(lexis, count_terms("common rare"), 0, weigh(lexis, 0, np.arange(3)))
    assert found.tolist() == pytest.approx([1.0, found[2], found[2]], abs=1e-5)
    assert 0 < found[1] < 0.3


def test_sketches_estimate_resemblance() -> None:
    """Near-duplicates would not become candidates."""
    one = " ".join(f"word{number} = call{number}(x)" for number in range(40))
    other = one.replace("word7 ", "other7 ")
    shared = float((sketch(one) == sketch(other)).mean())
    assert resemblance(one, one) == 1.0
    assert abs(shared - resemblance(one, other)) < 0.25
    assert (sketch(one) == sketch("nothing of the kind is in here at all")).mean() < 0.1
