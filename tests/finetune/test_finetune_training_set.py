"""What a run practises on beside triplets, where a head begins, and which questions decide."""

import re
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from finetune_samples import NoisyEmbedder, application

from codekin.errors import CheckpointError
from codekin.finetune.dataset.functions import TEST_KINDS, select_samples, split_by_file
from codekin.finetune.dataset.training_set import (
    HARD_VIEWS,
    MAX_TEST_REPEATS,
    VALIDATION_SHARE,
    VIEWS,
    build_training_set,
    cut_span,
    deal_lines,
    describe_test,
    name_and_body,
    sample_view_pairs,
    split_names,
)
from codekin.finetune.dataset.triplets import TripletMix
from codekin.finetune.dataset.workspace import WorkspaceDataset
from codekin.finetune.evaluation import build_evaluation_queries
from codekin.finetune.gate import select_gate_kinds
from codekin.finetune.trainers.head import initial_head, tfidf_metric
from codekin.models.checkpoints import head_files
from codekin.models.embedding.local import load_bundled
from codekin.parsing import cut_chunks, tokenize
from models.tiny_checkpoints import embedder as tiny_checkpoint


@pytest.fixture(scope="module")
def samples():
    return select_samples(chunk for path, text in application(40).items() for chunk in cut_chunks(path, text)[0])


@pytest.fixture(scope="module")
def dataset(samples):
    train_samples, held_out = split_by_file(samples, 0.2)
    embedder = NoisyEmbedder()
    rows, held_rows = (embedder.embed([sample.chunk.text for sample in side]) for side in (train_samples, held_out))
    return WorkspaceDataset(train_samples, rows, [], rows[:0], held_out, held_rows, frozenset(), {}, (0, 0))


def test_views_share_no_text_and_lose_none(samples):
    """What is cut out and what is left, or the two hands of lines, make the function again."""
    for sample in samples:
        cut, rest = cut_span(sample, Random(1))
        assert sorted((cut + rest).split()) == sorted(sample.code.split())
        one, other = next(pair for seed in range(9) if (pair := deal_lines(sample, Random(seed))))
        assert sorted([*one.split("\n"), *other.split("\n")]) == sorted(sample.code.split("\n"))


def test_no_view_is_a_question_that_decides(samples):
    """Neither text of a pair is a documentation's sentence, a half or a renamed function."""
    queries = {
        question.text for question in build_evaluation_queries(samples, range(len(samples))) if question.kind != "role"
    }
    for views in (VIEWS, HARD_VIEWS):
        pairs = sample_view_pairs(samples, 200, Random(0), views)
        assert len(pairs) == 200
        assert {view for view, _, _ in pairs} == set(range(len(views)))
        assert not queries & {text for _, *both in pairs for text in both}


def test_the_views_of_an_encoder_share_no_name(samples):
    """Each name stands in one of the two texts alone, and none is lost."""
    for sample in samples:
        one, other, whole = (
            set(re.findall(r"\w{2,}", text)) for text in (*split_names(sample, Random(1)), sample.code)
        )
        assert one | other == whole
        assert one & other <= {token.text for token in tokenize("elixir", sample.code) if token.kind == "keyword"}


def test_the_name_is_removed_from_the_code_that_it_is_the_query_for(samples):
    """The name is removed from the code, so that its words alone do not answer the query."""
    words, code = name_and_body(samples[0], Random(0))
    assert words
    assert samples[0].role.partition("/")[0] not in code


def test_a_tests_description_is_paired_with_its_body():
    """By the string of an Elixir test, by the names of a C++ one; the body does not say it again."""
    elixir = 'test "gives the limit back when set", %{limit: limit} do\n  # not this\n  assert run(limit) == limit\nend'
    cpp = "TEST(FooTest, HandlesEmptyInput) {\n  int found = foo();\n  EXPECT_EQ(found, 1);\n}"
    found = [*cut_tests("test/a_test.exs", elixir), *cut_tests("test/foo_test.cc", cpp)]
    assert [describe_test(sample, Random(0)) for sample in found] == [
        ("gives the limit back when set", "  assert run(limit) == limit\nend"),
        ("test foo test handles empty input", "  int found = foo();\n  EXPECT_EQ(found, 1);\n}"),
    ]


def test_a_test_with_an_uninformative_name_is_no_pair():
    """A test named `it works` is no training pair."""
    (sample,) = cut_tests("test/a_test.exs", 'test "it works" do\n  assert run(1)\n  assert run(2)\nend')
    assert describe_test(sample, Random(0)) is None


