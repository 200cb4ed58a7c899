"""The measures by hand, and the evaluation's contract on rows whose answers are plain."""

import pytest

from codekin.errors import UsageError
from codekin.ranking import evaluate_patterns, evaluate_retrieval
from codekin.ranking.evaluation import (
    average_precision,
    bootstrap_interval,
    recall_at,
    reciprocal_rank,
    summarize_rankings,
)
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
    """The measures equal those computed by hand."""
    assert average_precision(ranks) == pytest.approx(precision)
    assert reciprocal_rank(ranks) == pytest.approx(reciprocal)
    assert (recall_at(ranks, 1), recall_at(ranks, 10)) == (recall1, recall10)


def test_a_summary_is_the_mean_over_queries() -> None:
    """A summary is the mean over all queries, whatever their direction."""
    assert summarize_rankings([[0], [1]])["map"] == pytest.approx(0.75)
    assert summarize_rankings([]) == {"queries": 0, "map": 0.0, "mrr10": 0.0, "recall1": 0.0, "recall10": 0.0}


def test_the_bootstrap_interval_holds_the_mean_and_shrinks() -> None:
    """The bootstrap interval contains the mean and shrinks as queries are added."""
    low, high = bootstrap_interval([0.0, 1.0] * 20)
    assert low < 0.5 < high
    narrow = bootstrap_interval([0.0, 1.0] * 400)
    assert narrow[1] - narrow[0] < high - low


@pytest.mark.parametrize("mode", ["fused", "dense", "text"])
def test_queries_and_candidates_are_as_the_contract_says(mode: str) -> None:
    """A row is a query in each language that has another row of its task, in every mode."""
    found = evaluate_retrieval(ROWS, FakeEmbedder(), mode)
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
    """Rows with the same text count as separate candidates."""
    rows = [{"id": str(n), "task": "t", "lang": "plain", "code": "same words here"} for n in range(3)]
    rows.append({"id": "x", "task": "u", "lang": "plain", "code": "other thing"})
    assert evaluate_retrieval(rows, None, "text")["plain->plain"] == {
        "queries": 3, "map": 1.0, "mrr10": 1.0, "recall1": 1.0, "recall10": 1.0,
    }  # fmt: skip


def test_bad_rows_and_modes_are_refused_with_a_sentence() -> None:
    """A wrong row or mode is refused with one sentence that names it."""
    with pytest.raises(UsageError, match="row 1"):
        evaluate_retrieval([{"id": "1", "code": "x"}], None, "text")
    with pytest.raises(UsageError, match="needs a model"):
        evaluate_retrieval(ROWS, None, "fused")


PATTERNS = [
    {"id": "1", "task": "GenServer.init/1", "lang": "elixir", "code": "state ok tuple start", "source": "a"},
    {"id": "2", "task": "GenServer.init/1", "lang": "elixir", "code": "state ok tuple begin", "source": "b"},
    {"id": "3", "task": "Plug.call/2", "lang": "elixir", "code": "conn assign halt status", "source": "a"},
    {"id": "4", "task": "Plug.call/2", "lang": "elixir", "code": "conn assign halt session", "source": "b"},
    {"id": "5", "task": "Plug.call/2", "lang": "elixir", "code": "state ok tuple start begin", "source": "b"},
]


def test_patterns_count_hits_of_the_same_callback_in_other_sources() -> None:
    """A hit is right if it implements the same callback; hits of the query's own source are left out."""
    found = evaluate_patterns(PATTERNS, None, "text")
    assert list(found) == ["all", "GenServer.init/1", "Plug.call/2"]
    assert {name: figures["queries"] for name, figures in found.items()} == {
        "all": 5, "GenServer.init/1": 2, "Plug.call/2": 3,
    }  # fmt: skip
    assert found["Plug.call/2"]["accuracy1"] == pytest.approx(2 / 3)
    assert found["Plug.call/2"]["accuracy5"] == 1.0
    assert 0 <= found["all"]["triplets"] <= 1


def test_a_callback_without_another_row_is_no_query() -> None:
    """What nothing could answer does not lower the accuracy."""
    assert evaluate_patterns(PATTERNS[:1], None, "text") == {
        "all": {"queries": 0, "accuracy1": 0.0, "accuracy5": 0.0, "triplets": 0.0}
    }
