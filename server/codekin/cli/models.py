"""`codekin models …`, `codekin generate`, `codekin similarity`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from codekin import paths
from codekin.cli import options
from codekin.cli.embedding_source import choose_source
from codekin.cli.output import print_json, print_line, print_note, print_rows, print_text
from codekin.cli.progress import show_progress
from codekin.daemon.client import DaemonClient
from codekin.errors import UsageError
from codekin.models import planner
from codekin.models.catalogue import find_model, load_catalogue, recommend_generator
from codekin.models.gguf_files import find_local_files
from codekin.models.planner import RUNTIME_BYTES, check_hardware, format_gigabytes
from codekin.settings import ModelSettings, load_settings

group = typer.Typer(help="List, pull and choose models.", no_args_is_help=True, add_completion=False)

Name = Annotated[
    str, typer.Argument(help="A name of `codekin models list`, an absolute path, or owner/name:Q4_K_M for GGUF.")
]


@group.callback()
def overview() -> None:
    """List, pull and choose models."""


@group.command(name="list")
def list_models(json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """List the models there are, and which of them are on this machine; Ollama's and LM Studio's files, too."""
    settings = _settings(data_dir)
    rows = [_model_row(model, settings) for model in load_catalogue(settings.catalogue).values()]
    rows += [_local_file_row(name, path) for name, path in find_local_files().items()]
    if json:
        print_json(rows)
        return 0
    headers = ("model", "role", "here", "download", "licence", "about")
    cells = [
        (row["key"], row["role"], _yes_no(row["here"]), row["download"], row["licence"], row["summary"]) for row in rows
    ]
    print_rows(headers, cells)
    return 0


@group.command()
def show(name: Name, json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """Show a model: where it comes from, how it is run, what its licence forbids, what it takes."""
    settings = _settings(data_dir)
    from codekin.models.fetching import describe_model  # noqa: PLC0415 - brings huggingface_hub

    model = describe_model(find_model(name, settings.catalogue), settings.dir)
    dtypes = (model.quantisation or "GGUF",) if model.file else tuple(planner.WEIGHT_BITS)
    needs = {dtype: planner.memory_need(model, dtype, 4096).total for dtype in dtypes}
    row = {**_model_row(model, settings), **_details(model), "bytes": needs}
    if json:
        print_json(row)
        return 0
    for key, value in row.items():
        shown = (
            ", ".join(f"{dtype} {format_gigabytes(size)}" for dtype, size in value.items()) if key == "bytes" else value
        )
        print_line(f"{key:<12} {_yes_no(shown) if isinstance(shown, bool) else shown}")
    return 0


@group.command()
def pull(name: Name, json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """Download a model, going on where an earlier download stopped, and verify it."""
    settings = _settings(data_dir)
    from codekin.models import fetching  # noqa: PLC0415 - brings huggingface_hub

    model = find_model(name, settings.catalogue)
    if model.forbids:
        print_note(f"{model.key} is under {model.licence}, which forbids {model.forbids}.")
    if not (model.bundled or model.file) and (advice := planner.torch_advice(model.key)):
        print_note(advice)
    support = planner.check_hardware(name, int(settings.memory_gb * (1 << 30)) or None)
    if not support and not model.bundled:
        print_note(f"{support.reason} It is pulled all the same.")
    with show_progress(f"Pulling {model.key}") as report:
        folder = fetching.pull_model(model, settings.dir, lambda done, whole: report(done >> 20, whole >> 20, ""))
    if json:
        print_json({"key": model.key, "folder": str(folder)})
    else:
        print_line(f"{model.key} is in {folder}.")
    return 0


@group.command()
def remove(name: Name, json: options.Json = False, data_dir: options.DataDir = None) -> int:
    """Delete a pulled model from this machine."""
    settings = _settings(data_dir)
    from codekin.models import fetching  # noqa: PLC0415 - brings huggingface_hub

    freed = fetching.remove_model(find_model(name, settings.catalogue), settings.dir)
    if json:
        print_json({"key": name, "freed": freed})
    else:
        print_line(f"{name} is removed; {format_gigabytes(freed)} are free again.")
    return 0


@group.command()
def reload(
    name: Annotated[str, typer.Argument(help="A model's key, or a folder; the settings' choice otherwise.")] = "",
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Put another embedding model, or the same one from disk, in the place of the one that serves."""
    with DaemonClient.connect(paths.data_dir(data_dir)) as client:
        state = client.post("/models/reload", {"model": name}, timeout=600)
    if json:
        print_json(state)
    else:
        print_line(f"{state['name']} serves now; what it has not embedded yet is embedded in the background.")
    return 0


