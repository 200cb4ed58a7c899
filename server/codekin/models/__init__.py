"""The models: catalogue, weights, embedders, generators, local or remote.

Importing this package loads nothing heavy; `load_embedder` does. Knows nothing of the
index, of editors or of HTTP routes.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codekin.models.generation import Generator
    from codekin.models.loading import Options
    from codekin.seams import Embedder
    from codekin.settings import ModelSettings


def load_embedder(name: str, *, kernel_cache: Path | None = None, options: "Options | None" = None) -> "Embedder":
    """An embedder by catalogue key (`codekin_embed`, …) or by the absolute folder it lies in.

    `kernel_cache` is a JSON file that remembers which dtype is fastest on this machine.
    Raises ModelError where it is unknown, absent or refused.
    """
    from codekin.models.loading import Options, load_by_name  # noqa: PLC0415 - this package's face stays light

    return load_by_name(name, options or Options(kernel_cache=kernel_cache))


def choose_embedder(settings: "ModelSettings", kernel_cache: Path | None = None) -> "Embedder":
    """The embedder of the settings, else the next best, whose `note` says why it stands in."""
    from codekin.models.loading import choose_embedder as choose  # noqa: PLC0415

    return choose(settings, kernel_cache)


def load_generator(name: str, options: "Options | None" = None) -> "Generator":
    """A generator by catalogue key or by the absolute folder it lies in; raises ModelError."""
    from codekin.models.loading import Options  # noqa: PLC0415
    from codekin.models.loading import load_generator as load  # noqa: PLC0415

    return load(name, options or Options())
