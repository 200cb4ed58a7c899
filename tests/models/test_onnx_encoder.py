"""The bundled encoder in 8-bit integers: close to float32, the same in any batch, without torch."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from codekin.errors import CheckpointError
from codekin.models import queues
from codekin.models.catalogue import read_json
from codekin.models.embedding import onnx_encoder
from codekin.models.embedding.local import BUNDLED_FOLDER, load_bundled
from codekin.models.embedding.onnx_encoder import (
    SCALES_FILE,
    OnnxEncoder,
    map_tensors,
    read_embeddings,
    read_shape,
    split_by_length,
)
from codekin.models.embedding.onnx_graph import MAX_PAIR, MAX_WEIGHT, bert_graph, quantise_rows
from codekin.models.linear import PLAIN_KERNEL

FILES = ("config.json", "tokenizer.json", "model.safetensors", SCALES_FILE)
SOURCE = Path(onnx_encoder.__file__).read_text(encoding="utf-8")
TEXTS = ["def add(a, b), do: a + b", "x", "", "a \ud800 b\0c", "[CLS] [SEP]", *SOURCE.split("\n\n\n")]


@pytest.fixture(scope="module")
def plain():
    """The vectors of torch's float32."""
    return load_bundled(kernel=PLAIN_KERNEL).embed(TEXTS)


def copy_bundle(folder: Path) -> Path:
    """The bundled encoder in a folder of the test's."""
    folder.mkdir(exist_ok=True)
    for name in FILES:
        (folder / name).write_bytes((BUNDLED_FOLDER / name).read_bytes())
    return folder


def test_a_float_graph_equals_torch(plain):
    """The graph that is written computes what BERT computes."""
    config = read_json(BUNDLED_FOLDER / "config.json")
    tensors = map_tensors(BUNDLED_FOLDER / "model.safetensors")
    shape = read_shape(config)
    encoder = OnnxEncoder(read_embeddings(tensors, shape), bert_graph(tensors, shape))
    np.testing.assert_allclose(encoder.embed(load_bundled().tokenize(TEXTS, "passage").ids), plain, atol=2e-5)


def test_8_bits_stay_near_float32(plain):
    """Rounding turns a vector of code by little, and the space says that it was rounded."""
    rounded = load_bundled()
    cosines = (rounded.embed(TEXTS) * plain).sum(axis=1)
    assert cosines.mean() > 0.99
    assert cosines.min() > 0.97
    assert rounded.space != load_bundled(kernel=PLAIN_KERNEL).space


def test_no_two_levels_saturate_on_avx2():
    """Neighbours of one sign stay within 16 bits whatever the rows are, and a row's levels give its weights back."""
    weight = np.random.default_rng(7).standard_t(4, (64, 384)).astype(np.float32)
    weight[0, :2] = weight[1, 2:4] = 9.0
    levels, steps = quantise_rows(weight)
    pairs = levels.astype(int).reshape(64, -1, 2)
    sums = np.maximum(np.maximum(pairs, 0).sum(axis=2), np.maximum(-pairs, 0).sum(axis=2))
    assert sums.max() <= MAX_PAIR
    assert np.abs(pairs).max() <= MAX_WEIGHT
    np.testing.assert_allclose(levels * steps[:, None], weight, atol=float(steps.max()) / 2 * 1.001)


def test_a_vector_depends_on_its_text_alone():
    """Batches, their order, threads and priorities change nothing."""
    embedder = load_bundled()
    together = embedder.embed(TEXTS)
    np.testing.assert_allclose(embedder.embed(TEXTS[::-1])[::-1], together, atol=1e-6)
    np.testing.assert_allclose([embedder.embed([text])[0] for text in TEXTS], together, atol=1e-6)

    def in_background():
        queues.set_thread_priority("index", 3)
        return embedder.embed(TEXTS)

    with ThreadPoolExecutor(2) as pool:
        for vectors in [pool.submit(in_background), pool.submit(embedder.embed, TEXTS)]:
            np.testing.assert_allclose(vectors.result(120), together, atol=1e-6)


def test_parts_hold_every_text_once_and_lengths_apart():
    """What runs together has one length, and no part takes more than its thread's share."""
    lengths = [3, 250, 3, 250, 90, 250, 0, 250]
    for parts in (1, 2, 16):
        found = split_by_length(lengths, parts)
        assert sorted(at for part in found for at in part) == list(range(len(lengths)))
        assert all(len({lengths[at] for at in part}) == 1 for part in found)
    assert max(map(len, split_by_length(lengths, 16))) == 2
    assert split_by_length([], 2) == []


def test_the_bundled_encoder_needs_no_torch():
    """Loading and embedding import neither torch nor transformers."""
    code = (
        "import sys; from codekin.models.loading import choose_embedder; from codekin.settings import ModelSettings;"
        "embedder = choose_embedder(ModelSettings()); embedder.embed(['x']);"
        "print([name for name in ('torch', 'transformers', 'peft', 'huggingface_hub') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]" or Path("/dev/nvidiactl").exists()


def test_other_scales_are_another_space(tmp_path):
    """Vectors that were rounded differently are never compared."""
    folder = copy_bundle(tmp_path / "bundle")
    assert load_bundled(folder).space == load_bundled().space
    scales = load_file(folder / SCALES_FILE)
    save_file({**scales, "layer.0.ranges": scales["layer.0.ranges"] * 1.5}, folder / SCALES_FILE)
    assert load_bundled(folder).space != load_bundled().space
    (folder / SCALES_FILE).unlink()
    assert load_bundled(folder).space == load_bundled(kernel=PLAIN_KERNEL).space


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_a_sentence(tmp_path, name):
    """Half a file raises one sentence of ours."""
    folder = copy_bundle(tmp_path / "bundle")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="again"):
        load_bundled(folder)


def test_wrong_weights_are_a_sentence(tmp_path):
    """A missing tensor, one of another shape and one that is not finite are refused."""
    folder = copy_bundle(tmp_path / "bundle")
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("layer.3.output.dense.weight"))
    for wrong in ({}, {name: tensors[name][:, :7]}, {name: np.full_like(tensors[name], np.inf)}):
        others = {key: value for key, value in tensors.items() if key != name}
        save_file(others | wrong, folder / "model.safetensors")
        with pytest.raises(CheckpointError, match=r"again|finite"):
            load_bundled(folder)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(read_json(folder / "config.json") | {"num_hidden_layers": 7}))
    with pytest.raises(CheckpointError, match="again"):
        load_bundled(folder)
