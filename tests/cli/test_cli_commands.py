"""The commands as scripts use them: JSON shapes, exit statuses, one sentence on standard error."""

import json
import os
import sys
from pathlib import Path

import pytest

from codekin.cli import doctor
from codekin.cli.finetune import _bar_chart
from daemons import eventually

HIT = {"path", "name", "kind", "language", "start_line", "end_line", "code_line", "score", "reasons"}


def answer_of(done):
    assert done.err == ""
    return json.loads(done.out)


def test_index_counts_what_it_did(codekin, sample):
    """A second run embeds nothing again, and its counts say so."""
    counts = answer_of(codekin("index", sample, "--json"))
    assert set(counts) == {"files", "chunks", "embedded", "reused", "skipped", "seconds"}
    assert counts["files"] >= 28
    assert counts["chunks"] == counts["reused"]
    assert counts["embedded"] == 0


def test_one_file_is_in_the_singular(codekin, tmp_path):
    """The line for people counts as people do."""
    (tmp_path / "one.ex").write_text("defmodule One do\n  def up(text), do: String.upcase(text)\nend\n")
    assert codekin("index", tmp_path).out.startswith("1 file, ")


def test_a_recommendation_names_the_model_once(codekin):
    """The reason begins with it."""
    assert codekin("models", "recommend", "dev").out.count("starcoder_1b") == 1


def test_similar_code_is_found_in_the_other_language(codekin, sample):
    """The promise of the product: the same idea in Elixir and C++."""
    done = codekin("similar", f"{sample}/lib/storehouse/retry.ex:12", "--language", "cpp", "--json")
    answer = answer_of(done)
    assert done.status == 0
    assert set(answer) == {"query", "hits", "space", "ms"}
    assert answer["query"] == {
        "path": "lib/storehouse/retry.ex",
        "name": "Storehouse.Retry.with_backoff/2",
        "language": "elixir",
        "start_line": 4,
        "end_line": 12,
    }
    assert all(set(hit) == HIT and 0 <= hit["score"] <= 1 for hit in answer["hits"])
    assert {hit["language"] for hit in answer["hits"]} == {"cpp"}
    assert answer["hits"][0]["path"] == "include/storehouse/retry.hpp"


def test_similar_within_one_language(codekin, sample):
    """A near-duplicate of a function is found."""
    answer = answer_of(codekin("similar", f"{sample}/lib/storehouse/session_registry.ex:24", "--json", "--limit", 1))
    assert answer["hits"][0]["path"] == "lib/storehouse/device_registry.ex"
    assert len(answer["hits"]) == 1


def test_the_workspace_is_found_from_within(codekin, sample):
    """From a subfolder the workspace needs no --root."""
    done = codekin("search", "evict the least recently used entry", "--json", cwd=sample / "lib" / "storehouse")
    paths = [hit["path"] for hit in answer_of(done)["hits"]]
    assert {"lib/storehouse/lru_cache.ex", "include/storehouse/lru_cache.hpp"} <= set(paths[:5])


def test_status_shows_who_completes_and_how_fast(codekin, sample):
    """The status names the model that completes, its time and what it has read."""
    answer = answer_of(codekin("complete", f"{sample}/lib/storehouse/retry.ex:13:1", "--json"))
    assert answer["model"] == "repository"
    out = codekin("status", sample).out
    assert "completion by the repository, " in out
    assert " ms an answer, " in out
    assert " tokens read" in out


def test_filters_narrow_the_answer(codekin, sample):
    """Each option holds for every hit."""
    arguments = ("search", "queue of jobs by priority", "--root", sample, "--json")
    narrow = answer_of(codekin(*arguments, "--kind", "method", "--path", "src/*", "--min-score", 0.1))["hits"]
    assert narrow
    assert {hit["kind"] for hit in narrow} == {"method"}
    assert all(hit["path"].startswith("src/") and hit["score"] >= 0.1 for hit in narrow)


def test_nothing_found_is_status_one(codekin, sample):
    """An empty answer has an exit status of its own."""
    done = codekin("search", "anything", "--root", sample, "--path", "no/such/*", "--json")
    assert done.status == 1
    assert answer_of(done)["hits"] == []


