"""The catalogue of models: one entry each, read from catalogue.toml and the user's settings.

A user may add any model of a known architecture; a repository cannot. Imports nothing heavy.
"""

import difflib
import glob
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from codekin.errors import CheckpointError, ModelError, ModelNotFoundError, SettingsError
from codekin.models.gguf_files import LM_STUDIO_PREFIX, OLLAMA_PREFIX, GGUFHeader, find_local_file, read_gguf_header
from codekin.util.files import read_bounded

Role = Literal["embedder", "generator"]

EMBEDDER_ARCHITECTURES = ("bert", "qwen2", "jina_embeddings_v3", "xlm-roberta")
GENERATOR_ARCHITECTURES = ("llama", "qwen2", "gpt_bigcode", "starcoder2")
POOLINGS = ("last", "mean", "first")
MAX_GGUF_VOCABULARY = 262_144
"""Taken for the size of a vocabulary that a header does not give."""

MAX_JSON_BYTES = 64 << 20
"""Of a config, an index or a tokenizer.json; the largest vocabularies take half of it."""

MAX_CONTEXT = 1 << 20
"""So many tokens of a text are read at most, whatever a model claims."""

_POOLING_MODES = {"cls_token": "first", "cls": "first", "mean_tokens": "mean", "mean": "mean", "lasttoken": "last"}
_KNOWN_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})
_ABSOLUTE_POSITIONS = frozenset({"bert", "xlm-roberta"})
INFILLS = ("", "codellama", "starcoder", "qwen2", "deepseek")
DEFAULT_QUANTISATION = "q4_k_m"
"""Of a hub repository with several GGUF files: the usual compromise between size and quality."""

_EMPTY_MAPPING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model: where it comes from, how it is run, what it costs and what its licence forbids.

    `hub_id` is a repository of the hub, or the absolute path of a folder; `file` names the GGUF file in it, by a
    pattern, where that holds the weights. `prompts` and `adapters` go by the kind of text (query, passage, …).
    `parameters` counts weights; `cache_bytes_per_token` is the attention cache in 16 bits.
    """

    key: str
    role: Role
    architecture: str
    hub_id: str = ""
    file: str = ""
    revision: str = "main"
    dimensions: int = 0
    context: int = 0
    pooling: str = "mean"
    causal: bool = True
    prompts: Mapping[str, str] = field(default_factory=lambda: _EMPTY_MAPPING)
    adapters: Mapping[str, str] = field(default_factory=lambda: _EMPTY_MAPPING)
    truncations: tuple[int, ...] = ()
    begin_id: int | None = None
    end_id: int | None = None
    stop_ids: tuple[int, ...] = ()
    infill: str = ""
    chat: str = ""
    quantisation: str = ""
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
        """The user's own folder used in place of a hub id."""
        return Path(self.hub_id) if Path(self.hub_id).is_absolute() else None


def load_catalogue(user_rows: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, ModelSpec]:
    """All models by key, the user's rows over ours. Raises SettingsError that names a wrong key."""
    rows = dict(_builtin_catalogue())
    for key, row in (user_rows or {}).items():
        base = rows.get(key)
        rows[key] = _checked_spec(key, row, base)
    return rows


def find_model(name: str, user_rows: Mapping[str, Mapping[str, Any]] | None = None) -> ModelSpec:
    """The row of a key, or one made up for a folder or GGUF file at an absolute path, of the hub or another program.

    Raises ModelNotFoundError for an unknown key, ModelError for anything that is neither.
    """
    rows = load_catalogue(user_rows)
    if name in rows:
        return rows[name]
    if (found := _find_by_path(name) or _find_gguf(name)) is not None:
        return found
    near = difflib.get_close_matches(name, rows, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(rows)}, and absolute paths of folders."
    raise ModelNotFoundError(f"There is no model {name!r}; {hint}")


def _find_by_path(name: str) -> ModelSpec | None:
    """The model at an absolute path: a GGUF file, a folder with one, or a checkpoint's folder."""
    path = Path(name)
    if not path.is_absolute() or "\0" in name:
        return None
    if path.is_file():
        return model_from_gguf(path)
    if not path.is_dir():
        return None
    files = [] if (path / "config.json").exists() else sorted(path.glob("*.gguf"))
    if len(files) > 1:
        raise ModelError(f"{path} holds {', '.join(file.name for file in files)}; name one of these files.")
    return model_from_gguf(files[0]) if files else model_from_folder(path)


