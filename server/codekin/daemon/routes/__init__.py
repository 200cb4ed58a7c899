"""The routes, one file for each feature.

A room is a module here with `routes`, a list of starlette routes, and may have `extension`, a
`state.Extension`. Importing one must stay light (no torch, numpy or tantivy at the top), since
the daemon answers its first handshake only after all of them are there.
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from starlette.routing import BaseRoute

from codekin.daemon.state import Extension

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
)


@dataclass(frozen=True, slots=True)
class Room:
    """What one module adds."""

    routes: list[BaseRoute]
    extension: Extension | None


def load_rooms() -> list[Room]:
    """Imports every module of the table."""
    modules = [import_module(f"{__name__}.{name}") for name in ROOMS if find_spec(f"{__name__}.{name}")]
    return [Room(module.routes, getattr(module, "extension", None)) for module in modules]
