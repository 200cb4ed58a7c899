"""The models: catalogue, weights, embedders, generators, local or remote.

Importing this package loads nothing heavy; `load_embedder` does. Knows nothing of the
index, of editors or of HTTP routes.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codekin.seams import Embedder


def load_embedder(name: str, *, kernel_cache: Path | None = None) -> "Embedder":
    """An embedder by catalogue key (`codekin_embed`, …) or by the folder it lies in.

    `kernel_cache` is a JSON file that remembers which dtype is fastest on this machine.
    Raises ModelError where it is unknown, absent or refused.
    """
    from codekin.errors import ModelError  # noqa: PLC0415 - this package's face stays light
    from codekin.models.embedders import BUNDLED, load_bundled  # noqa: PLC0415

    if name == "codekin_embed":
        return load_bundled(BUNDLED, kernel_cache)
    if Path(name).is_dir():
        return load_bundled(Path(name), kernel_cache)
    raise ModelError(f"There is no model {name!r}; `codekin models list` shows those there are.")