def test_an_encoder_trains_on_tests_of_training_files(dataset):
    """Tests of training files are pairs, each repeated a bounded number of times; held-out ones are not."""
    texts = {
        f"test/part{at}_test.exs": f'test "counts up to number {at}" do\n  a = {at}\n  run(a)\nend' for at in range(40)
    }
    tests = [sample for path, text in texts.items() for sample in cut_tests(path, text)]
    training_set = build_training_set(replace(dataset, tests=split_by_file(tests, 0.2)[0]), TripletMix(200), pairs=3)
    descriptions = [one for _, one, _ in training_set.hard_pairs if one.startswith("counts up")]
    train_samples = {sample.code.split('"')[1] for sample in tests if sample.split_position >= VALIDATION_SHARE}
    assert set(descriptions) == train_samples
    assert len(descriptions) == MAX_TEST_REPEATS * len(train_samples)
    assert len(training_set.hard_pairs) == 3 * training_set.count


def cut_tests(path, text):
    """The samples of a file's tests."""
    return select_samples(cut_chunks(path, text)[0], TEST_KINDS)


def test_validation_is_in_neither_triplets_nor_views(dataset):
    """Files of a share of their own; what is held out is in none of the three."""
    training_set = build_training_set(dataset, TripletMix(100))
    apart = {sample.chunk.path for sample in training_set.validation}
    used = {sample.chunk.path for sample in training_set.samples}
    held_out = {sample.chunk.path for sample in dataset.held_out}
    assert apart
    assert used
    assert not apart & used
    assert not held_out & (used | apart)
    assert all(sample.code not in training_set.texts[0] for sample in training_set.validation)


def test_a_lesson_is_the_same_every_time(dataset):
    """A killed run finds its place again by the texts."""
    assert build_training_set(dataset, TripletMix(80)).texts == build_training_set(dataset, TripletMix(80)).texts


def test_a_head_begins_where_rare_words_count_more():
    """The direction of a word that few texts have gets longer against that of a word that all have."""
    generator = np.random.default_rng(0)
    count = 400
    rare = generator.random(count) < 0.1
    texts = [f"common word{at}{' rare' if seldom else ''}" for at, seldom in enumerate(rare)]
    vectors = 0.1 * generator.standard_normal((count, 16)).astype(np.float32)
    vectors[:, 0] += 1.0
    vectors[rare, 1] += 1.0
    vectors -= vectors.mean(axis=0)
    metric = tfidf_metric(vectors, texts)
    assert metric[1, 1] > 5 * metric[2, 2]
    head = initial_head((vectors, texts), (vectors[:0], []), np.zeros(16, np.float32))
    assert head.shape == (16, 16)
    assert np.isfinite(head).all()


def test_a_head_removes_what_only_separates_names_from_code():
    """The initial head removes the offset between names and code."""
    vectors = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    offset = np.zeros(8, np.float32)
    offset[3] = 2.0
    head = initial_head((vectors, ["a b"] * 50), (vectors[:0], []), offset)
    assert np.abs(head @ offset).max() < 1e-5


def test_few_vectors_are_drawn_to_the_identity():
    """With two vectors the initial head is close to the identity."""
    vectors = np.random.default_rng(0).standard_normal((2, 64)).astype(np.float32)
    head = initial_head((vectors, ["a b", "a c"]), (vectors[:0], []), np.zeros(64, np.float32))
    assert np.abs(head - np.eye(64)).max() < 0.2


def test_a_kind_with_few_questions_does_not_decide():
    """Unless there is no other."""
    assert select_gate_kinds({"half": 40, "sentence": 5, "role": 90}) == ("half",)
    assert select_gate_kinds({"half": 4, "role": 90}) == ("half",)


def test_an_encoder_takes_the_head_that_lies_beside_its_weights(tmp_path):
    """It is part of the space, and one that does not fit is refused."""
    folder = tiny_checkpoint(tmp_path / "bert", "bert")
    plain = load_bundled(folder)
    vectors = plain.embed(["def run do"])
    head = np.eye(plain.dimensions, dtype=np.float32)[::-1].copy()
    for name, content in head_files(head).items():
        (folder / name).write_bytes(content)
    topped = load_bundled(folder)
    assert topped.space != plain.space
    assert np.allclose(topped.embed(["def run do"]), vectors @ head.T, atol=1e-5)
    (folder / "head.safetensors").write_bytes(head_files(head[:4])["head.safetensors"])
    with pytest.raises(CheckpointError, match="The head has shape"):
        load_bundled(folder)
