"""The routes, one file for each feature.

A room is a module here with `routes`, a list of starlette routes, and may have `extension`, a
`state.Extension`. Importing one must stay light (no torch, numpy or tantivy at the top), since
the daemon answers its first handshake only after all of them are there.
"""

import logging
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from starlette.routing import BaseRoute

from codekin.daemon.state import Extension

log = logging.getLogger(__name__)

ROOMS = (
    "handshake",
    "workspaces",
    "similar",
    "search",
    "duplicates",
    "lens",
    "status",
    "events",
    "indexing",
    "models",
    "openai",
    "completion",
    "learning",
    "dashboard",
)


@dataclass(frozen=True, slots=True)
class Room:
    """What one module adds."""

    routes: list[BaseRoute]
    extension: Extension | None


def load_rooms() -> tuple[list[Room], list[str]]:
    """Imports every module of the table; one that fails costs its own routes, and is a problem in a sentence."""
    rooms, problems = [], []
    for name in ROOMS:
        if not find_spec(f"{__name__}.{name}"):
            continue
        try:
            module = import_module(f"{__name__}.{name}")
        except Exception as error:
            log.exception("The routes of %s cannot be loaded.", name)
            problems.append(f"{name} is out of order ({error}): install codekin again.")
            continue
        rooms.append(Room(module.routes, getattr(module, "extension", None)))
    return rooms, problems