def test_duplicates_are_groups_of_places(codekin, sample):
    """Each group holds the places of one piece of repeated code."""
    done = codekin("duplicates", sample, "--json")
    assert done.status == 0
    groups = answer_of(done)
    assert all(len(group) > 1 and all(set(hit) == HIT for hit in group) for group in groups)
    duplicates = {"Storehouse.Statistics.percentile/2", "Storehouse.DeliveryReport.percentile/2"}
    assert any({hit["name"] for hit in group} == duplicates for group in groups)


def test_a_pasted_snippet_is_looked_for(codekin, sample):
    """Code from standard input finds code like it."""
    snippet = "double refill(double tokens, double elapsed) {\n  return std::min(cap, tokens + elapsed * rate);\n}\n"
    done = codekin("similar", "-", "--root", sample, "--snippet-language", "cpp", "--json", stdin=snippet)
    assert any("token_bucket" in hit["path"] for hit in answer_of(done)["hits"][:3])


def test_an_edit_is_found_without_a_command(codekin, sample):
    """A new file is found, and a deleted one is not, without `codekin index`."""
    path = sample / "lib" / "storehouse" / "fresh.ex"
    path.write_text("defmodule Storehouse.Fresh do\n  def zebra_crossing(road), do: Enum.map(road, &paint/1)\nend\n")

    def found():
        done = codekin("search", "zebra crossing", "--root", sample, "--json")
        return any(hit["path"].endswith("fresh.ex") for hit in answer_of(done)["hits"])

    eventually(found)
    path.unlink()
    eventually(lambda: not found())


def test_status_in_both_forms(codekin, sample):
    """The status counts what is indexed and lists what is left out."""
    status = answer_of(codekin("status", sample, "--json"))
    assert (status["state"], status["root"]) == ("ready", str(sample.resolve()))
    assert status["chunks"] == status["embedded"] > 90
    assert "chunks" in codekin("status", sample).out
    files = answer_of(codekin("status", sample, "--files", "--json"))["file_list"]
    assert {row["path"]: bool(row["skipped"]) for row in files}["CMakeLists.txt"] is True


def test_plain_lines_in_a_pipe(codekin, sample):
    """Each hit is one line of five tab-separated cells without escapes."""
    done = codekin("similar", f"{sample}/src/csv_reader.cpp:9", "--limit", 3)
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert [len(row) for row in rows] == [5, 5, 5]
    assert rows[0][0].rpartition(":")[2].isdigit()
    assert "\x1b" not in done.out


def test_embed_in_its_three_forms(codekin, sample):
    """A text, a file and a workspace are embedded."""
    text = answer_of(codekin("embed", "-", "--json", stdin="def add(a, b), do: a + b"))
    assert [len(row["vector"]) for row in text["embeddings"]] == [text["dimensions"]]
    chunks = answer_of(codekin("embed", sample / "lib/storehouse/retry.ex", "--json"))["embeddings"]
    assert {"path", "name", "start_line", "end_line", "vector", "truncated"} == set(chunks[0])
    anew = answer_of(codekin("embed", sample, "--json"))
    assert anew["embedded"] > 90
    assert anew["per_second"] > 0


