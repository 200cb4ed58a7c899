"""Every setting: its type, default, bounds, description and who may set it.

Sources have three levels of trust. The *user* file may set everything. The editor (*client*) may set all but paths,
URLs and the like. The repository's own file (*workspace*) may set only patterns, languages and switches.

A new setting is a new field here. The checks, docs/settings.md and the settings page of VS Code follow from it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from msgspec import NODEFAULT, Meta, Struct, field
from msgspec.structs import fields, replace

from codekin.types import LANGUAGE_NAMES

TEXT_LIMIT = 1000
"""Texts in a list, and characters in such a text."""


class Trust(IntEnum):
    """How far the source of a value is trusted; a key takes values from its own level and above."""

    WORKSPACE = 0
    CLIENT = 1
    USER = 2


WORKSPACE, USER = Trust.WORKSPACE, Trust.USER
TextList = tuple[Annotated[str, Meta(max_length=TEXT_LIMIT)], ...]
LanguageName = Annotated[str, Meta(pattern=f"^(?:{'|'.join(LANGUAGE_NAMES)})$")]
"""The identifiers of the languages that are cut into chunks."""

FileExtension = Annotated[str, Meta(pattern=r"^\.[^/\\]{1,30}$")]


def about(text: str, trust: Trust = Trust.CLIENT, low: float | None = None, high: float | None = None) -> Meta:
    """A setting's description, the least trusted source that may set it, and its inclusive bounds."""
    return Meta(description=text, ge=low, le=high, extra={"trust": trust})


def shared(text: str, low: float | None = None, high: float | None = None) -> Meta:
    """Like `about`, for settings of the daemon, which all windows share: no single editor can set them."""
    return about(text, USER, low, high)


def texts(text: str, trust: Trust = WORKSPACE) -> Meta:
    """Like `about`, for a list of texts."""
    return Meta(description=text, max_length=TEXT_LIMIT, extra={"trust": trust})


def model_key(text: str) -> Meta:
    """A model's key in the catalogue; only the user's own file may give a path in its place."""
    return Meta(description=text, extra={"trust": Trust.CLIENT, "model_key": True})


class IndexSettings(Struct, frozen=True, kw_only=True):
    """What is indexed."""

    ignore: Annotated[TextList, texts("Files to leave out of the index (gitignore patterns).")] = ()
    languages: Annotated[TextList, texts("Languages to index; empty means all.")] = ()
    extensions: Annotated[
        Mapping[FileExtension, LanguageName],
        texts('Languages of further file extensions, such as {".metal" = "cpp"}; known ones can be mapped anew.'),
    ] = field(default_factory=dict)
    max_file_kb: Annotated[int, about("Larger files are not indexed, in kilobytes.", low=1, high=65536)] = 1024
    rescan_minutes: Annotated[
        int, about("Minutes between two comparisons of the index with the files on disk.", low=1, high=1440)
    ] = 12
    watch: Annotated[
        Literal["auto", "events", "poll", "off"],
        about("How changes on disk are noticed; auto polls network and shared folders and watches all others."),
    ] = "auto"


class SimilarSettings(Struct, frozen=True, kw_only=True):
    """How similar code is found and shown; scores lie between 0 and 1."""

    limit: Annotated[int, about("How many similar places are shown.", WORKSPACE, 1, 200)] = 10
    min_score: Annotated[
        float, about("Similar places and search results below this score are left out.", WORKSPACE, 0, 1)
    ] = 0.0
    lens: Annotated[bool, about("Show a lens above each function with the number of similar functions.", WORKSPACE)] = (
        True
    )
    lens_min_score: Annotated[float, about("The score from which the lens counts similar code.", WORKSPACE, 0, 1)] = (
        0.35
    )
    reuse_hints: Annotated[
        bool, about("While you write, mark a whole new function that does the same as existing code.", WORKSPACE)
    ] = True
    duplicate_hints: Annotated[bool, about("Mark functions that have a near-duplicate.", WORKSPACE)] = False
    duplicate_min_score: Annotated[
        float, about("The score from which similar code counts as a near-duplicate.", WORKSPACE, 0, 1)
    ] = 0.9


