"""Writes `activations.safetensors` beside the bundled encoder: how its activations are spread over 8 bits.

    python training/calibrate.py [FOLDER]

Reads code written by hand for this project (`training/parallel/written`) and the package's own, runs the encoder in
float32, and notes for each product of each layer the range of what it reads and, where a few channels are much larger
than the others, what each channel is divided by: the square root of its largest value. Run it again after the encoder
was trained: the ranges are part of what its vectors depend on.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from codekin.models.catalogue import read_json
from codekin.models.embedding.local import BUNDLED_FOLDER, bert_tokenizer, read_tokenizer
from codekin.models.embedding.onnx_encoder import SCALES_FILE, map_tensors, open_session, read_embeddings, read_shape
from codekin.models.embedding.onnx_graph import HIDDEN, LARGE_CHANNELS, bert_graph, product_inputs
from codekin.parsing import cut_chunks

REPOSITORY = Path(__file__).parents[1]
SMOOTHED_PLACES = (0, 2, 3)
"""All but the mixed values, whose channels are of one size."""

SMOOTHING = 0.5
MARGIN = 1.1
"""How much further than the texts read the ranges go."""

MOST_TEXTS = 180
CHANNEL_FLOOR = 1e-3

Extremes = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""By tensor the least and the greatest value of each channel."""


def main() -> None:
    """Measures and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=BUNDLED_FOLDER)
    folder = parser.parse_args().folder
    texts = calibration_texts()
    found = observe(folder, texts)
    save_file(scales(found), folder / SCALES_FILE)
    print(f"{len(texts)} texts, {folder / SCALES_FILE}")


def observe(folder: Path, texts: list[str]) -> Extremes:
    """What the products of an encoder read while it reads the texts, one by one."""
    config, tensors = read_json(folder / "config.json"), map_tensors(folder / "model.safetensors")
    shape = read_shape(config)
    names = [name for places in product_inputs(shape.layers) for name in places if name != HIDDEN]
    graph = bert_graph(tensors, shape, observed=names)
    session = open_session(graph, 1)
    embeddings = read_embeddings(tensors, shape)
    tokenizer = read_tokenizer(folder / "tokenizer.json", int(config["vocab_size"]))
    found: Extremes = {}
    for ids in bert_tokenizer(tokenizer, int(config["max_tokens"]))(texts, "passage").ids:
        rows = embeddings.look_up(np.array([ids]))
        for name, values in zip([HIDDEN, *names], [rows, *session.run(names, {HIDDEN: rows})], strict=True):
            low, high = found.get(name, (values[0, 0], values[0, 0]))
            found[name] = np.minimum(low, values.min(axis=(0, 1))), np.maximum(high, values.max(axis=(0, 1)))
    return found


def scales(extremes: Extremes) -> dict[str, NDArray[np.float32]]:
    """The tensors of the file: for each layer the ranges (4, 2) of its products, and factors (channels,) by place."""
    found: dict[str, NDArray[np.float32]] = {}
    for layer, names in enumerate(product_inputs(len(extremes) // 4)):
        ranges = np.empty((len(names), 2), np.float32)
        for place, name in enumerate(names):
            low, high = extremes[name]
            if place in SMOOTHED_PLACES:
                factors = ((np.maximum(-low, high) + CHANNEL_FLOOR) ** SMOOTHING).astype(np.float32)
                found[f"layer.{layer}.factors.{place}"] = factors
                kept = np.argsort(factors)[: len(factors) - LARGE_CHANNELS.get(place, 0)]
                low, high = (low / factors)[kept], (high / factors)[kept]
            ranges[place] = MARGIN * low.min(), MARGIN * high.max()
        found[f"layer.{layer}.ranges"] = ranges
    return found


def calibration_texts() -> list[str]:
    """Code in Elixir, C++ and Python and what its documentation says, in equal parts; the same at each run."""
    written = [
        value
        for path in sorted((REPOSITORY / "training" / "parallel" / "written").glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
        for value in json.loads(line).values()
        if isinstance(value, str) and "\n" in value
    ]
    sources = sorted((REPOSITORY / "server").rglob("*.py"))
    chunks = [chunk for path in sources for chunk in cut_chunks(path.name, path.read_text(encoding="utf-8"))[0]]
    own, words = [chunk.text for chunk in chunks], [chunk.doc.partition("\n")[0] for chunk in chunks if chunk.doc]
    third = MOST_TEXTS // 3
    return ["", "x", *(text for texts in (written, own, words) for text in texts[:: len(texts) // third][:third])]


if __name__ == "__main__":
    main()
