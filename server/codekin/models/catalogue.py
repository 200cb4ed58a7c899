"""Which models there are: a row for each, read from catalogue.toml and the user's settings.

A row of the user's is any model of a known architecture; a repository cannot add one. Knows
nothing of weights on disk, and imports nothing heavy.
"""

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from codekin.errors import ModelError, SettingsError

Role = Literal["embedder", "generator"]

EMBEDDER_ARCHITECTURES = ("bert", "qwen2", "jina_embeddings_v3", "xlm-roberta")
GENERATOR_ARCHITECTURES = ("llama", "qwen2", "gpt_bigcode", "starcoder2")
POOLINGS = ("last", "mean", "first")
INFILLS = ("", "codellama", "starcoder", "qwen2")

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model: where it comes from, how it is run, what it costs and what its licence forbids.

    `hub_id` is a repository of the hub, or the absolute path of a folder. `prompts` and
    `adapters` go by the kind of text (query, passage, …). `parameters` counts weights;
    `cache_bytes_per_token` is the attention cache in 16 bits.
    """

    key: str
    role: Role
    architecture: str
    hub_id: str = ""
    revision: str = "main"
    dimensions: int = 0
    context: int = 0
    pooling: str = "mean"
    causal: bool = True
    prompts: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    adapters: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    truncations: tuple[int, ...] = ()
    begin_id: int | None = None
    end_id: int | None = None
    stop_ids: tuple[int, ...] = ()
    infill: str = ""
    chat: str = ""
    licence: str = "unknown"
    forbids: str = ""
    gated: bool = False
    download_bytes: int = 0
    parameters: int = 0
    cache_bytes_per_token: int = 0
    layers: int = 0
    hidden: int = 0
    inner: int = 0
    vocabulary: int = 0
    purpose: str = ""
    summary: str = ""

    @property
    def bundled(self) -> bool:
        """Whether it ships with the package."""
        return not self.hub_id

    @property
    def folder(self) -> Path | None:
        """The user's own folder that stands in place of a hub id."""
        return Path(self.hub_id) if Path(self.hub_id).is_absolute() else None


def catalogue(user_rows: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Model]:
    """All models by key, the user's rows over ours. Raises SettingsError that names a wrong key."""
    rows = dict(_shipped())
    for key, row in (user_rows or {}).items():
        base = rows.get(key)
        rows[key] = _checked(key, row, base)
    return rows


def find_model(name: str, user_rows: Mapping[str, Mapping[str, Any]] | None = None) -> Model:
    """The row of a key, or one made up from the config of the folder at an absolute path.

    Raises ModelError for an unknown key and for anything that is neither.
    """
    rows = catalogue(user_rows)
    if name in rows:
        return rows[name]
    path = Path(name)
    if path.is_absolute() and "\0" not in name and path.is_dir():
        return model_of_folder(path)
    near = difflib.get_close_matches(name, rows, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(rows)}, and absolute paths of folders."
    raise ModelError(f"There is no model {name!r}; {hint}")


def recommended(purpose: str) -> str:
    """The generator's key for `production` or `dev`."""
    for model in _shipped().values():
        if purpose and model.purpose == purpose:
            return model.key
    raise ModelError(f"There is no recommendation for {purpose!r}; ask for production or dev.")


