"""Runs one fine-tuning of one workspace: mine, train, evaluate, gate, publish.

`finetune_workspace` reads from top to bottom; a `RunContext` carries the run from step to step. Reads the index and
writes checkpoints and the run history. The serving process swaps the model in when the pointer `active` has moved.
"""

import errno
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from codekin.errors import CheckpointError, FinetuneError, NothingToTrainError
from codekin.finetune import history
from codekin.finetune.dataset.training_set import TripletTexts
from codekin.finetune.dataset.triplet_file import load_given_triplets
from codekin.finetune.dataset.triplets import TripletMix
from codekin.finetune.dataset.workspace import CommitsReader, EarlierTextsReader, WorkspaceDataset, load_dataset
from codekin.finetune.evaluation import (
    ComparedModels,
    EmbeddingCache,
    ModelComparison,
    ProgressCallback,
    compare_models,
)
from codekin.finetune.gate import GateDecision, decide_activation, needed_queries, select_gate_kinds
from codekin.finetune.progress import EpochReporter
from codekin.finetune.publication import FinetuneOutcome, earlier_heads, record_outcome
from codekin.finetune.scheduler import BY_SCHEDULE
from codekin.finetune.trainers.encoder import TrainableModel
from codekin.finetune.trainers.loop import TrainingOptions
from codekin.finetune.trainers.methods import TrainerDependencies, TrainingResult, open_trainable_model, train
from codekin.finetune.trainers.resume_state import ResumeState, delete_resume_state
from codekin.models import checkpoints
from codekin.models.embedding.finetuned import load_active_embedder
from codekin.protocols import Embedder
from codekin.settings import Settings
from codekin.storage import ChunkIndex


@dataclass(frozen=True, slots=True)
class FinetuneConfig:
    """What a run shall do; `triplets_file` holds triplets to train on in place of mined ones."""

    mix: TripletMix
    training: TrainingOptions
    method: str = "head"
    trigger: str = "user"
    date: str = ""
    dry_run: bool = False
    keep: int = 5
    triplets_file: str = ""
    device: str = "cpu"

    @property
    def is_scheduled(self) -> bool:
        """Whether the scheduler began it, not the user."""
        return self.trigger == BY_SCHEDULE


@dataclass(frozen=True, slots=True)
class FinetuneDependencies:
    """What is opened only if a run needs it: the model to train by a method, what serves now, and earlier texts.

    `emit` takes events for the user: `dataset` once (what was found), `epoch` after each epoch (its figures).
    """

    trainable_model: Callable[[str], TrainableModel]
    serving: Callable[[], Embedder]
    read_earlier_texts: EarlierTextsReader = lambda _: {}
    read_commits: CommitsReader = lambda _: ()
    emit: Callable[[Mapping[str, Any]], None] = lambda _: None


def local_dependencies(
    folder: Path,
    embedder: Embedder,
    read_earlier_texts: EarlierTextsReader = lambda _: {},
    read_commits: CommitsReader = lambda _: (),
) -> FinetuneDependencies:
    """For a model that is loaded in this process."""
    return FinetuneDependencies(
        lambda method: open_trainable_model(method, embedder, Settings()),
        lambda: load_active_embedder(folder, embedder),
        read_earlier_texts,
        read_commits,
    )


@dataclass(frozen=True, slots=True)
class RunContext:
    """One run on its way through the steps: its number and checkpoint, what it shall do, and what it may open.

    `base` embeds with the model as it came; `used_change` is the last change in the journal that an earlier run used.
    """

    folder: Path
    number: int
    checkpoint: str
    used_change: int
    config: FinetuneConfig
    base: EmbeddingCache
    dependencies: FinetuneDependencies
    on_progress: ProgressCallback

    @property
    def meta(self) -> dict[str, Any]:
        """The metadata of every checkpoint of the run."""
        embedder = self.base.embedder
        method = {"method": self.config.method, "model": embedder.name, "base_space": embedder.space}
        return {"id": self.checkpoint, "run": self.number, **method}


@dataclass(frozen=True, slots=True)
class ServingModel:
    """What serves the workspace now, and a sentence on the checkpoint that was refused in its place."""

    embedder: Embedder
    refusal: str = ""


