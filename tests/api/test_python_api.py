"""The library as docs/python.md shows it, and what it refuses."""

import doctest
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_checkpoints
from finetune_samples import application

from codekin import Embeddings, Generation, Trainer, Triplets
from codekin.errors import CheckpointError, CodekinError, NothingToTrainError, UsageError

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
ROW = ("def a(x), do: x + 1", "def b(y), do: y + 1", "def c(z), do: File.read(z)")


@pytest.fixture(scope="module")
def codebase(tmp_path_factory) -> Path:
    """An application of fifty modules on the disk."""
    root = tmp_path_factory.mktemp("codebase")
    for path, text in application(50).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def test_the_examples_of_the_page_run(codebase, tmp_path, data):
    """Every example gives what the page shows."""
    generator = tiny_checkpoints.generator(tmp_path / "generator", "qwen2")
    names = {"codebase": codebase, "folder": tmp_path, "generator": str(generator)}
    result = doctest.testfile(str(PAGE), module_relative=False, globs=names, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 25
    assert result.failed == 0


def test_importing_the_package_loads_nothing_heavy():
    """A script that only asks for the version has no torch, numpy or tree-sitter."""
    code = "import sys, codekin; print(sorted({'torch', 'numpy', 'tree_sitter'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture(scope="module")
def embeddings():
    return Embeddings()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda it: it.embed_batch("text"), "Give a list of texts"),
        (lambda it: it.embed_batch([1]), "must be a text"),
        (lambda _: Embeddings(model="none"), "none"),
        (lambda _: Generation(device="tpu"), "no tpu"),
        (lambda _: Triplets.generate(count=0), "`count` must be"),
        (lambda _: Triplets.generate(beam_ratio=2.0), "`beam_ratio` must be"),
        (lambda it: it.finetune([ROW] * 3), "too few to train"),
        (lambda it: it.finetune([ROW] * 20, method="magic"), "`method` must be one of"),
        (lambda it: it.finetune([ROW] * 20, learning_rate=0), "`learning_rate` must"),
        (lambda it: Trainer(embedder=it.embedder).train([("a", "b")] * 20), "Triplet 1"),
        (lambda _: Generation.recommended_model("games"), "no recommendation"),
    ],
)
def test_every_refusal_is_an_error_of_the_product(embeddings, call, words):
    """One sentence of Codekin's own, whatever was wrong."""
    with pytest.raises(CodekinError, match=words) as caught:
        call(embeddings)
    assert str(caught.value).endswith(".")


def test_too_little_code_is_refused(tmp_path):
    """A folder without functions."""
    with pytest.raises(NothingToTrainError, match="Not enough BEAM code"):
        Triplets.generate(codebase_root=tmp_path)
    with pytest.raises(UsageError):
        Triplets.generate(codebase_root=tmp_path / "none")


def test_a_trained_head_embeds_otherwise_and_is_read_back(codebase, embeddings, tmp_path):
    """What was saved gives the same vectors; a damaged checkpoint is refused and the model stays."""
    mined = Triplets.generate(count=60, codebase_root=codebase, embedder=embeddings.embedder)
    unlikely = [(one.anchor, one.negative, one.positive) for one in mined]  # wrong to the base
    report = embeddings.finetune(unlikely, epochs=20, learning_rate=1e-2)
    assert report.accuracy_after > report.accuracy_before
    trained = embeddings.embed("def add(a, b), do: a + b")
    report.save(tmp_path / "mine")
    assert embeddings.reload_model() == "codekin_embed"
    assert abs(float(embeddings.embed("def add(a, b), do: a + b") @ trained)) < 0.9999
    embeddings.reload_model(checkpoint=tmp_path / "mine")
    assert float(embeddings.embed("def add(a, b), do: a + b") @ trained) == pytest.approx(1.0, abs=1e-5)
    (tmp_path / "mine" / "checkpoint" / "head.safetensors").write_bytes(b"rotten")
    with pytest.raises(CheckpointError):
        embeddings.reload_model(checkpoint=tmp_path / "mine")