@group.command()
def recommend(
    purpose: Annotated[str, typer.Argument(help="production or dev.")] = "production",
    json: options.Json = False,
    data_dir: options.DataDir = None,  # noqa: ARG001 - every command takes it; this one looks at the machine alone
) -> int:
    """Name the generator for a purpose, and say whether this machine can run it."""
    key = recommend_generator(purpose)
    support = check_hardware(key)
    if json:
        print_json({"purpose": purpose, "model": key, "supported": bool(support), "reason": support.reason})
        return 0
    print_line(support.reason)
    return 0


@group.command(name="plan")
def plan_models(
    names: Annotated[list[str] | None, typer.Argument(help="Models to run together.")] = None,
    memory: Annotated[str, typer.Option("--memory", help="For instance 16GB; what is free now otherwise.")] = "",
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16, float16, int8 or int4.")] = "bfloat16",
    context: Annotated[int, typer.Option("--context", min=1, help="Tokens of the attention cache.")] = 4096,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Plan the memory for several models, and show what would make them fit; exit status 1 if they do not."""
    settings = _settings(data_dir)
    if dtype not in planner.WEIGHT_BITS:
        raise UsageError(f"There is no dtype {dtype!r}; there are {', '.join(planner.WEIGHT_BITS)}.")
    from codekin.models.fetching import describe_model  # noqa: PLC0415 - brings huggingface_hub

    rows = [find_model(name, settings.catalogue) for name in names or ("qodo", "codellama_7b")]
    models = [describe_model(row, settings.dir) for row in rows]
    size = planner.parse_memory(memory) if memory else planner.free_memory()
    plan = planner.plan_memory(models, size, dtype, context)
    if json:
        print_json(_plan_json(plan))
        return 0 if plan.fits else 1
    for line in _plan_lines(plan):
        print_line(line)
    return 0 if plan.fits else 1


def generate(
    prompt: Annotated[str, typer.Argument(help="The text to continue; - reads standard input.")],
    model: Annotated[str, typer.Option(help="A model's key.")] = "auto",
    suffix: Annotated[str, typer.Option(help="The text after the cursor, for infilling.")] = "",
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="At most this many tokens.")] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token.")] = 0.0,
    top_p: Annotated[float, typer.Option("--top-p", help="Only the likeliest tokens of this share.")] = 1.0,
    top_k: Annotated[int, typer.Option("--top-k", min=0, help="Only so many likeliest tokens; 0: all.")] = 0,
    repetition_penalty: Annotated[
        float, typer.Option("--repetition-penalty", help="Above 1: fewer repetitions.")
    ] = 1.0,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed draws the same text.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be repeated.")] = None,
    regex: Annotated[str, typer.Option(help="A regular expression that the text matches.")] = "",
    grammar: Annotated[Path | None, typer.Option(help="A file with a Lark grammar that the text follows.")] = None,
    chat: Annotated[bool, typer.Option("--chat", help="The prompt is an instruction.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Print the text as it comes.")] = False,
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Continue a prompt with the local model, or fill in the text before a suffix."""
    body: dict[str, Any] = {
        "model": model, "prompt": _read_prompt(prompt), "suffix": suffix or None, "max_tokens": max_tokens,
        "temperature": temperature, "top_p": top_p, "top_k": top_k, "repetition_penalty": repetition_penalty,
        "seed": seed, "stop": stop or [], "regex": regex or None, "grammar": _read_file(grammar), "chat": chat,
    }  # fmt: skip
    with DaemonClient.connect(paths.data_dir(data_dir)) as client:
        if stream and not json:
            for event in client.lines("/v1/completions", {**body, "stream": True}):
                print_text("".join(choice["text"] for choice in event["choices"]), end="")
            print_text("")
            return 0
        found = client.post("/v1/completions", body, timeout=3600)
    if "note" in found:
        print_note(found["note"])
    if json:
        print_json(found)
    else:
        print_text(found["choices"][0]["text"])
    return 0


def similarity(
    first: Annotated[str, typer.Argument(help="A text; a file's name with @ in front reads the file.")],
    second: Annotated[str, typer.Argument(help="The other one.")],
    model: Annotated[str, typer.Option(help="A model's key or folder; the daemon's own where not given.")] = "",
    device: options.Device = "",
    json: options.Json = False,
    data_dir: options.DataDir = None,
) -> int:
    """Compare two texts by their vectors: 1 means the same, 0 nothing in common."""
    texts, data = [_text_or_file(first), _text_or_file(second)], paths.data_dir(data_dir)
    with DaemonClient.connect(data) as client:
        source = choose_source(client, model, device, data)
        left, right = source.embed(texts)[0]
    value = sum(one * other for one, other in zip(left, right, strict=True))
    if json:
        print_json({"similarity": value, **source.about})
    else:
        print_line(f"{value:.4f}")
    return 0


def _settings(data_dir: Path | None) -> ModelSettings:
    found, problems = load_settings(paths.data_dir(data_dir))
    for problem in problems:
        print_note(problem)
    return found.models


def _model_row(model: Any, settings: ModelSettings) -> dict[str, Any]:
    from codekin.models.fetching import locate_model  # noqa: PLC0415 - brings huggingface_hub

    return {
        "key": model.key,
        "role": model.role,
        "here": model.bundled or locate_model(model, settings.dir) is not None,
        "download": f"{model.download_bytes / 1e9:.1f} GB" if model.download_bytes else "none",
        "licence": model.licence,
        "gated": model.gated,
        "summary": model.summary,
    }


def _local_file_row(name: str, path: Path) -> dict[str, Any]:
    owner = {"ollama": "Ollama", "lmstudio": "LM Studio"}[name.partition("/")[0]]
    row = {"key": name, "role": "generator", "here": True, "download": "none", "licence": "unknown", "gated": False}
    return {**row, "summary": f"A GGUF file of {owner}, {path.stat().st_size / 1e9:.1f} GB."}


def _details(model: Any) -> dict[str, Any]:
    source = ("hub_id", "file", "revision", "architecture", "quantisation")
    names = (*source, "dimensions", "context", "pooling", "causal", "infill", "forbids")
    return {name: getattr(model, name) for name in names if getattr(model, name) not in ("", 0)}


def _plan_json(plan: Any) -> dict[str, Any]:
    names = ("key", "dtype", "context", "weights", "cache", "activations", "total")
    needs = [{name: getattr(need, name) for name in names} for need in plan.needs]
    return {"fits": plan.fits, "memory": plan.memory, "total": plan.total, "models": needs, "advice": plan.advice}


def _plan_lines(plan: Any) -> list[str]:
    lines = [
        f"{need.key} in {need.dtype}: weights {format_gigabytes(need.weights)} + cache of {need.context} tokens "
        f"{format_gigabytes(need.cache)} + activations {format_gigabytes(need.activations)} "
        f"= {format_gigabytes(need.total)}"
        for need in plan.needs
    ]
    verdict = "fit into" if plan.fits else "do not fit into"
    lines.append(
        f"with {format_gigabytes(RUNTIME_BYTES)} for the process {format_gigabytes(plan.total)} {verdict} "
        f"{format_gigabytes(plan.memory)}"
    )
    return [*lines, plan.advice] if plan.advice else lines


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def _read_prompt(text: str) -> str:
    return typer.get_text_stream("stdin").read() if text == "-" else text


def _read_file(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read ({getattr(error, 'strerror', error)}): give a file with a grammar."
        ) from error


def _text_or_file(text: str) -> str:
    return (_read_file(Path(text[1:])) or "") if text.startswith("@") else text