def finetune_workspace(  # noqa: PLR0913, PLR0917 - what a run needs
    index: ChunkIndex,
    folder: Path,
    embedder: Embedder,
    config: FinetuneConfig,
    on_progress: ProgressCallback,
    dependencies: FinetuneDependencies | None = None,
) -> history.FinetuneRun:
    """Fine-tunes on the workspace's code and activates the result if it is better; returns the run as recorded.

    Raises NothingToTrainError where there is too little code, unless the run was scheduled; only the history has
    changed then. The caller holds the lock of fine-tuning.
    """
    run = _begin_run(folder, config, EmbeddingCache(folder, embedder, on_progress), on_progress, dependencies)
    with _recorded_failures(run):
        dataset = _mine(run, index)
        serving = _open_serving_model(run)
        trained = _train(run, dataset)
        comparison = _evaluate(run, dataset, serving, trained)
        decision = _gate(comparison)
        _publish(run, dataset.span, trained, decision, _run_report(serving, trained, comparison, decision))
    delete_resume_state(folder)
    return history.list_runs(folder, 1)[0]


def _begin_run(
    folder: Path,
    config: FinetuneConfig,
    base: EmbeddingCache,
    on_progress: ProgressCallback,
    dependencies: FinetuneDependencies | None,
) -> RunContext:
    """Records that the run has begun."""
    used = history.last_used_change(folder)
    number = history.begin_run(folder, config.trigger, config.date, asdict(config))
    checkpoint = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{number}"
    opened = dependencies or local_dependencies(folder, base.embedder)
    return RunContext(folder, number, checkpoint, used, config, base, opened, on_progress)


def _mine(run: RunContext, index: ChunkIndex) -> WorkspaceDataset:
    """Step 1: the workspace's functions, split into what trains and what is held out."""
    base = run.base
    opened = run.dependencies
    dataset = load_dataset(
        index, base.embedder.space, base.embed, run.used_change, opened.read_earlier_texts, opened.read_commits
    )
    if run.config.is_scheduled and dataset.span[0] and not dataset.changed:
        raise NothingToTrainError("Nothing changed since the last run.")
    if run.config.triplets_file:
        dataset = replace(dataset, given=load_given_triplets(Path(run.config.triplets_file), base.embed))
    run.dependencies.emit(_dataset_event(run, dataset))
    return dataset


def _dataset_event(run: RunContext, dataset: WorkspaceDataset) -> dict[str, Any]:
    """What the run found and what it will do, for the header of its output."""
    samples = [*dataset.train_samples, *dataset.held_out]
    found = {
        "languages": Counter(sample.chunk.language for sample in samples),
        "train": len(dataset.train_samples),
        "held_out": len(dataset.held_out),
        "tests": len(dataset.tests),
        "versions": len(dataset.versions),
    }
    device = "cpu" if run.config.method == "head" else run.config.device
    config = {"model": run.base.embedder.name, "method": run.config.method, "device": device}
    count = len(dataset.given.rows) if dataset.given else run.config.mix.count
    return {"event": "dataset", **config, **found, "triplets": count, "training": asdict(run.config.training)}


def _open_serving_model(run: RunContext) -> ServingModel:
    """The model that serves; where its checkpoint is refused, the model as it came."""
    try:
        return ServingModel(run.dependencies.serving())
    except CheckpointError as error:
        return ServingModel(
            run.base.embedder, f"{error} The model as it came serves meanwhile, and the new one is compared with it."
        )


def _train(run: RunContext, dataset: WorkspaceDataset) -> TrainingResult:
    """Step 2: trains by the method that was chosen, and writes a checkpoint for each epoch."""

    def keep_epoch(epoch: dict[str, Any], files: Mapping[str, bytes], space: str) -> None:
        if not run.config.dry_run:
            epoch["checkpoint"] = f"{run.checkpoint}-e{epoch['epoch']}"
            meta = {**run.meta, "space": space, "figures": epoch}
            checkpoints.write_checkpoint(run.folder, epoch["checkpoint"], files, meta)

    def resume_state(texts: TripletTexts, training: TrainingOptions) -> ResumeState:
        return ResumeState(run.folder, run.config.method, run.base.embedder.space, training, texts)

    method, base = run.config.method, run.base
    on_epoch = EpochReporter(run.config.training.epochs, run.dependencies.emit)
    dependencies = TrainerDependencies(
        base.embedder,
        base.embed,
        lambda: run.dependencies.trainable_model(method),
        keep_epoch,
        resume_state,
        on_epoch,
        earlier_heads(run.folder, base.embedder.space),
    )
    return train(method, dependencies, dataset, (run.config.mix, run.config.training), run.on_progress)


