"""The measures by hand, and the evaluation's contract on rows whose answers are plain."""

import pytest

from codekin.errors import UsageError
from codekin.retrieval import evaluate
from codekin.retrieval.metrics import average_precision, bootstrap, recall, reciprocal_rank, summary
from fakes import FakeEmbedder

ROWS = [
    {"id": "1", "task": "sum", "lang": "elixir", "code": "def sum(list) total reduce plus"},
    {"id": "2", "task": "sum", "lang": "elixir", "code": "def add(list) total reduce acc"},
    {"id": "3", "task": "sum", "lang": "cpp", "code": "int sum total reduce plus"},
    {"id": "4", "task": "sort", "lang": "cpp", "code": "void sort swap pivot partition"},
    {"id": "5", "task": "sort", "lang": "erlang", "code": "sort swap pivot"},
    {"id": "6", "task": "lone", "lang": "elixir", "code": "nothing like anything else"},
]


@pytest.mark.parametrize(
    ("ranks", "precision", "reciprocal", "recall1", "recall10"),
    [
        ([0], 1.0, 1.0, 1.0, 1.0),
        ([1], 0.5, 0.5, 0.0, 1.0),
        ([0, 2], (1 + 2 / 3) / 2, 1.0, 1.0, 1.0),
        ([3, 11], (1 / 4 + 2 / 12) / 2, 0.25, 0.0, 0.5),
        ([20], 1 / 21, 0.0, 0.0, 0.0),
    ],
)
def test_measures_by_hand(
    ranks: list[int], precision: float, reciprocal: float, recall1: float, recall10: float
) -> None:
    """Every figure that is published would be wrong."""
    assert average_precision(ranks) == pytest.approx(precision)
    assert reciprocal_rank(ranks) == pytest.approx(reciprocal)
    assert (recall(ranks, 1), recall(ranks, 10)) == (recall1, recall10)


def test_a_summary_is_the_mean_over_queries() -> None:
    """Directions with many queries would count differently from those with few."""
    assert summary([[0], [1]])["map"] == pytest.approx(0.75)
    assert summary([]) == {"queries": 0, "map": 0.0, "mrr10": 0.0, "recall1": 0.0, "recall10": 0.0}


def test_the_bootstrap_interval_holds_the_mean_and_shrinks() -> None:
    """A gate on confidence would pass noise."""
    low, high = bootstrap([0.0, 1.0] * 20)
    assert low < 0.5 < high
    narrow = bootstrap([0.0, 1.0] * 400)
    assert narrow[1] - narrow[0] < high - low


@pytest.mark.parametrize("mode", ["fused", "dense", "lexical"])
def test_queries_and_candidates_are_as_the_contract_says(mode: str) -> None:
    """The figures could not be compared with anyone else's."""
    found = evaluate(ROWS, FakeEmbedder(), mode)
    assert {direction: figures["queries"] for direction, figures in found.items()} == {
        "cpp->cpp": 0,
        "cpp->elixir": 1,
        "cpp->erlang": 1,
        "elixir->cpp": 2,
        "elixir->elixir": 2,
        "elixir->erlang": 0,
        "erlang->cpp": 1,
        "erlang->elixir": 0,
        "erlang->erlang": 0,
    }
    assert found["elixir->elixir"]["map"] == 1.0
    assert found["elixir->cpp"]["recall1"] == 1.0


def test_equal_code_in_several_rows_counts_as_several_candidates() -> None:
    """Rows with the same text would melt into one and lose right answers."""
    rows = [{"id": str(n), "task": "t", "lang": "plain", "code": "same words here"} for n in range(3)]
    rows.append({"id": "x", "task": "u", "lang": "plain", "code": "other thing"})
    assert evaluate(rows, None, "lexical")["plain->plain"] == {
        "queries": 3, "map": 1.0, "mrr10": 1.0, "recall1": 1.0, "recall10": 1.0,
    }  # fmt: skip


def test_bad_rows_and_modes_are_refused_with_a_sentence() -> None:
    """A typing error in a data file would end in a traceback."""
    with pytest.raises(UsageError, match="row 1"):
        evaluate([{"id": "1", "code": "x"}], None, "lexical")
    with pytest.raises(UsageError, match="needs a model"):
        evaluate(ROWS, None, "fused")
