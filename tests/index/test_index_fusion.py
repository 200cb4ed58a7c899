"""The arithmetic of fusion, by hand."""

import numpy as np
import pytest

from codekin.index.fusion import Scores, Signal, centre, fuse
from codekin.index.lexis import Frequencies, Lexis, alike, alike_across, ask, weigh
from codekin.index.sketch import resemblance, sketch
from codekin.index.terms import NUMBERS, count_terms, read_terms, write_terms
from codekin.index.tokens import pieces, tokens

NONE = float("nan")


def often(*values: float) -> Scores:
    """A sample so large that what is usual has no part in its spread."""
    return np.tile(np.array(values, np.float32), 40_000)


def check(values: list[float], sample: list[float], expected: list[float]) -> None:
    """One signal of weight 1."""
    signal = Signal(np.array(values, np.float32), often(*sample), 1.0)
    assert fuse([signal]).tolist() == pytest.approx(expected, abs=1e-3)


def test_a_score_is_the_share_of_the_way_from_the_average_to_a_copy() -> None:
    """Scores could not be compared between queries."""
    check([1.0, 0.5, 0.2], [0.1, 0.3], [1.0, 0.375, 0.0])


def test_copies_of_the_query_do_not_widen_the_spread() -> None:
    """The query's own entry would make every other one look alike."""
    check([1.0, 0.5, 0.2], [0.1, 0.3, 1.0, 0.99], [1.0, 0.375, 0.0])


def test_signals_add_in_standard_deviations_by_weight() -> None:
    """A signal with a wide scale would drown the others."""
    one = Signal(np.array([0.4, 0.2], np.float32), often(0.1, 0.3), 2.0)
    other = Signal(np.array([0.02, 0.06], np.float32), often(0.01, 0.03), 1.0)
    own = 2 * 8 + 98
    assert fuse([one, other]).tolist() == pytest.approx([2 * 2 / own, 4 / own], abs=1e-3)


def test_a_missing_signal_is_foretold_by_the_others() -> None:
    """A fragment without a vector would never be shown, or always first."""
    words = Signal(np.array([0.5, 0.5], np.float32), often(0.1, 0.3), 1.0)
    meaning = Signal(np.array([NONE, 0.2], np.float32), often(0.1, 0.3), 1.0)
    without, average = fuse([words, meaning]).tolist()
    assert without == pytest.approx(1.5 * average, abs=1e-3)


def test_the_only_candidate_is_measured_by_what_is_usual() -> None:
    """A twin in a workspace of two functions would score nothing, being the average itself."""
    for usual in (0.0, 0.25):
        lone, stranger = (np.array([value], np.float32) for value in (0.8, usual + 0.05))
        assert fuse([Signal(lone, lone, 1.0, usual=usual)])[0] > 0.5
        assert fuse([Signal(stranger, stranger, 1.0, usual=usual)])[0] < 0.1


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


def lexis(*languages: list[str]) -> Lexis:
    """The words of some languages' texts, which are numbered throughout."""
    known, texts = {}, [count_terms(text) for some in languages for text in some]
    for number, some in enumerate(languages):
        terms = np.concatenate([count_terms(text) for text in some])
        having = np.bincount(terms >> 8, minlength=NUMBERS).astype(np.int32)
        known[number] = Frequencies(having, len(some), int((terms & 255).sum()))
    return Lexis(dict(enumerate(texts)), known, 0)


def test_likeness_is_one_for_a_copy_and_counts_rare_words_more() -> None:
    """Words that stand everywhere would decide what is alike."""
    known = lexis(["common rare", "common other", "common thing", "seldom rare"])
    found = alike(known, ask(count_terms("common rare")), 0, weigh(known, 0, np.arange(4)))
    assert found.tolist() == pytest.approx([1.0, found[2], found[2], found[3]], abs=1e-5)
    assert 0 < found[1] < found[3] - 0.1 < 0.9


def test_across_languages_a_word_common_in_either_tells_little() -> None:
    """A keyword of the query's language would be a treasure where the other hardly has it."""
    known = lexis(["end one", "end two", "end three fold"], ["int end", "int fold", "int other"])
    found = alike_across(known, ask(count_terms("end fold")), 0, 1, weigh(known, 1, np.arange(3, 6)))
    assert found[2] == 0 < found[0] < found[1] < 1


@pytest.mark.parametrize("home", [0, None])
def test_across_languages_a_copy_has_all_of_the_words(home: int | None) -> None:
    """Likeness would mean something else for every query, or fail for a language that nothing is in."""
    known = lexis(["end one"], ["sum of all", "int of none"])
    found = alike_across(known, ask(count_terms("sum of all")), home, 1, weigh(known, 1, np.arange(1, 3)))
    assert found[0] == pytest.approx(1.0, abs=1e-5)
    assert 0 < found[1] < 0.5


def test_sketches_estimate_resemblance() -> None:
    """Near-duplicates would not become candidates."""
    one = " ".join(f"word{number} = call{number}(x)" for number in range(40))
    other = one.replace("word7 ", "other7 ")
    shared = float((sketch(one) == sketch(other)).mean())
    assert resemblance(one, one) == 1.0
    assert abs(shared - resemblance(one, other)) < 0.25
    assert (sketch(one) == sketch("nothing of the kind is in here at all")).mean() < 0.1
