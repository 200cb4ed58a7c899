"""`GET /metrics`: what fine-tuning gained in each workspace, in Prometheus' text format (version 0.0.4)."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from codekin.daemon.services.state import daemon_of

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
HELP = {
    "codekin_finetune_runs": "Fine-tuning runs of a workspace, by decision.",
    "codekin_finetune_map": "Held-out MAP of the last run that was compared, before and after it (0 to 1).",
    "codekin_finetune_gain": "Gain of that run in MAP over the serving model and over the base, with its interval.",
    "codekin_finetune_kind_map": "Held-out MAP of that run by kind of query, before and after it (0 to 1).",
    "codekin_finetune_beam": "How well that run's models tell OTP and framework patterns apart (0 to 1).",
    "codekin_finetune_finished_seconds": "When that run ended, in seconds since 1970.",
}

Sample = tuple[str, Mapping[str, str], float]
"""The name of a gauge, its labels, its value."""


async def metrics(request: Request) -> Response:
    """The gauges of all workspaces that were open recently."""
    service = daemon_of(request).finetune
    samples: list[Sample] = []
    for root in service.known_roots():
        samples += workspace_samples(str(root), (await service.history(root))["runs"])
    return PlainTextResponse(render_metrics(samples), headers={"content-type": CONTENT_TYPE})


def workspace_samples(workspace: str, runs: Sequence[Mapping[str, Any]]) -> Iterable[Sample]:
    """The gauges of one workspace; `runs` as the history has them, newest first."""
    where = {"workspace": workspace}
    for decision, count in Counter(run["decision"] for run in runs).items():
        yield "codekin_finetune_runs", {**where, "decision": decision}, count
    compared = next((run for run in runs if "after" in run), None)
    if compared:
        yield from _figures(where, compared)


def _figures(where: Mapping[str, str], run: Mapping[str, Any]) -> Iterable[Sample]:
    report = run["report"]
    yield from (("codekin_finetune_map", {**where, "when": when}, run[when]["map"]) for when in ("before", "after"))
    for name, over in (("evaluation", "serving"), ("from_base", "base")):
        if gain := report.get(name):
            values = {"mean": gain["after"] - gain["before"], "low": gain["low"], "high": gain["high"]}
            for bound, value in values.items():
                yield "codekin_finetune_gain", {**where, "over": over, "bound": bound}, value
    for kind, pair in (report.get("all") or {}).get("kinds", {}).items():
        for when, value in zip(("before", "after"), pair, strict=True):
            yield "codekin_finetune_kind_map", {**where, "kind": kind, "when": when}, value
    beam = run.get("beam") or {}
    for model in ("base", "before", "after"):
        for measure, value in beam.get(model, {}).items():
            yield "codekin_finetune_beam", {**where, "model": model, "measure": measure}, value
    if run.get("finished_seconds"):
        yield "codekin_finetune_finished_seconds", where, run["finished_seconds"]


def render_metrics(samples: Iterable[Sample]) -> str:
    """The samples as text: each gauge once with its help, its values below."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample[0], []).append(sample)
    lines = []
    for name, found in by_name.items():
        lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} gauge"]
        lines += [f"{name}{{{_labels(labels)}}} {value:.10g}" for _, labels, value in found]
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items())


def _escape(value: str) -> str:
    """A label's value with backslashes, quotes and line ends escaped; bytes that are no UTF-8 are replaced."""
    printable = value.encode("utf-8", "replace").decode()
    return printable.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


routes = [Route("/metrics", metrics, methods=["GET"])]
