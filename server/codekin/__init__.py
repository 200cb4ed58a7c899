"""Codekin: a language server that knows a codebase by meaning.

As a library it offers `Embeddings`, `Generation`, `Triplets` and `Trainer` (docs/python.md), each loaded at first use.
"""

from importlib import import_module

__version__ = "0.1.0"
__all__ = ["Embeddings", "Generation", "Trainer", "Triplets", "__version__"]

_API = {
    "Embeddings": "codekin.api.embeddings",
    "Generation": "codekin.api.generation",
    "Triplets": "codekin.api.triplets",
    "Trainer": "codekin.api.training",
}


def __getattr__(name: str) -> object:
    """A class of the library, imported at its first use. Raises ModelError where it needs an extra."""
    if name == "Trainer":
        from codekin.models.planner import require_torch  # noqa: PLC0415 - `import codekin` stays light

        require_torch("Training")
    if name in _API:
        return getattr(import_module(_API[name]), name)
    raise AttributeError(f"module 'codekin' has no attribute {name!r}")