def _find_gguf(name: str) -> ModelSpec | None:
    """A GGUF file of Ollama or LM Studio, or of a hub repository: `owner/name:Q4_K_M` or `owner/name/file.gguf`."""
    if name.startswith((OLLAMA_PREFIX, LM_STUDIO_PREFIX)):
        path = find_local_file(name)
        return model_from_gguf(path, name) if path else None
    repository, _, wanted = name.partition(":")
    owner, _, rest = repository.partition("/")
    title, _, file = rest.partition("/")
    hub_id = f"{owner}/{title}"
    if not title or not _is_valid_hub_id(hub_id) or (file and (wanted or not file.endswith(".gguf"))):
        return None
    pattern = file or f"*{glob.escape(wanted or DEFAULT_QUANTISATION).lower()}*.gguf"
    return ModelSpec(
        key=name,
        role="generator",
        architecture="gguf",
        hub_id=hub_id,
        file=pattern,
        summary="A GGUF file of the hub.",
    )


def model_from_gguf(path: Path, key: str = "") -> ModelSpec:
    """A generator's row for a GGUF file, from its header. Raises ModelError where it cannot be used."""
    try:
        header = read_gguf_header(path)
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    summary = f"A {header.architecture} file, {header.quantisation}."
    spec = ModelSpec(key=key or path.stem, role="generator", architecture=header.architecture, summary=summary)
    return model_from_header(header, replace(spec, hub_id=str(path.parent.resolve()), file=path.name))


def model_from_header(header: GGUFHeader, base: ModelSpec) -> ModelSpec:
    """A row with what a file's header says in place of what it left open; sizes are those of the file."""
    heads = max(1, header.number("attention.head_count", 1))
    groups = header.number("attention.head_count_kv", heads) or heads
    layers, hidden = header.number("block_count"), header.number("embedding_length")
    if not layers or not hidden:
        raise ModelError(f"{header.path} holds no language model ({header.architecture or 'unknown'}); choose another.")
    width = header.number("attention.key_length", hidden // heads) + header.number(
        "attention.value_length", hidden // heads
    )
    tokens, ends = header.values, header.values.get("tokenizer.ggml.eos_token_id")
    begins = tokens.get("tokenizer.ggml.add_bos_token", tokens.get("tokenizer.ggml.model") == "llama")
    return replace(
        base,
        architecture=header.architecture,
        context=header.number("context_length"),
        begin_id=tokens.get("tokenizer.ggml.bos_token_id") if begins else None,
        end_id=ends if isinstance(ends, int) else None,
        parameters=header.parameters,
        quantisation=header.quantisation,
        download_bytes=header.size,
        cache_bytes_per_token=2 * layers * groups * width,
        layers=layers,
        hidden=hidden,
        inner=header.number("feed_forward_length", 4 * hidden),
        vocabulary=len(tokens.get("tokenizer.ggml.tokens") or ()) or header.number("vocab_size", MAX_GGUF_VOCABULARY),
    )


def recommend_generator(purpose: str) -> str:
    """The generator's key for `production` or `dev`."""
    for model in _builtin_catalogue().values():
        if purpose and model.purpose == purpose:
            return model.key
    raise ModelError(f"There is no recommendation for {purpose!r}; ask for production or dev.")