def _evaluate(
    run: RunContext, dataset: WorkspaceDataset, serving: ServingModel, trained: TrainingResult
) -> ModelComparison:
    """Step 3: compares the new model with the one that serves and with the base, on code that trained neither."""
    base = run.base.embedder
    is_base = serving.embedder.space == base.space
    served = run.base if is_base else EmbeddingCache(run.folder, serving.embedder, run.on_progress)
    shared = EmbeddingCache(run.folder.parent, base, run.on_progress)
    models = ComparedModels(run.base.embed, served.embed, trained.embed, shared.embed)
    return compare_models(dataset, models, select_gate_kinds)


def _gate(comparison: ModelComparison) -> GateDecision:
    """Step 4: whether the new model may take over."""
    count = comparison.deciding_queries
    return decide_activation(comparison.deciding, comparison.general, count, comparison.from_base)


def _publish(
    run: RunContext,
    span: tuple[int, int],
    trained: TrainingResult,
    decision: GateDecision,
    report: Mapping[str, Any],
) -> None:
    """Step 5: writes the checkpoint, activates it if the gate agreed, and records how the run ended."""
    checkpoint = "" if run.config.dry_run else run.checkpoint
    outcome = FinetuneOutcome(run.number, checkpoint, decision, report, span, run.config.keep)
    record_outcome(run.folder, outcome, trained.files, {**run.meta, "space": trained.space})


def _run_report(
    serving: ServingModel, trained: TrainingResult, comparison: ModelComparison, decision: GateDecision
) -> dict[str, Any]:
    """The figures of a run, as the history keeps them."""
    return {
        "better": decision.activate,
        "triplets": trained.triplets,
        "sources": dict(trained.sources),
        "note": " ".join(filter(None, (serving.refusal, trained.note))),
        "epochs": trained.epochs,
        "queries": sum(comparison.counts.values()),
        "needed_queries": needed_queries(comparison.deciding, comparison.deciding_queries),
        "counts": dict(comparison.counts),
        "evaluation": asdict(comparison.deciding),
        "all": asdict(comparison.overall),
        "from_base": asdict(comparison.from_base),
        "general": asdict(comparison.general),
        "beam": dict(comparison.beam),
    }


@contextmanager
def _recorded_failures(run: RunContext) -> Iterator[None]:
    """Records a run that fails, with the reason; a scheduled run that found nothing to train on is no error."""
    try:
        yield
    except NothingToTrainError as error:
        _record_skipped(run, error)
        if not run.config.is_scheduled:
            raise
    except FinetuneError as error:
        _record_skipped(run, error)
        raise
    except MemoryError as error:
        message = out_of_memory_message(run.config.method)
        history.end_run(run.folder, run.number, history.FAILED, message, {})
        raise FinetuneError(message) from error
    except OSError as error:
        _record_disk_failure(run, error)
        raise
    except Exception as error:
        history.end_run(run.folder, run.number, history.FAILED, f"It failed: {error}", {})
        raise


def _record_skipped(run: RunContext, error: FinetuneError) -> None:
    history.end_run(run.folder, run.number, history.SKIPPED, str(error), {})
    delete_resume_state(run.folder)


def _record_disk_failure(run: RunContext, error: OSError) -> None:
    """Records the failure where that is possible; raises FinetuneError for a full disk."""
    is_full = error.errno == errno.ENOSPC
    reason = disk_full_message(run.folder) if is_full else f"It failed: {error}"
    with suppress(FinetuneError):  # a history that cannot be written either is mended by the next run
        history.end_run(run.folder, run.number, history.FAILED, reason, {})
    if is_full:
        raise FinetuneError(reason) from error


def out_of_memory_message(method: str) -> str:
    """What to do about it, in a sentence."""
    less = {"full": "take the method lora or head", "lora": "take the method head"}.get(method, "close other programs")
    return f"Memory ran out even for one triplet at a time: {less}, which needs less; the previous model stays active."


def disk_full_message(folder: Path) -> str:
    """What to do about it, in a sentence."""
    return f"The disk of {folder} is full: free some space and fine-tune again; the previous model stays active."
