"""Adapters on small checkpoints of the true architectures: they learn, and serve as peft itself has them serve."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
import transformers

from codekin.errors import CheckpointError
from codekin.finetune.trainers.encoder import LORA, BaseModel, LoraTrainableModel
from codekin.finetune.trainers.loop import TrainingOptions
from codekin.models import checkpoints
from codekin.models.catalogue import load_catalogue
from codekin.models.embedding.finetuned import load_checkpoint
from codekin.models.embedding.local import load_bundled
from codekin.models.embedding.pretrained import load_pretrained
from codekin.models.linear import PLAIN_KERNEL
from models import tiny_checkpoints

# peft asks transformers by a name of its past.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Already found a .peft_config.:UserWarning"),
]
torch.set_num_threads(1)
TRAINING = TrainingOptions(epochs=4, learning_rate=1e-3, batch_size=4, seed=3)
FAMILIES = ("qwen2", "jina_embeddings_v3", "xlm-roberta", "bert")
ANCHORS = ["def run do", "int go();", "Map.put(a, b)", "return 1;", "case x do", "while (y)", "raise e", "throw e;"]
TEXTS = (ANCHORS, [f"{text} # again" for text in ANCHORS], ANCHORS[::-1])
PROBES = ["def add(a, b), do: a + b", "x", "int main() { return 0; }"]


def subject(folder: Path, family: str, checkpointing: bool = True) -> BaseModel:
    """A small checkpoint of a family, and the row that says how it is read."""
    options = {"pad_token_id": 1} if family in {"jina_embeddings_v3", "xlm-roberta"} else {}
    tiny_checkpoints.embedder(folder, family, **options)
    rows = {"qwen2": "qodo", "jina_embeddings_v3": "jina_v3", "bert": "codekin_embed", "xlm-roberta": "codekin_embed"}
    size = {"dimensions": 32, "context": 250, "vocabulary": 269, "hub_id": str(folder), "architecture": family}
    ends = {"qwen2": {"end_id": 0}, "bert": {}}.get(family, {"begin_id": 3, "end_id": 4, "truncations": ()})
    model = replace(load_catalogue()[rows[family]], **size, **ends)
    if family == "jina_embeddings_v3":
        for number, name in enumerate(sorted(set(model.adapters.values()))):
            torch.manual_seed(number)
            config = peft.LoraConfig(r=4, lora_alpha=1, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
            base = transformers.JinaEmbeddingsV3Model.from_pretrained(folder)
            peft.get_peft_model(base, config).save_pretrained(folder / name)
    return BaseModel(LORA, model, folder, dtype="float32", checkpointing=checkpointing)


def base_of(given: BaseModel):
    """The serving embedder, apart from the one in training."""
    if given.model.architecture == "bert":
        return load_bundled(given.base, kernel=PLAIN_KERNEL)
    return load_pretrained(given.model, given.base, dtype="float32")


def by_peft(given: BaseModel, adapter: Path, sequences: list[list[int]], merge: bool) -> np.ndarray:
    """One text at a time through transformers and peft alone: beside the weights, or merged into them."""
    module = transformers.AutoModel.from_pretrained(given.base, dtype=torch.float32, attn_implementation="eager")
    if task := given.model.adapters.get("passage"):
        module = peft.PeftModel.from_pretrained(module, given.base / task).merge_and_unload()
    learned = peft.PeftModel.from_pretrained(module, adapter)
    module = learned.merge_and_unload() if merge else learned
    rows = []
    for sequence in sequences:
        with torch.no_grad():
            hidden = module.eval()(input_ids=torch.tensor([sequence])).last_hidden_state[0]
        row = hidden[-1] if given.model.pooling == "last" else hidden.mean(0)
        rows.append((row / row.norm()).numpy())
    return np.array(rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_trains_and_serves_as_in_peft(tmp_path, family):
    """The loss falls; reloaded it is what was judged; beside the weights or merged it is one; the base stays itself."""
    given = subject(tmp_path / family, family)
    base, trainable_model = base_of(given), LoraTrainableModel(given)
    before = base.embed(PROBES)
    epochs = list(trainable_model.train(TEXTS, TRAINING, lambda *_: None))
    assert epochs[-1][0].loss < epochs[0][0].loss
    trained = epochs[-1][2]
    judged = trainable_model.local(trained)
    folder = tmp_path / "finetune"
    about = {"method": LORA, "base_space": base.space, "space": judged.space}
    place = checkpoints.write_checkpoint(folder, "night", trainable_model.files(trained), about)
    served = load_checkpoint(folder, "night", base)
    assert served.space == judged.space != base.space
    np.testing.assert_allclose(served.embed(PROBES), judged.embed(PROBES), atol=1e-6)
    sequences = base.tokenize(PROBES, "passage").ids
    for merge in (False, True):
        np.testing.assert_allclose(served.embed(PROBES), by_peft(given, place, sequences, merge), atol=1e-5)
    assert np.abs(served.embed(PROBES) - before).max() > 1e-3
    np.testing.assert_array_equal(base.embed(PROBES), before)


@pytest.mark.parametrize("family", ["qwen2", "bert"])
def test_saving_memory_changes_no_loss(tmp_path, family):
    """Activations that are computed a second time are the same ones."""
    losses = [
        [passed.loss for passed, _, _ in LoraTrainableModel(subject(tmp_path / str(saving), family, saving)).train(
            TEXTS, TRAINING, lambda *_: None
        )]
        for saving in (True, False)
    ]  # fmt: skip
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_several_adapters_serve_side_by_side_on_one_model(tmp_path):
    """More adapters than are kept attached: each still gives its own vectors, and the base its own."""
    given = subject(tmp_path / "qwen2", "qwen2")
    trainable_model, base = LoraTrainableModel(given), base_of(given)
    nights = [
        trainable_model.local(trained)
        for _, _, trained in trainable_model.train(TEXTS, replace(TRAINING, epochs=5), lambda *_: None)
    ]
    once = [night.embed(PROBES) for night in nights]
    assert len({night.space for night in nights}) == len({rows.tobytes() for rows in once}) == 5
    for night, rows in zip(nights, once, strict=True):
        np.testing.assert_array_equal(night.embed(PROBES), rows)
    np.testing.assert_array_equal(base.embed(PROBES), base_of(given).embed(PROBES))


def test_a_foreign_or_broken_adapter_is_refused(tmp_path):
    """That of another shape, of another kind, or without its factor; the base serves on."""
    given, other = subject(tmp_path / "qwen2", "qwen2"), subject(tmp_path / "bert", "bert")
    files = LoraTrainableModel(other).files(next(LoraTrainableModel(other).train(TEXTS, TRAINING, lambda *_: None))[2])
    base, folder = base_of(given), tmp_path / "finetune"
    about = {"method": LORA, "base_space": base.space, "space": "elsewhere"}
    checkpoints.write_checkpoint(folder, "foreign", files, about)
    for _ in "again":  # a refused one leaves nothing behind
        with pytest.raises(CheckpointError, match="does not belong to this model"):
            load_checkpoint(folder, "foreign", base)
    checkpoints.write_checkpoint(folder, "kind", {**files, "adapter_config.json": b'{"peft_type": "IA3"}'}, about)
    with pytest.raises(CheckpointError, match="no LoRA adapter"):
        load_checkpoint(folder, "kind", base)
    assert np.isfinite(base.embed(PROBES)).all()
