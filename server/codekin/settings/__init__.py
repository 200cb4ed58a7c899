"""The user's settings, checked: frozen sections, read from files and from the editor.

A wrong key or type becomes one sentence that names the key; all other settings still apply.
"""

from codekin.settings.loading import load_settings, settings_stamp
from codekin.settings.schema import (
    CompletionSettings,
    DaemonSettings,
    FinetuneSettings,
    IndexSettings,
    ModelSettings,
    RemoteSettings,
    Settings,
    SimilarSettings,
    TeamSettings,
)

__all__ = [
    "CompletionSettings",
    "DaemonSettings",
    "FinetuneSettings",
    "IndexSettings",
    "ModelSettings",
    "RemoteSettings",
    "Settings",
    "SimilarSettings",
    "TeamSettings",
    "load_settings",
    "settings_stamp",
]
