"""The learner's process: `python -m codekin.learning.child --root R --data-dir D --socket S`.

One run and out (or, with `--triplets`, only what a run would learn from). Events leave as JSON lines on standard
output: `progress` (`phase`, `done`, `total`, `seconds_left` or null), `note` and `problem` (`message`), `done`
(`result`: the run as the history shows it). Lines on standard input: `pause` and `go`. The end of the input, or of the
parent, ends the process at once: whatever was active stays active. Under torchrun the first process leads and the
others help.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from codekin import places
from codekin.errors import CodekinError
from codekin.learning import history
from codekin.learning.pace import Hardware, Pace, machine_now, why_slow

NICENESS = 19
GOING = threading.Event()
"""Cleared while the user works."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs once; the exit status is 0 when it came to a decision, 2 when not."""
    given = _read(arguments)
    os.nice(NICENESS - os.nice(0))
    GOING.set()
    if "WORLD_SIZE" in os.environ:
        return _in_crew(given)
    threading.Thread(target=_follow_parent, name="parent", daemon=True).start()
    return _alone(given)


def _in_crew(given: argparse.Namespace) -> int:
    """Under torchrun: the first process leads, the others train along."""
    from codekin.learning.crew import joined, part  # noqa: PLC0415 - brings torch
    from codekin.learning.train_encoder import assist, dismiss  # noqa: PLC0415

    crew = joined()
    try:
        if not crew.leads:
            assist(crew)
            return 0
        status = _alone(given)
        dismiss(crew)
        return status
    finally:
        part()


def _alone(given: argparse.Namespace) -> int:
    try:
        result = _triplets(given) if given.triplets else _learn(given)
    except CodekinError as error:
        _tell({"event": "problem", "message": str(error)})
        return 2
    except MemoryError:
        _tell({"event": "problem", "message": "Memory ran out: set a smaller learning.batch_size or the method head."})
        return 2
    _tell({"event": "done", "result": result})
    return 0


def _learn(given: argparse.Namespace) -> dict[str, Any]:
    from codekin.index import Index  # noqa: PLC0415 - after the niceness is set
    from codekin.learning.lock import one_learner  # noqa: PLC0415
    from codekin.learning.past import earlier_texts  # noqa: PLC0415
    from codekin.learning.run import AtHand, learn  # noqa: PLC0415
    from codekin.learning.subject import open_pupil, require_model, served_here  # noqa: PLC0415
    from codekin.models import checkpoints  # noqa: PLC0415
    from codekin.models.remote import RemoteEmbedder  # noqa: PLC0415
    from codekin.settings import load_settings  # noqa: PLC0415

    data, root = places.data_dir(given.data_dir), given.root.resolve()
    folder = places.learning_folder(data, root)
    with one_learner(data), Index.open(places.workspace_folder(data, root)) as index:
        embedder = RemoteEmbedder(given.socket)
        chosen = load_settings(data, root, json.loads(given.settings))[0]
        require_model(chosen.learning.model, embedder.name)
        at_hand = AtHand(
            lambda method: open_pupil(method, embedder, chosen),
            lambda: served_here(folder, embedder, given.socket, root),
            partial(earlier_texts, root, folder),
        )
        order = _order(given, data, root)
        run = learn(index, folder, embedder, order, _Progress(order.method), at_hand)
    return history.as_row(run, checkpoints.pointed(folder))


def _triplets(given: argparse.Namespace) -> dict[str, Any]:
    """The triplets of a run with their texts, what they are like, and a note."""
    from codekin.index import Index  # noqa: PLC0415 - after the niceness is set
    from codekin.learning.ground import KeptVectors  # noqa: PLC0415
    from codekin.learning.material import gather, mined_now  # noqa: PLC0415
    from codekin.learning.past import earlier_texts  # noqa: PLC0415
    from codekin.models.remote import RemoteEmbedder  # noqa: PLC0415

    data, root = places.data_dir(given.data_dir), given.root.resolve()
    folder, embedder = places.learning_folder(data, root), RemoteEmbedder(given.socket)
    with Index.open(places.workspace_folder(data, root)) as index:
        embed = KeptVectors(folder, embedder, _Progress("head")).embed
        past = partial(earlier_texts, root, folder)
        material = gather(index, embedder.space, embed, history.used_until(folder), past)
        return mined_now(material, _order(given, data, root).mix)


def _order(given: argparse.Namespace, data: Path, root: Path) -> Any:
    """What the settings and the command line ask for."""
    from codekin.learning.loop import Training  # noqa: PLC0415
    from codekin.learning.run import Order  # noqa: PLC0415
    from codekin.learning.schedule import local_date  # noqa: PLC0415
    from codekin.learning.triplets import Mix  # noqa: PLC0415
    from codekin.settings import load_settings  # noqa: PLC0415

    chosen = load_settings(data, root, json.loads(given.settings))[0].learning
    by_night = given.asked_by == "schedule"
    training = Training(
        epochs=given.epochs or (chosen.epochs if by_night else chosen.epochs_by_hand),
        learning_rate=chosen.learning_rate,
        batch_size=chosen.batch_size,
        margin=chosen.margin,
    )
    beam = chosen.beam_ratio if given.beam_ratio is None else given.beam_ratio
    across = chosen.cross_language_ratio if given.cross_language_ratio is None else given.cross_language_ratio
    mix = Mix(given.count or chosen.count, beam, across)
    date = given.date or local_date(datetime.now(UTC), chosen)
    method = given.method or chosen.method
    return Order(mix, training, method, given.asked_by, date, given.dry_run, chosen.keep_checkpoints)


class _Progress:
    """Tells how far a run is and what is left, says once why it is slow, and rests while the user works."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._pace = Pace()
        self._warned = False

    def __call__(self, phase: str, done: int, total: int) -> None:
        """A step is done."""
        left = self._pace.seconds_left(phase, done, total, time.monotonic())
        _tell({"event": "progress", "phase": phase, "done": done, "total": total, "seconds_left": left})
        if left and phase == "training" and not self._warned and (said := why_slow(left, self._method, _hardware())):
            self._warned = True
            _tell({"event": "note", "message": said})
        GOING.wait()


def _hardware() -> Hardware:
    from codekin.models.planner import device_for  # noqa: PLC0415 - torch is there by then

    return machine_now(device_for())


def _tell(event: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(event, default=str) + "\n")
    sys.stdout.flush()


def _follow_parent() -> None:
    """The daemon holds our input open for as long as it lives.

    Reads the descriptor itself, since a thread inside a buffered reader upsets Python's own exit.
    """
    while piece := os.read(sys.stdin.fileno(), 1 << 10):
        for line in piece.split():
            GOING.clear() if line == b"pause" else GOING.set()
    os._exit(1)


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="codekin.learning.child")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--settings", default="{}", help="the editor's settings, as JSON")
    parser.add_argument("--asked-by", choices=["user", "schedule"], default="user")
    parser.add_argument("--date", default="")
    parser.add_argument("--method", choices=["head", "lora", "full"])
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--beam-ratio", type=float)
    parser.add_argument("--cross-language-ratio", type=float)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--triplets", action="store_true", help="only say what would be learned from")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