def model_of_folder(folder: Path) -> Model:
    """A row for a checkpoint in a folder, from its config.json; generators are told by their class."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architecture = str(config["model_type"])
        classes = " ".join(config.get("architectures") or ())
        generates = "CausalLM" in classes or architecture not in EMBEDDER_ARCHITECTURES
        role: Role = "generator" if generates else "embedder"
        known = GENERATOR_ARCHITECTURES if role == "generator" else EMBEDDER_ARCHITECTURES
        if architecture not in known:
            raise ModelError(f"{folder} holds a {architecture} {role}; Codekin knows {', '.join(known)}.")
        return _row_of_config(folder, config, architecture, role)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ModelError(f"{folder} is no model folder: its config.json cannot be used ({error}).") from error


def _row_of_config(folder: Path, config: Mapping[str, Any], architecture: str, role: Role) -> Model:
    hidden = int(config.get("hidden_size") or config["n_embd"])
    layers = int(config.get("num_hidden_layers") or config["n_layer"])
    heads = int(config.get("num_attention_heads") or config["n_head"])
    groups = 1 if config.get("multi_query") else int(config.get("num_key_value_heads") or heads)
    ends = config.get("eos_token_id")
    end_ids = tuple(ends) if isinstance(ends, list) else () if ends is None else (int(ends),)
    last = architecture == "qwen2"
    width = 4 if (config.get("dtype") or config.get("torch_dtype")) == "float32" else 2
    return Model(
        key=folder.name,
        role=role,
        architecture=architecture,
        hub_id=str(folder.resolve()),
        dimensions=hidden if role == "embedder" else 0,
        context=int(config.get("max_position_embeddings") or config["n_positions"]),
        pooling="last" if last else "mean",
        causal=role == "generator" or last,
        begin_id=_begin_id(folder, config, architecture),
        end_id=end_ids[0] if end_ids else None,
        stop_ids=end_ids,
        cache_bytes_per_token=2 * layers * groups * int(config.get("head_dim") or hidden // heads) * 2,
        layers=layers,
        hidden=hidden,
        inner=int(config.get("intermediate_size") or config.get("n_inner") or 4 * hidden),
        vocabulary=int(config["vocab_size"]),
        parameters=sum(file.stat().st_size for file in folder.glob("*.safetensors")) // width,
        summary=f"A {architecture} checkpoint in a folder of yours.",
    )


def _begin_id(folder: Path, config: Mapping[str, Any], architecture: str) -> int | None:
    """The id that the model's own tokenizer puts before a text; not every Llama has one."""
    begin = config.get("bos_token_id")
    if architecture in ("bert", "xlm-roberta"):
        return begin
    tokenizer, about = (_json(folder / name) for name in ("tokenizer.json", "tokenizer_config.json"))
    processor = tokenizer.get("post_processor") or {}
    for part in (processor, *(processor.get("processors") or ())):
        first = (part.get("single") or [{}])[0].get("SpecialToken", {}).get("id")
        if first and part["special_tokens"][first]["ids"] == [begin]:
            return begin
    return begin if about.get("add_bos_token") else None


def _json(path: Path) -> dict[str, Any]:
    """A JSON object, empty where there is none."""
    value = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return value if isinstance(value, dict) else {}


@cache
def _shipped() -> dict[str, Model]:
    text = Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8")
    return {key: _checked(key, row, None) for key, row in tomllib.loads(text).items()}


def _checked(key: str, row: Mapping[str, Any], base: Model | None) -> Model:
    """A row as a Model; `base` is one of ours that the user's row changes."""
    known = {entry.name: entry for entry in fields(Model)}
    for name, value in row.items():
        if name not in known or name == "key":
            raise SettingsError(f"`models.catalogue.{key}` has no entry {name!r}; there are {', '.join(known)}.")
        _require(_fits(known[name].type, value), key, name, f"is {value!r}, which is of the wrong type")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    try:
        model = replace(base, **values) if base else Model(key=key, **values)
    except TypeError as error:
        raise SettingsError(f"`models.catalogue.{key}` needs at least role and architecture ({error}).") from error
    architectures = EMBEDDER_ARCHITECTURES if model.role == "embedder" else GENERATOR_ARCHITECTURES
    _require(model.role in ("embedder", "generator"), key, "role", "must be embedder or generator")
    _require(model.architecture in architectures, key, "architecture", f"must be one of {', '.join(architectures)}")
    _require(model.pooling in POOLINGS, key, "pooling", f"must be one of {', '.join(POOLINGS)}")
    _require(model.infill in INFILLS, key, "infill", f"must be one of {', '.join(INFILLS[1:])}")
    _require(_is_address(model.hub_id), key, "hub_id", "must be owner/name or the absolute path of a folder")
    return model


def _is_address(hub_id: str) -> bool:
    """A hub repository's name or an absolute path; never a URL or a relative path."""
    if not hub_id or Path(hub_id).is_absolute():
        return "\0" not in hub_id
    owner, _, name = hub_id.partition("/")
    return all(
        part and ".." not in part and part.replace("-", "").replace("_", "").replace(".", "").isalnum()
        for part in (owner, name)
    )


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value of a settings file fits a field's annotation."""
    name = str(kind)
    if "Mapping" in name:
        return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    if "tuple" in name:
        return isinstance(value, list | tuple) and all(isinstance(item, int) for item in value)
    if "bool" in name:
        return isinstance(value, bool)
    if "int" in name:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return isinstance(value, str)


def _require(holds: bool, key: str, name: str, sentence: str) -> None:
    if not holds:
        raise SettingsError(f"`models.catalogue.{key}.{name}` {sentence}.")
