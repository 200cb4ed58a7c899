"""Triplets of the user's own: read with every fault in one sentence, and kept apart from what evaluates."""

import json
from dataclasses import replace

import pytest

from codekin.errors import UsageError
from codekin.finetune.dataset.training_set import build_training_set
from codekin.finetune.dataset.triplet_file import (
    MAX_TEXT_CHARS,
    TripletText,
    embed_triplets,
    load_given_triplets,
    read_triplets,
)
from codekin.finetune.dataset.triplets import TripletMix
from codekin.finetune.dataset.workspace import load_dataset

ROW = {"anchor": "def a, do: 1", "positive": "def b, do: 1", "negative": "def c, do: other()"}


def write(tmp_path, *lines):
    path = tmp_path / "triplets.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_each_text_is_embedded_once(tmp_path, embedder):
    """Rows are positions among the different texts; blank lines count for nothing."""
    path = write(
        tmp_path, ROW, "", {**ROW, "negative": "int f() { return 2; }", "negative_language": "cpp", "kind": "x"}
    )
    given = load_given_triplets(path, embedder.embed)
    assert [(row[0], len(set(row[1:]))) for row in given.rows] == [("given", 3), ("x", 3)]
    assert len(given.samples) == len(given.vectors) == 4
    assert given.rows[0][1:3] == given.rows[1][1:3]
    assert given.samples[given.rows[1][3]].chunk.language == "cpp"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((), "holds no triplets"),
        ((ROW, "{"), "line 2 is not JSON"),
        (("[" * 100_000,), "line 1 is not JSON"),
        (("[1]",), "line 1 is no object"),
        (({"anchor": "a", "positive": "b"},), "line 1: `negative` must be a text"),
        (({**ROW, "anchor": " "},), "line 1: `anchor` must be a text"),
        (({**ROW, "anchor": "x" * (MAX_TEXT_CHARS + 1)},), "`anchor` has more than"),
        (({**ROW, "negative": ROW["positive"]},), "the negative is the same text"),
        (({**ROW, "anchor_language": "cobol"},), "`anchor_language` must be one of"),
    ],
)
def test_a_fault_is_one_sentence_with_its_line(tmp_path, lines, words):
    """What is wrong, where, and what to do."""
    with pytest.raises(UsageError, match=words) as caught:
        read_triplets(write(tmp_path, *lines))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_sentence(tmp_path):
    """A path that is none."""
    with pytest.raises(UsageError, match="cannot be read"):
        read_triplets(tmp_path / "none.jsonl")


def test_triplets_that_copy_held_out_code_are_left_out(shared_index, embedder):
    """The gate stays honest: what evaluates is in no triplet, and the note counts what was left out."""
    dataset = load_dataset(shared_index, embedder.space, embedder.embed, 0)
    held_out, trained = dataset.held_out[0].code, dataset.train_samples
    fair = TripletText((trained[0].code + "\n# mine", "def mine(x), do: x + 1", "def other(y), do: y * 2"))
    leak = TripletText((held_out, "def mine(x), do: x + 1", "def other(y), do: y * 2"))
    given = embed_triplets([fair, leak], embedder.embed)
    training_set = build_training_set(replace(dataset, given=given), TripletMix())
    assert training_set.note == "1 of 2 triplets copy code that evaluates the model: left out."
    (row,) = training_set.mined.rows
    assert [training_set.samples[at].code for at in row[1:]] == list(fair.texts)
    assert len(training_set.vectors) == len(training_set.samples)