class CompletionSettings(Struct, frozen=True, kw_only=True):
    """Ghost text."""

    enabled: Annotated[bool, about("Suggest code as ghost text while you type.", WORKSPACE)] = True
    languages_off: Annotated[TextList, texts("Languages (by identifier) in which nothing is suggested by itself.")] = (
        "markdown",
    )
    ignore: Annotated[TextList, texts("Files (glob patterns) in which nothing is suggested by itself.")] = ()
    multiline: Annotated[
        Literal["auto", "line", "block"], about("Whether a suggestion is a line or a block.", WORKSPACE)
    ] = "auto"
    model: Annotated[
        str,
        model_key(
            "The model that completes: a name of `codekin models list`, or auto, which takes a model that is pulled "
            "and otherwise completes from the repository alone."
        ),
    ] = "auto"
    retrieval: Annotated[bool, about("Show the model similar code of the repository.")] = True
    max_tokens: Annotated[int, about("The longest suggestion, in tokens of the model.", low=1, high=1024)] = 96
    threshold: Annotated[
        float, about("How sure a suggestion must be to be shown by itself, as a probability.", low=0, high=1)
    ] = 0.1


class NextEditSettings(Struct, frozen=True, kw_only=True):
    """Where the last edit must be carried on."""

    enabled: Annotated[bool, about("Show where the last edit must be carried on.", WORKSPACE)] = True


class RemoteSettings(Struct, frozen=True, kw_only=True):
    """An OpenAI-compatible server that takes a local model's place."""

    url: Annotated[str, about("The server's address; empty means none.", USER)] = ""
    model: Annotated[str, about("The name of the model there.", USER)] = ""
    api_key_env: Annotated[str, about("The environment variable that holds the key.", USER)] = ""
    serves: Annotated[Literal["embeddings", "completions", "both"], about("What the server is used for.", USER)] = (
        "embeddings"
    )
    timeout_seconds: Annotated[float, about("Seconds to wait for an answer.", USER, 1, 600)] = 30.0


class ModelSettings(Struct, frozen=True, kw_only=True):
    """Which models run and where."""

    embedder: Annotated[
        str,
        shared(
            "The model that finds similar code: a key of `codekin models list`, or auto, which takes the best one "
            "that is pulled and fits, and otherwise the bundled one."
        ),
    ] = "auto"
    fallback: Annotated[str, shared("The model that stands in when the chosen one cannot be loaded.")] = "codekin_embed"
    device: Annotated[Literal["auto", "cuda", "mps", "cpu"], shared("Where the models run.")] = "auto"
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16", "int8", "int4"], shared("The number format of the weights.")
    ] = "auto"
    memory_gb: Annotated[
        float, shared("Memory that models may take, in gigabytes; 0 means what is free.", low=0, high=4096)
    ] = 0.0
    idle_minutes: Annotated[int, shared("Minutes without use after which a model is unloaded.", low=1, high=10080)] = 30
    threads: Annotated[
        int,
        shared(
            "Processor threads of a model; 0 means up to four for queries and half the cores to index.",
            low=0,
            high=1024,
        ),
    ] = 0
    dir: Annotated[Path | None, shared("The folder of pulled models, an absolute path.")] = None
    remote: Annotated[RemoteSettings | None, shared("A server in place of a local model.")] = None
    catalogue: Annotated[
        Mapping[str, Mapping[str, Any]], shared("Further models, as tables under models.catalogue.<key>.")
    ] = field(default_factory=dict)


class FinetuneSettings(Struct, frozen=True, kw_only=True):
    """Fine-tuning the embedding model on this codebase, on schedule or by `codekin finetune`."""

    enabled: Annotated[bool, about("Fine-tune the model on this codebase on schedule.", WORKSPACE)] = True
    cron: Annotated[str, about("When to fine-tune, as a cron expression.")] = "0 2 * * *"
    timezone: Annotated[str, about("The time zone of the cron expression.")] = "UTC"
    model: Annotated[str, model_key("The model to fine-tune: a key of `codekin models list`, or auto.")] = "auto"
    method: Annotated[
        Literal["head", "lora", "full"],
        about("What is fine-tuned: a head over the stored vectors, LoRA adapters, or all weights of a small model."),
    ] = "head"
    count: Annotated[int, about("Training triplets of a run.", low=16, high=1_000_000)] = 1000
    beam_ratio: Annotated[float, about("The share of triplets within the BEAM languages.", low=0, high=1)] = 0.7
    cross_language_ratio: Annotated[float, about("The share of triplets that pair two languages.", low=0, high=1)] = 0.3
    sources: Annotated[
        TextList,
        texts("What is trained on beside triplets: any of docs, tests, calls, commits, changed_together, natives."),
    ] = ()
    epochs: Annotated[int, about("Epochs of a scheduled run.", low=1, high=100)] = 1
    manual_epochs: Annotated[int, about("Epochs of a run by `codekin finetune`.", low=1, high=100)] = 3
    learning_rate: Annotated[float, about("The learning rate.", low=1e-9, high=1)] = 1e-5
    batch_size: Annotated[int, about("Triplets in a batch.", low=1, high=4096)] = 16
    margin: Annotated[float, about("The margin of the triplet loss, in cosine distance.", low=0, high=2)] = 0.2
    on_battery: Annotated[bool, about("Run on battery power too.")] = False
    idle_minutes: Annotated[
        int, about("Minutes without typing before a scheduled run may begin.", low=0, high=1440)
    ] = 10
    keep_checkpoints: Annotated[
        int, about("Checkpoints to keep; older ones that do not serve are deleted.", low=3, high=1000)
    ] = 5


