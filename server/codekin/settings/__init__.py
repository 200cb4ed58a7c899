"""What the user has chosen, checked: frozen sections, read from files and the editor.

A wrong key or type is a sentence that names the key; everything else still works. Knows
nothing of what the settings do.
"""

from codekin.settings.load import load_settings, settings_stamp
from codekin.settings.schema import (
    CompletionSettings,
    DaemonSettings,
    IndexSettings,
    LearningSettings,
    ModelSettings,
    RemoteSettings,
    Settings,
    SimilarSettings,
)

__all__ = [
    "CompletionSettings",
    "DaemonSettings",
    "IndexSettings",
    "LearningSettings",
    "ModelSettings",
    "RemoteSettings",
    "Settings",
    "SimilarSettings",
    "load_settings",
    "settings_stamp",
]
