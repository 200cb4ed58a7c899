"""What a run practises on beside triplets, where a head begins, and which questions decide."""

import re
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from learning_samples import NoisyEmbedder, application

from codekin.errors import CheckpointError
from codekin.learning.gate import deciding
from codekin.learning.heads import beginning, lexical_metric
from codekin.learning.lesson import MOST_TIMES, VALIDATION, prepare
from codekin.learning.material import Material
from codekin.learning.pieces import TESTS, pieces_of, split
from codekin.learning.queries import questions
from codekin.learning.triplets import Mix
from codekin.learning.views import HARD_VIEWS, VIEWS, cut_out, dealt_out, described, named, parted, view_pairs
from codekin.models.checkpoints import head_files
from codekin.models.embedders import load_bundled
from codekin.syntax import fragments, tokens
from models.tiny_checkpoints import embedder as tiny_checkpoint


@pytest.fixture(scope="module")
def pieces():
    return pieces_of(fragment for path, text in application(40).items() for fragment in fragments(path, text)[0])


@pytest.fixture(scope="module")
def material(pieces):
    learned, held = split(pieces, 0.2)
    embedder = NoisyEmbedder()
    rows, held_rows = (embedder.embed([piece.fragment.text for piece in side]) for side in (learned, held))
    return Material(learned, rows, [], rows[:0], held, held_rows, frozenset(), {}, (0, 0))


def test_views_share_no_text_and_lose_none(pieces):
    """What is cut out and what is left, or the two hands of lines, make the function again."""
    for piece in pieces:
        cut, rest = cut_out(piece, Random(1))
        assert sorted((cut + rest).split()) == sorted(piece.code.split())
        one, other = next(pair for seed in range(9) if (pair := dealt_out(piece, Random(seed))))
        assert sorted([*one.split("\n"), *other.split("\n")]) == sorted(piece.code.split("\n"))


def test_no_view_is_a_question_that_decides(pieces):
    """Neither text of a pair is a documentation's sentence, a half or a renamed function."""
    asked = {question.text for question in questions(pieces, range(len(pieces))) if question.kind != "role"}
    for views in (VIEWS, HARD_VIEWS):
        pairs = view_pairs(pieces, 200, Random(0), views)
        assert len(pairs) == 200
        assert {view for view, _, _ in pairs} == set(range(len(views)))
        assert not asked & {text for _, *both in pairs for text in both}


def test_what_an_encoder_learns_by_has_no_name_in_common(pieces):
    """Each name stands in one of the two texts alone, and none is lost."""
    for piece in pieces:
        one, other, whole = (set(re.findall(r"\w{2,}", text)) for text in (*parted(piece, Random(1)), piece.code))
        assert one | other == whole
        assert one & other <= {token.text for token in tokens("elixir", piece.code) if token.kind == "keyword"}


def test_the_name_is_taken_out_of_the_code_that_it_asks_for(pieces):
    """Or the words of the name would be found by themselves."""
    words, code = named(pieces[0], Random(0))
    assert words
    assert pieces[0].role.partition("/")[0] not in code


def test_what_a_test_says_is_paired_with_its_body():
    """By the string of an Elixir test, by the names of a C++ one; the body does not say it again."""
    elixir = 'test "gives the limit back when set", %{limit: limit} do\n  # not this\n  assert run(limit) == limit\nend'
    cpp = "TEST(FooTest, HandlesEmptyInput) {\n  int found = foo();\n  EXPECT_EQ(found, 1);\n}"
    found = [*cut_tests("test/a_test.exs", elixir), *cut_tests("test/foo_test.cc", cpp)]
    assert [described(piece, Random(0)) for piece in found] == [
        ("gives the limit back when set", "  assert run(limit) == limit\nend"),
        ("test foo test handles empty input", "  int found = foo();\n  EXPECT_EQ(found, 1);\n}"),
    ]


def test_a_test_that_says_little_is_no_pair():
    """`it works` tells nobody what."""
    (piece,) = cut_tests("test/a_test.exs", 'test "it works" do\n  assert run(1)\n  assert run(2)\nend')
    assert described(piece, Random(0)) is None


def test_an_encoder_practises_on_tests_of_files_that_are_learned_from(material):
    """And on no others: the questions are about what stands in them; few are not learned by heart."""
    texts = {
        f"test/part{at}_test.exs": f'test "counts up to number {at}" do\n  a = {at}\n  run(a)\nend' for at in range(40)
    }
    tests = [piece for path, text in texts.items() for piece in cut_tests(path, text)]
    lesson = prepare(replace(material, tests=split(tests, 0.2)[0]), Mix(200), pairs=3)
    told = [one for _, one, _ in lesson.hard_pairs if one.startswith("counts up")]
    learned = {piece.code.split('"')[1] for piece in tests if piece.share >= VALIDATION}
    assert set(told) == learned
    assert len(told) == MOST_TIMES * len(learned)
    assert len(lesson.hard_pairs) == 3 * lesson.count


def cut_tests(path, text):
    """The pieces of a file's tests."""
    return pieces_of(fragments(path, text)[0], TESTS)


def test_validation_is_in_neither_triplets_nor_views(material):
    """Files of a share of their own; what is held out is in none of the three."""
    lesson = prepare(material, Mix(100))
    apart = {piece.fragment.path for piece in lesson.validation}
    used = {piece.fragment.path for piece in lesson.pieces}
    held = {piece.fragment.path for piece in material.held}
    assert apart
    assert used
    assert not apart & used
    assert not held & (used | apart)
    assert all(piece.code not in lesson.texts[0] for piece in lesson.validation)


def test_a_lesson_is_the_same_every_time(material):
    """A killed run finds its place again by the texts."""
    assert prepare(material, Mix(80)).texts == prepare(material, Mix(80)).texts


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
    metric = lexical_metric(vectors, texts)
    assert metric[1, 1] > 5 * metric[2, 2]
    head = beginning((vectors, texts), (vectors[:0], []), np.zeros(16, np.float32))
    assert head.shape == (16, 16)
    assert np.isfinite(head).all()


def test_a_head_takes_out_what_only_tells_names_from_code():
    """A vector along that direction is nothing to it."""
    vectors = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    offset = np.zeros(8, np.float32)
    offset[3] = 2.0
    head = beginning((vectors, ["a b"] * 50), (vectors[:0], []), offset)
    assert np.abs(head @ offset).max() < 1e-5


def test_few_vectors_are_drawn_to_the_identity():
    """Two functions say nothing of a workspace."""
    vectors = np.random.default_rng(0).standard_normal((2, 64)).astype(np.float32)
    head = beginning((vectors, ["a b", "a c"]), (vectors[:0], []), np.zeros(64, np.float32))
    assert np.abs(head - np.eye(64)).max() < 0.2


def test_a_kind_with_few_questions_does_not_decide():
    """Unless there is no other."""
    assert deciding({"half": 40, "sentence": 5, "role": 90}) == ("half",)
    assert deciding({"half": 4, "role": 90}) == ("half",)


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
