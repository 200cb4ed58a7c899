"""The fine-tuning process: `python -m codekin.finetune.worker --root R --data-dir D --socket S`.

Does one run and exits; with `--triplets` it only mines. Writes events as JSON lines to standard output: `progress`
(`phase`, `done`, `total`, `seconds_left` or null), `note` and `problem` (`message`), `done` (`result`: the run as the
history shows it). Reads `pause` and `go` from standard input; when the input or the parent ends, the process exits
and the active model stays. Under torchrun the process of rank 0 runs the pipeline and the others help to train.
"""

import argparse
import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from codekin import paths
from codekin.errors import CodekinError
from codekin.finetune import history
from codekin.finetune.dataset.commits import find_commits
from codekin.finetune.dataset.git_history import find_earlier_texts
from codekin.finetune.dataset.sources import require_sources
from codekin.finetune.dataset.triplets import TripletMix
from codekin.finetune.dataset.workspace import load_dataset, preview_triplets
from codekin.finetune.evaluation import EmbeddingCache
from codekin.finetune.history import finetune_lock
from codekin.finetune.pipeline import FinetuneConfig, FinetuneDependencies, finetune_workspace
from codekin.finetune.progress import RESUMED, ProgressReporter, emit_event
from codekin.finetune.scheduler import local_date
from codekin.finetune.trainers.encoder import release_helpers, train_as_helper
from codekin.finetune.trainers.loop import TrainingOptions, join_process_group, leave_process_group
from codekin.finetune.trainers.methods import open_serving_embedder, open_trainable_model, require_configured_model
from codekin.models import checkpoints
from codekin.models.embedding.remote import RemoteEmbedder
from codekin.models.planner import choose_device
from codekin.settings import load_settings
from codekin.storage import ChunkIndex

NICENESS = 19


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs once; the exit status is 0 when it came to a decision, 2 when not."""
    options = _parse_arguments(arguments)
    os.nice(NICENESS - os.nice(0))
    RESUMED.set()
    if "WORLD_SIZE" in os.environ:
        return _run_in_process_group(options)
    threading.Thread(target=_read_parent_commands, name="parent", daemon=True).start()
    return _run_alone(options)


def _run_in_process_group(options: argparse.Namespace) -> int:
    """Under torchrun: the first process leads, the others train along."""
    process_group = join_process_group()
    try:
        if not process_group.is_main:
            train_as_helper(process_group)
            return 0
        status = _run_alone(options)
        release_helpers(process_group)
        return status
    finally:
        leave_process_group()


def _run_alone(options: argparse.Namespace) -> int:
    try:
        result = _preview_triplets(options) if options.triplets else _finetune(options)
    except CodekinError as error:
        emit_event({"event": "problem", "message": str(error)})
        return 2
    except MemoryError:
        emit_event(
            {"event": "problem", "message": "Memory ran out: set a smaller finetune.batch_size or the method head."}
        )
        return 2
    emit_event({"event": "done", "result": result})
    return 0


def _finetune(options: argparse.Namespace) -> dict[str, Any]:
    data, root = paths.data_dir(options.data_dir), options.root.resolve()
    folder = paths.finetune_dir(data, root)
    with finetune_lock(data), ChunkIndex.open(paths.index_dir(data, root)) as index:
        embedder = RemoteEmbedder(options.socket)
        chosen = load_settings(data, root, json.loads(options.settings))[0].on_device(options.device)
        device = choose_device(chosen.models.device)
        require_configured_model(chosen.finetune.model, embedder.name)
        dependencies = FinetuneDependencies(
            lambda method: open_trainable_model(method, embedder, chosen),
            lambda: open_serving_embedder(folder, embedder, options.socket, root),
            partial(find_earlier_texts, root, folder),
            partial(find_commits, root, folder),
            emit_event,
        )
        config = replace(_read_config(options, data, root), device=device)
        run = finetune_workspace(index, folder, embedder, config, ProgressReporter(config.method, device), dependencies)
    return history.run_to_json(run, checkpoints.read_pointer(folder))


def _preview_triplets(options: argparse.Namespace) -> dict[str, Any]:
    """The triplets of a run with their texts, what they are like, and a note."""
    data, root = paths.data_dir(options.data_dir), options.root.resolve()
    folder, embedder = paths.finetune_dir(data, root), RemoteEmbedder(options.socket)
    with ChunkIndex.open(paths.index_dir(data, root)) as index:
        embed = EmbeddingCache(folder, embedder, ProgressReporter("head")).embed
        read_earlier_texts = partial(find_earlier_texts, root, folder)
        dataset = load_dataset(index, embedder.space, embed, history.last_used_change(folder), read_earlier_texts)
        return preview_triplets(dataset, _read_config(options, data, root).mix)


def _read_config(options: argparse.Namespace, data: Path, root: Path) -> FinetuneConfig:
    """The run that the settings and the command line request."""
    chosen = load_settings(data, root, json.loads(options.settings))[0].finetune
    is_scheduled = options.triggered_by == "schedule"
    training = TrainingOptions(
        epochs=options.epochs or (chosen.epochs if is_scheduled else chosen.manual_epochs),
        learning_rate=options.learning_rate or chosen.learning_rate,
        batch_size=options.batch_size or chosen.batch_size,
        margin=chosen.margin,
    )
    beam = chosen.beam_ratio if options.beam_ratio is None else options.beam_ratio
    cross_language = (
        chosen.cross_language_ratio if options.cross_language_ratio is None else options.cross_language_ratio
    )
    mix = TripletMix(options.count or chosen.count, beam, cross_language, sources=require_sources(chosen.sources))
    date = options.date or local_date(datetime.now(UTC), chosen)
    method, file = options.method or chosen.method, options.triplets_file
    keep = chosen.keep_checkpoints
    return FinetuneConfig(mix, training, method, options.triggered_by, date, options.dry_run, keep, file)


def _read_parent_commands() -> None:
    """The daemon holds our input open for as long as it lives.

    Reads the descriptor itself, since a thread inside a buffered reader upsets Python's own exit.
    """
    while received := os.read(sys.stdin.fileno(), 1 << 10):
        for line in received.split():
            RESUMED.clear() if line == b"pause" else RESUMED.set()
    os._exit(1)


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="codekin.finetune.worker")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--settings", default="{}", help="the editor's settings, as JSON")
    parser.add_argument("--triggered-by", choices=["user", "schedule"], default="user")
    parser.add_argument("--date", default="")
    parser.add_argument("--method", choices=["head", "lora", "full"])
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--batch-size", type=int, default=0)
    parser.add_argument("--beam-ratio", type=float)
    parser.add_argument("--cross-language-ratio", type=float)
    parser.add_argument("--device", default="")
    parser.add_argument("--triplets-file", default="", help="JSON Lines to train on in place of mined triplets")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--triplets", action="store_true", help="only mine the triplets and print them")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