class DaemonSettings(Struct, frozen=True, kw_only=True):
    """The process that all windows share."""

    idle_minutes: Annotated[
        float, shared("Minutes without a window after which the daemon exits.", low=0.01, high=10080)
    ] = 15.0
    workspace_idle_minutes: Annotated[
        float, shared("Minutes without a window after which a workspace is closed.", low=0.01, high=10080)
    ] = 10.0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], shared("What logs/daemon.log holds, from this level up.")
    ] = "info"
    max_body_mb: Annotated[int, shared("The largest request, in megabytes.", low=1, high=1024)] = 32
    loopback_port: Annotated[
        int, shared("A TCP port of this machine for the OpenAI-compatible API; 0 means none.", low=0, high=65535)
    ] = 0


class TeamSettings(Struct, frozen=True, kw_only=True):
    """A team's index on a server, merged with the index of this machine."""

    url: Annotated[str, shared("The address of the team's server (`codekin server`); empty means none.")] = ""
    token: Annotated[str, shared("Your token for it, made by `codekin server token add`.")] = ""
    timeout_seconds: Annotated[
        float, shared("Seconds that an answer waits for the team's part; then the local part is shown.", 0.05, 30)
    ] = 1.0


class Settings(Struct, frozen=True, kw_only=True):
    """All sections."""

    index: IndexSettings = field(default_factory=IndexSettings)
    similar: SimilarSettings = field(default_factory=SimilarSettings)
    completion: CompletionSettings = field(default_factory=CompletionSettings)
    next_edit: NextEditSettings = field(default_factory=NextEditSettings)
    models: ModelSettings = field(default_factory=ModelSettings)
    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)
    daemon: DaemonSettings = field(default_factory=DaemonSettings)
    team: TeamSettings = field(default_factory=TeamSettings)

    def on_device(self, device: str) -> "Settings":
        """The same with models on another device; empty leaves it as it is."""
        return replace(self, models=replace(self.models, device=device)) if device else self


@dataclass(frozen=True, slots=True)
class SettingField:
    """One field of a section, read from its annotation; `kind` is its type without None and without its Meta."""

    name: str
    annotation: Any
    kind: Any
    meta: Meta
    default: Any

    @property
    def trust(self) -> Trust:
        """The least trusted source that may set it."""
        return Trust((self.meta.extra or {}).get("trust", Trust.WORKSPACE))

    @property
    def names_model(self) -> bool:
        """Whether its value is a model's key."""
        return bool((self.meta.extra or {}).get("model_key"))

    @property
    def section(self) -> type[Struct] | None:
        """The struct of a nested section, None for a value."""
        return self.kind if isinstance(self.kind, type) and issubclass(self.kind, Struct) else None


@cache
def section_fields(section: type[Struct]) -> Mapping[str, SettingField]:
    """The fields of a section by name."""
    return {found.name: _read_field(found.name, found.type, _default(found)) for found in fields(section)}


def list_settings(section: type[Struct] = Settings, prefix: str = "") -> Iterator[tuple[str, SettingField]]:
    """Every setting below a section, by its full key such as "models.remote.url"."""
    for name, setting in section_fields(section).items():
        if setting.section:
            yield from list_settings(setting.section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", setting


def _read_field(name: str, annotation: Any, default: Any) -> SettingField:
    kind, meta = annotation, Meta()
    if get_origin(annotation) is Annotated:
        kind, meta = get_args(annotation)
    choices = [choice for choice in get_args(kind) if choice is not NoneType]
    if len(choices) == 1 and NoneType in get_args(kind):
        kind = choices[0]
    return SettingField(name, annotation, kind, meta, default)


def _default(found: Any) -> Any:
    return found.default_factory() if found.default is NODEFAULT else found.default
