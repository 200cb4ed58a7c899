"""What all classes of the library share: how models are loaded, and which there are on this machine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from codekin import paths
from codekin.errors import ModelError
from codekin.models.catalogue import load_catalogue
from codekin.models.fetching import locate_model
from codekin.models.loading import LoadOptions, load_options
from codekin.models.planner import choose_device
from codekin.settings import load_settings

CHECKPOINT_NAME = "checkpoint"


def loading_options(device: str, data_dir: Path | str | None) -> LoadOptions:
    """The options of the user's settings on a device. Raises ModelError where the device is not there."""
    data = paths.data_dir(Path(data_dir) if data_dir else None)
    settings, _ = load_settings(data)
    if device != "auto":
        choose_device(device)
    options = load_options(settings.models, data / "kernels.json")
    return options if device == "auto" else replace(options, device=device)


def model_rows(role: str, options: LoadOptions) -> list[dict[str, Any]]:
    """The catalogue's models of a role: key, role, here, licence, summary."""
    return [
        {
            "key": model.key,
            "role": model.role,
            "here": model.bundled or locate_model(model, options.models_dir) is not None,
            "licence": model.licence,
            "summary": model.summary,
        }
        for model in load_catalogue(options.rows).values()
        if model.role == role
    ]


def first_generator(options: LoadOptions) -> str:
    """The key of the first generator that is on this machine. Raises ModelError where there is none."""
    here = [row["key"] for row in model_rows("generator", options) if row["here"]]
    if not here:
        raise ModelError("No generator is on this machine; `codekin models pull starcoder_1b` brings one.")
    return str(here[0])
