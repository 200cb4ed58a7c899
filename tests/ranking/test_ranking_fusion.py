"""The arithmetic of fusion, by hand."""

import numpy as np
import pytest

from codekin.ranking.signals import (
    Scores,
    Signal,
    cross_language_similarity,
    fuse,
    prepare_query_terms,
    weight_texts,
    within_language_similarity,
)
from codekin.storage.dense_vectors import shrunk_mean
from codekin.storage.terms import (
    TERM_NUMBERS,
    DocumentFrequencies,
    TermStatistics,
    compute_sketch,
    count_terms,
    decode_terms,
    encode_terms,
    jaccard_similarity,
    split_subtokens,
    tokenize_for_search,
)

NONE = float("nan")


def often(*values: float) -> Scores:
    """A sample so large that what is usual has no part in its spread."""
    return np.tile(np.array(values, np.float32), 40_000)


def check(values: list[float], sample: list[float], expected: list[float]) -> None:
    """One signal of weight 1."""
    signal = Signal(np.array(values, np.float32), often(*sample), 1.0)
    assert fuse([signal]).tolist() == pytest.approx(expected, abs=1e-3)


def test_a_score_is_the_share_of_the_way_from_the_average_to_a_copy() -> None:
    """A score of 0 is the average and 1 is a copy of the query."""
    check([1.0, 0.5, 0.2], [0.1, 0.3], [1.0, 0.375, 0.0])


def test_copies_of_the_query_do_not_widen_the_spread() -> None:
    """Copies of the query are left out when the spread is computed."""
    check([1.0, 0.5, 0.2], [0.1, 0.3, 1.0, 0.99], [1.0, 0.375, 0.0])


def test_signals_add_in_standard_deviations_by_weight() -> None:
    """Signals are added by weight in units of their standard deviations."""
    one = Signal(np.array([0.4, 0.2], np.float32), often(0.1, 0.3), 2.0)
    other = Signal(np.array([0.02, 0.06], np.float32), often(0.01, 0.03), 1.0)
    own = 2 * 8 + 98
    assert fuse([one, other]).tolist() == pytest.approx([2 * 2 / own, 4 / own], abs=1e-3)


def test_a_missing_signal_is_estimated_from_the_others() -> None:
    """A chunk without a vector is ranked by its words."""
    words = Signal(np.array([0.5, 0.5], np.float32), often(0.1, 0.3), 1.0)
    meaning = Signal(np.array([NONE, 0.2], np.float32), often(0.1, 0.3), 1.0)
    without, average = fuse([words, meaning]).tolist()
    assert without == pytest.approx(1.5 * average, abs=1e-3)


def test_the_only_candidate_is_scored_against_the_baseline() -> None:
    """A single candidate is scored against the baseline, not against itself."""
    for baseline in (0.0, 0.25):
        single, unrelated = (np.array([value], np.float32) for value in (0.8, baseline + 0.05))
        assert fuse([Signal(single, single, 1.0, baseline=baseline)])[0] > 0.5
        assert fuse([Signal(unrelated, unrelated, 1.0, baseline=baseline)])[0] < 0.1


def test_a_mean_of_few_is_drawn_to_zero() -> None:
    """The mean of a few vectors is shrunk towards zero."""
    assert shrunk_mean(np.full(2, 5.0), 5).tolist() == [0.5, 0.5]


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
    """`parseHTTPHeader` and `parse_http_header` share their words; operators are kept."""
    assert split_subtokens(text) == expected


def test_a_compound_name_also_counts_as_a_whole() -> None:
    """A compound name is a term beside its words."""
    assert tokenize_for_search("handleCall") == ["handle", "call", "handle_call"]


def test_terms_survive_storage_and_damage_shows() -> None:
    """Stored terms are read back unchanged; damaged ones are detected."""
    from codekin.errors import StoreError

    data = bytearray(encode_terms(count_terms("def f(x) do x && y end")))
    assert (decode_terms(bytes(data)) == count_terms("def f(x) do x andalso y end")).all()
    data[3] ^= 4
    with pytest.raises(StoreError, match="damaged"):
        decode_terms(bytes(data))


def term_statistics(*languages: list[str]) -> TermStatistics:
    """The words of some languages' texts, which are numbered throughout."""
    known, texts = {}, [count_terms(text) for some in languages for text in some]
    for number, some in enumerate(languages):
        terms = np.concatenate([count_terms(text) for text in some])
        document_counts = np.bincount(terms >> 8, minlength=TERM_NUMBERS).astype(np.int32)
        known[number] = DocumentFrequencies(document_counts, len(some), int((terms & 255).sum()))
    return TermStatistics(dict(enumerate(texts)), known, 0)


def test_likeness_is_one_for_a_copy_and_counts_rare_words_more() -> None:
    """A copy has similarity 1, and rare words count more than common ones."""
    known = term_statistics(["common rare", "common other", "common thing", "seldom rare"])
    found = within_language_similarity(
        known, prepare_query_terms(count_terms("common rare")), 0, weight_texts(known, 0, np.arange(4))
    )
    assert found.tolist() == pytest.approx([1.0, found[2], found[2], found[3]], abs=1e-5)
    assert 0 < found[1] < found[3] - 0.1 < 0.9


def test_across_languages_a_word_common_in_either_has_little_weight() -> None:
    """Between two languages, a word that is common in either one has little weight."""
    known = term_statistics(["end one", "end two", "end three fold"], ["int end", "int fold", "int other"])
    found = cross_language_similarity(
        known, prepare_query_terms(count_terms("end fold")), 0, 1, weight_texts(known, 1, np.arange(3, 6))
    )
    assert found[2] == 0 < found[0] < found[1] < 1


@pytest.mark.parametrize("query_language", [0, None])
def test_across_languages_a_copy_has_all_of_the_words(query_language: int | None) -> None:
    """Between two languages, a copy scores 1, and a language without chunks raises no error."""
    known = term_statistics(["end one"], ["sum of all", "int of none"])
    found = cross_language_similarity(
        known,
        prepare_query_terms(count_terms("sum of all")),
        query_language,
        1,
        weight_texts(known, 1, np.arange(1, 3)),
    )
    assert found[0] == pytest.approx(1.0, abs=1e-5)
    assert 0 < found[1] < 0.5


def test_sketches_estimate_resemblance() -> None:
    """Sketches estimate the Jaccard similarity of two texts."""
    one = " ".join(f"word{number} = call{number}(x)" for number in range(40))
    other = one.replace("word7 ", "other7 ")
    shared = float((compute_sketch(one) == compute_sketch(other)).mean())
    assert jaccard_similarity(one, one) == 1.0
    assert abs(shared - jaccard_similarity(one, other)) < 0.25
    assert (compute_sketch(one) == compute_sketch("nothing of the kind is in here at all")).mean() < 0.1