def test_doctor_finds_nothing_wrong_with_a_sound_workspace(codekin, sample, monkeypatch):
    """Nothing is advised where nothing is wrong."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    done = codekin("doctor", sample, "--json")
    found = {row["what"]: row for row in answer_of(done)}
    assert {"python", "packages", "data", "settings", "watching", "editors", "socket", "daemon", "index"} <= set(found)
    assert [row["advice"] for row in found.values() if row["advice"]] == []
    assert done.status == 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('cron = "0 2 31 2 *"', "finetune.cron '0 2 31 2 *' is no cron line"),
        ('timezone = "Mars/X"', "Mars/X' is unknown"),
    ],
)
def test_doctor_names_a_schedule_that_never_comes(tmp_path, monkeypatch, line, told):
    """A cron line of a date that there is not, or an unknown zone, is found before the night that it costs."""
    monkeypatch.setenv("CODEKIN_CONFIG_DIR", str(tmp_path))
    (tmp_path / "settings.toml").write_text(f"[finetune]\n{line}\n")
    finding = doctor._settings(tmp_path / "data", tmp_path)
    assert (finding.found, told in finding.advice) == ("1 problems", True)


def test_doctor_says_why_an_index_is_empty(codekin, tmp_path):
    """A folder without code has its reason."""
    (tmp_path / "notes.txt").write_text("hello")
    codekin("index", tmp_path)
    done = codekin("doctor", tmp_path, "--json")
    (index,) = [row for row in answer_of(done) if row["what"] == "index"]
    assert "No code was found" in index["advice"]
    assert done.status == 1


def test_eval_retrieval_gives_figures_for_each_direction(codekin, tmp_path):
    """Retrieval is measured in each direction between two languages."""
    rows = [
        {"id": "1", "task": "sum", "lang": "elixir", "code": "def sum(list), do: Enum.reduce(list, 0, &+/2)"},
        {"id": "2", "task": "sum", "lang": "cpp", "code": "int sum(const std::vector<int>& list) { return total; }"},
        {"id": "3", "task": "up", "lang": "elixir", "code": "def up(text), do: String.upcase(text)"},
        {"id": "4", "task": "up", "lang": "cpp", "code": "std::string upcase(std::string text) { return text; }"},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    figures = answer_of(codekin("eval", "retrieval", "--data", path, "--mode", "text", "--json"))
    assert {"elixir->cpp", "cpp->elixir"} <= set(figures)
    assert figures["elixir->cpp"] == {"queries": 2, "map": 1.0, "mrr10": 1.0, "recall1": 1.0, "recall10": 1.0}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("similar",), "Missing argument"),
        (("similar", "none.ex:3"), "There is no file none.ex"),
        (("similar", "README.md"), "is not a place"),
        (("similar", "README.md:0"), "lines count from 1"),
        (("similar", "README.md:9-3"), "is not a place"),
        (("similar", "README.md:9999"), "there is no line 9999"),
        (("similar", "README.md:1", "--limit", "many"), "--limit"),
        (("similar", "README.md:1", "--limit", "0"), "--limit"),
        (("similar", "README.md:1", "--min-score", "7"), "--min-score"),
        (("similar", "README.md:1", "--language", "cobol"), "no language 'cobol'"),
        (("similar", "README.md:1", "--kind", "poem"), "no kind 'poem'"),
        (("similar", "README.md:1", "--colour"), "No such option"),
        (("similar", "-"), "no snippet"),
        (("search", " "), "nothing to search for"),
        (("search", "-"), "no snippet"),
        (("duplicates", "none"), "no file or folder none"),
        (("status", "none"), "no file or folder none"),
        (("history", "none"), "no file or folder none"),
        (("complete", "README.md:9999:1"), "there is no line 9999"),
        (("complete", "README.md:1:9999"), "there is no column 9999"),
        (("complete", "README.md:1"), "names no column"),
        (("index", "none"), "none is not a folder"),
        (("index", "README.md"), "is not a folder"),
        (("embed", "none.ex"), "no file or folder none.ex"),
        (("eval", "retrieval"), "--data"),
        (("eval", "retrieval", "--data", "none.jsonl"), "cannot be read"),
        (("eval", "retrieval", "--data", "README.md"), "Line 1"),
        (("status", "/etc"), "/etc is too much for one"),
        (("daemon", "restart"), "Did you mean 'start', 'status'? See `codekin daemon --help`.\n"),
        (("eval", "retrieval", "--mode", "slow"), "'--mode': 'slow' is not one of 'fused', 'dense', 'text'; see"),
        (("rollback",), "There is no earlier model"),
        (("simlar",), "No such command"),
    ],
)
def test_wrong_use_is_status_two_and_one_sentence(codekin, sample, arguments, sentence):
    """Wrong use prints one sentence to standard error and nothing to standard output."""
    done = codekin(*arguments, cwd=sample)
    assert (done.status, done.out) == (2, "")
    assert sentence in done.err
    assert done.err.count("\n") == 1


def test_no_command_shows_the_overview_on_standard_output(codekin, data):
    """The overview lists the commands and the data folder."""
    done = codekin()
    assert "similar" in done.out
    assert str(data)


def test_the_chart_is_drawn_to_scale():
    """A tenth of a point is drawn flat, and a single run not at all."""
    assert _bar_chart([0.5]) == ""
    assert _bar_chart([0.6232, 0.6228]) == "0.623 ▁▁ 0.623"
    assert _bar_chart([0.5, 0.6, 0.7]) == "0.500 ▁▅█ 0.700"
