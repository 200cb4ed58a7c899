"""Every setting there is: its default, its bounds and who may set it.

Three sources are trusted differently. The *user* file may set everything. The editor
(*client*) may set all but paths, URLs and the like. The repository's own file (*workspace*)
may set what does no harm: patterns, languages, switches.

A new setting is a new field here; the checks follow from its type and its `setting(...)`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal


class Trust(IntEnum):
    """How far the source of a value is trusted; a key takes values from its own level and above."""

    WORKSPACE = 0
    CLIENT = 1
    USER = 2


def setting(default: Any, trust: Trust = Trust.CLIENT, low: float | None = None, high: float | None = None) -> Any:
    """A dataclass field with its default, the least trusted source that may set it, and inclusive bounds."""
    metadata = {"trust": trust, "low": low, "high": high}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def harmless(default: Any, low: float | None = None, high: float | None = None) -> Any:
    """A field that a repository's own .codekin.toml may set."""
    return setting(default, Trust.WORKSPACE, low, high)


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexSettings:
    """What is indexed; `ignore` are gitignore patterns, `languages` empty means all."""

    ignore: tuple[str, ...] = harmless(())
    languages: tuple[str, ...] = harmless(())
    max_file_kb: int = setting(1024, low=1, high=65536)
    rescan_minutes: int = setting(12, low=1, high=1440)
    watch: Literal["auto", "events", "poll", "off"] = setting("auto")


@dataclass(frozen=True, kw_only=True, slots=True)
class SimilarSettings:
    """How similar code is found and shown; scores lie between 0 and 1."""

    enabled: bool = harmless(True)
    limit: int = harmless(10, 1, 200)
    min_score: float = harmless(0.0, 0, 1)
    lens: bool = harmless(True)
    lens_min_score: float = harmless(0.35, 0, 1)
    duplicate_hints: bool = harmless(False)
    duplicate_min_score: float = harmless(0.9, 0, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class CompletionSettings:
    """Ghost text; `model` is a key of the catalogue, or auto: what is pulled, else the repository alone.

    `threshold` is the least chance of being exactly right at which something is shown by itself.
    """

    enabled: bool = harmless(True)
    languages_off: tuple[str, ...] = harmless(())
    ignore: tuple[str, ...] = harmless(())
    multiline: Literal["auto", "line", "block"] = harmless("auto")
    model: str = setting("auto")
    retrieval: bool = setting(True)
    max_tokens: int = setting(96, low=1, high=1024)
    threshold: float = setting(0.1, low=0, high=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteSettings:
    """Somebody's OpenAI-compatible server that takes a local model's place."""

    url: str = setting("", Trust.USER)
    model: str = setting("", Trust.USER)
    api_key_env: str = setting("", Trust.USER)
    serves: Literal["embeddings", "completions", "both"] = setting("embeddings", Trust.USER)
    timeout_seconds: float = setting(30.0, Trust.USER, low=1, high=600)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSettings:
    """Which models run and where; `embedder` auto is the best one pulled that fits, else the bundled one."""

    embedder: str = setting("auto")
    fallback: str = setting("codekin_embed")
    device: Literal["auto", "cuda", "mps", "cpu"] = setting("auto")
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8", "int4"] = setting("auto")
    memory_gb: float = setting(0.0, low=0, high=4096)
    idle_minutes: int = setting(30, low=1, high=10080)
    threads: int = setting(0, low=0, high=1024)
    dir: Path | None = setting(None, Trust.USER)  # noqa: RUF009 - a field, not a value
    offline: bool = setting(True, Trust.USER)
    remote: RemoteSettings | None = setting(None, Trust.USER)  # noqa: RUF009
    catalogue: Mapping[str, Mapping[str, Any]] = setting(dict, Trust.USER)


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningSettings:
    """The night school; `cron` is read in `timezone`, `epochs` is for nights, `epochs_by_hand` for `codekin learn`."""

    enabled: bool = harmless(True)
    cron: str = setting("0 2 * * *")
    timezone: str = setting("UTC")
    model: str = setting("auto")
    method: Literal["head", "lora", "full"] = setting("head")
    count: int = setting(1000, low=16, high=1_000_000)
    beam_ratio: float = setting(0.7, low=0, high=1)
    cross_language_ratio: float = setting(0.3, low=0, high=1)
    epochs: int = setting(1, low=1, high=100)
    epochs_by_hand: int = setting(3, low=1, high=100)
    learning_rate: float = setting(1e-5, low=1e-9, high=1)
    batch_size: int = setting(16, low=1, high=4096)
    margin: float = setting(0.2, low=0, high=2)
    on_battery: bool = setting(False)
    idle_minutes: int = setting(10, low=0, high=1440)
    keep_checkpoints: int = setting(5, low=3, high=1000)


@dataclass(frozen=True, kw_only=True, slots=True)
class DaemonSettings:
    """The shared process; `loopback_port` 0 means that only its Unix socket answers."""

    idle_minutes: float = setting(15.0, low=0.01, high=10080)
    workspace_idle_minutes: float = setting(10.0, low=0.01, high=10080)
    log_level: Literal["debug", "info", "warning", "error"] = setting("info")
    max_body_mb: int = setting(32, Trust.USER, low=1, high=1024)
    loopback_port: int = setting(0, Trust.USER, low=0, high=65535)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """All sections."""

    index: IndexSettings = field(default_factory=IndexSettings)
    similar: SimilarSettings = field(default_factory=SimilarSettings)
    completion: CompletionSettings = field(default_factory=CompletionSettings)
    models: ModelSettings = field(default_factory=ModelSettings)
    learning: LearningSettings = field(default_factory=LearningSettings)
    daemon: DaemonSettings = field(default_factory=DaemonSettings)