def model_from_folder(folder: Path) -> ModelSpec:
    """A row for a checkpoint in a folder, from its config.json; generators are recognised by their class."""
    try:
        config = read_json(folder / "config.json")
        architecture = str(config["model_type"])
        classes = " ".join(config.get("architectures") or ())
        generates = "CausalLM" in classes or architecture not in EMBEDDER_ARCHITECTURES
        role: Role = "generator" if generates else "embedder"
        known = GENERATOR_ARCHITECTURES if role == "generator" else EMBEDDER_ARCHITECTURES
        if architecture not in known:
            raise ModelError(f"{folder} holds a {architecture} {role}; Codekin knows {', '.join(known)}.")
        return _spec_from_config(folder, config, architecture, role)
    except (CheckpointError, OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ModelError(f"{folder} is no model folder: its config.json cannot be used ({error}).") from error


def _spec_from_config(folder: Path, config: Mapping[str, Any], architecture: str, role: Role) -> ModelSpec:
    hidden = _read_size(config, "hidden_size", "n_embd")
    layers = _read_size(config, "num_hidden_layers", "n_layer")
    heads = _read_size(config, "num_attention_heads", "n_head")
    groups = 1 if config.get("multi_query") else int(config.get("num_key_value_heads") or heads)
    if hidden % heads and not config.get("head_dim"):
        raise ValueError(f"a width of {hidden} is no multiple of {heads} heads")
    end_ids = _read_ids(config, "eos_token_id")
    context = min(_read_size(config, "max_position_embeddings", "n_positions"), MAX_CONTEXT)
    if architecture == "xlm-roberta":  # its positions begin behind the one of the padding token
        context -= int(config.get("pad_token_id", 1)) + 1
    if config.get("position_embedding_type", "absolute") != "absolute" and architecture in _ABSOLUTE_POSITIONS:
        raise CheckpointError(f"positions of type {config['position_embedding_type']!r} are not supported")
    width = 4 if (config.get("dtype") or config.get("torch_dtype")) == "float32" else 2
    return ModelSpec(
        key=folder.name,
        role=role,
        architecture=architecture,
        hub_id=str(folder.resolve()),
        dimensions=hidden if role == "embedder" else 0,
        context=context,
        pooling=_read_pooling(folder, architecture) if role == "embedder" else "mean",
        causal=role == "generator" or architecture == "qwen2",
        begin_id=_read_begin_id(folder, config, architecture),
        end_id=end_ids[0] if end_ids else None,
        stop_ids=end_ids,
        cache_bytes_per_token=2 * layers * groups * int(config.get("head_dim") or hidden // heads) * 2,
        layers=layers,
        hidden=hidden,
        inner=int(config.get("intermediate_size") or config.get("n_inner") or 4 * hidden),
        vocabulary=_read_size(config, "vocab_size"),
        parameters=sum(file.stat().st_size for file in folder.glob("*.safetensors")) // width,
        summary=f"A {architecture} checkpoint in a folder of yours.",
    )


def _read_size(config: Mapping[str, Any], *names: str) -> int:
    """The first of some keys of a config that is there, as a positive number; raises ValueError."""
    name, value = next(((name, config[name]) for name in names if config.get(name) is not None), (names[0], None))
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}")
    return value


def _read_ids(config: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """One token id or several, of the vocabulary; raises ValueError for others."""
    found = config.get(name)
    ids = tuple(found) if isinstance(found, list) else () if found is None else (found,)
    if not all(isinstance(each, int) and each < _read_size(config, "vocab_size") for each in ids):
        raise ValueError(f"{name} is {found!r}")
    return ids


def _read_begin_id(folder: Path, config: Mapping[str, Any], architecture: str) -> int | None:
    """The id that the model's own tokenizer puts before a text; not every Llama has one."""
    begin = next(iter(_read_ids(config, "bos_token_id")), None)
    if architecture in ("bert", "xlm-roberta"):
        return begin
    tokenizer, about = (_read_json_if_there(folder / name) for name in ("tokenizer.json", "tokenizer_config.json"))
    processor = tokenizer.get("post_processor") or {}
    for part in (processor, *(processor.get("processors") or ())):
        first = (part.get("single") or [{}])[0].get("SpecialToken", {}).get("id")
        if first and part["special_tokens"][first]["ids"] == [begin]:
            return begin
    return begin if about.get("add_bos_token") else None


def _read_json_if_there(path: Path) -> dict[str, Any]:
    """A JSON object, empty where there is no file."""
    return read_json(path) if path.exists() else {}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model folder; raises CheckpointError with the file's name.

    Only a regular file is read, and of it no more than any real model has.
    """
    try:
        data = read_bounded(path, MAX_JSON_BYTES)
        value = json.loads(data) if len(data) <= MAX_JSON_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is missing or is not JSON; fetch the model again.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is not a JSON object, or is too large; fetch the model again.")
    return value


def _read_pooling(folder: Path, architecture: str) -> str:
    """How sentence-transformers pools this model, by its modules.json; else what its architecture does as a rule.

    Raises CheckpointError for a way that is not known here, and for modules behind it that change the vectors.
    """
    path = _pooling_folder(folder)
    if path is None:
        return "last" if architecture == "qwen2" and not (folder / "modules.json").exists() else "mean"
    config = read_json(path / "config.json")
    flags = {name.removeprefix("pooling_mode_") for name, is_on in config.items() if is_on is True} - {"include_prompt"}
    modes = flags | ({str(config["pooling_mode"])} if config.get("pooling_mode") else set())
    known = [_POOLING_MODES[mode] for mode in modes if mode in _POOLING_MODES]
    if modes and (len(known) != 1 or len(modes) != 1):
        raise CheckpointError(f"{folder} pools by {', '.join(sorted(modes))}, which is not supported; choose another.")
    return known[0] if known else "mean"


def _pooling_folder(folder: Path) -> Path | None:
    """The folder of the pooling module, which modules.json names; raises CheckpointError."""
    path = folder / "modules.json"
    if not path.exists():
        return folder / "1_Pooling" if (folder / "1_Pooling" / "config.json").exists() else None
    rows = json.loads(read_bounded(path, MAX_JSON_BYTES))
    kinds = [str(row.get("type", "")).rpartition(".")[2] for row in rows]
    if foreign := sorted(set(kinds) - _KNOWN_MODULES):
        raise CheckpointError(f"its vectors pass through {', '.join(foreign)}, which is not supported")
    found = [folder / str(row.get("path")) for row, kind in zip(rows, kinds, strict=True) if kind == "Pooling"]
    if not all(each.resolve().is_relative_to(folder.resolve()) for each in found):
        raise CheckpointError(f"{path} names a folder outside its own")
    return found[0] if found else None


@cache
def _builtin_catalogue() -> dict[str, ModelSpec]:
    text = Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8")
    return {key: _checked_spec(key, row, None) for key, row in tomllib.loads(text).items()}


def _checked_spec(key: str, row: Mapping[str, Any], base: ModelSpec | None) -> ModelSpec:
    """A row as a Model; `base` is one of ours that the user's row changes."""
    known = {entry.name: entry for entry in fields(ModelSpec)}
    for name, value in row.items():
        if name not in known or name == "key":
            raise SettingsError(f"`models.catalogue.{key}` has no entry {name!r}; there are {', '.join(known)}.")
        _require_valid(_matches_type(known[name].type, value), key, name, f"is {value!r}, which is of the wrong type")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    try:
        model = replace(base, **values) if base else ModelSpec(key=key, **values)
    except TypeError as error:
        raise SettingsError(f"`models.catalogue.{key}` needs at least role and architecture ({error}).") from error
    architectures = EMBEDDER_ARCHITECTURES if model.role == "embedder" else GENERATOR_ARCHITECTURES
    _require_valid(model.role in ("embedder", "generator"), key, "role", "must be embedder or generator")
    _require_valid(
        bool(model.file) or model.architecture in architectures,
        key,
        "architecture",
        f"must be one of {', '.join(architectures)}",
    )
    _require_valid(model.pooling in POOLINGS, key, "pooling", f"must be one of {', '.join(POOLINGS)}")
    _require_valid(model.infill in INFILLS, key, "infill", f"must be one of {', '.join(INFILLS[1:])}")
    _require_valid(_is_valid_hub_id(model.hub_id), key, "hub_id", "must be owner/name or the absolute path of a folder")
    return model


def _is_valid_hub_id(hub_id: str) -> bool:
    """A hub repository's name or an absolute path; never a URL or a relative path."""
    if not hub_id or Path(hub_id).is_absolute():
        return "\0" not in hub_id
    owner, _, name = hub_id.partition("/")
    return all(
        part and ".." not in part and part.replace("-", "").replace("_", "").replace(".", "").isalnum()
        for part in (owner, name)
    )


def _matches_type(kind: Any, value: Any) -> bool:
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


def _require_valid(holds: bool, key: str, name: str, sentence: str) -> None:
    if not holds:
        raise SettingsError(f"`models.catalogue.{key}.{name}` {sentence}.")
