"""Labels functions with the OTP or framework pattern that they implement, and masks what would give it away.

A label is `Owner.callback/arity`: `GenServer.handle_call/3`, `Oban.Worker.perform/1`, `Controller.index/2`. Fine-tuning
and `codekin eval beam` ask with a function of one file for functions of the same label in others.
"""

import re

from codekin.parsing import count_lines_before_code
from codekin.types import Chunk

BEAM_LANGUAGES = frozenset({"elixir", "erlang"})
CONTROLLER = "Controller"
CONTROLLER_ACTIONS = frozenset({"index", "show", "new", "create", "edit", "update", "delete"})
PATTERN_FAMILIES = {
    "GenServer": "OTP servers",
    "GenStage": "OTP servers",
    ":gen_server": "OTP servers",
    ":gen_statem": "OTP servers",
    ":gen_event": "OTP servers",
    "gen_server": "OTP servers",
    "gen_statem": "OTP servers",
    "gen_event": "OTP servers",
    "Supervisor": "supervisors",
    "DynamicSupervisor": "supervisors",
    "supervisor": "supervisors",
    "Application": "supervisors",
    "application": "supervisors",
    "Plug": "plugs",
    "Plug.Builder": "plugs",
    "Plug.ErrorHandler": "plugs",
    "Phoenix.Channel": "channels",
    "Phoenix.Socket": "channels",
    "Phoenix.LiveView": "LiveView",
    "Phoenix.LiveComponent": "LiveView",
    "Ecto.Type": "Ecto",
    "Ecto.ParameterizedType": "Ecto",
    "Ecto.Migration": "Ecto",
    "Ecto.Schema": "Ecto",
    "Oban.Worker": "Oban",
    CONTROLLER: "controllers",
    **dict.fromkeys(("Enumerable", "Collectable", "Inspect", "Jason", "Phoenix", "String", "List"), "protocols"),
}
SAME_BEHAVIOURS = {"gen_server": "GenServer", "supervisor": "Supervisor", "application": "Application"}
"""Erlang's names of behaviours that Elixir wraps: their callbacks are the same."""

OTHER_FAMILY = "other behaviours"
MIN_LINES = 3
"""A callback of one line says too little to be found by."""

_LIVE_VIEW_CALLBACKS = {"mount/3", "handle_params/3", "handle_event/3", "handle_async/3"}
_HIDDEN_LINES = ("@impl", "@doc", "@spec", "-spec")


def pattern_of(chunk: Chunk) -> str:
    """The pattern that a function implements; empty where it implements none, or more than one."""
    if chunk.language not in BEAM_LANGUAGES or chunk.kind != "function" or chunk.part > 1:
        return ""
    module, role = _split_name(chunk.name)
    name = role.partition("/")[0]
    if module.endswith(CONTROLLER) and name in CONTROLLER_ACTIONS and role.endswith("/2"):
        return f"{CONTROLLER}.{role}"
    if name == "changeset" and "Ecto.Schema" in chunk.shape.uses:
        return f"Ecto.Schema.{role}"
    if len(chunk.shape.callbacks) != 1:
        return ""
    owner = _owner(chunk, role)
    return f"{owner}.{role}" if owner else ""


def pattern_family(pattern: str) -> str:
    """The family of a pattern, for people: OTP servers, supervisors, plugs, LiveView, Oban, controllers or others."""
    return PATTERN_FAMILIES.get(re.sub(r"\.[^.]+/\d+$", "", pattern), OTHER_FAMILY)


def mask_own_name(chunk: Chunk) -> str:
    """The code of a function without its documentation, its own name masked as `callback`."""
    name = _split_name(chunk.name)[1].partition("/")[0]
    lines = chunk.text.split("\n")[count_lines_before_code(chunk.language, chunk.text) :]
    code = "\n".join(line for line in lines if not line.strip().startswith(_HIDDEN_LINES))
    return re.sub(rf"(?<![\w.:]){re.escape(name)}(?![\w?!])", "callback", code) if name else code


def is_informative(chunk: Chunk) -> bool:
    """Whether a function has enough lines to be found by what it does."""
    return mask_own_name(chunk).strip().count("\n") + 1 >= MIN_LINES


def _owner(chunk: Chunk, role: str) -> str:
    """What the callback belongs to: a protocol, a behaviour, or the module that is used."""
    shape = chunk.shape
    if role in _LIVE_VIEW_CALLBACKS and not {"Phoenix.LiveComponent", "GenServer"} & {*shape.uses, *shape.behaviours}:
        return "Phoenix.LiveView"  # a project's own `use MyAppWeb, :live_view` hides it
    owners = [*dict.fromkeys([*shape.behaviours, *shape.uses])]
    known = [owner for owner in owners if owner in PATTERN_FAMILIES]
    owner = (known or owners or [""])[0]
    return SAME_BEHAVIOURS.get(owner.removeprefix(":"), owner)


def _split_name(name: str) -> tuple[str, str]:
    """The module, and the name with its arity: `App.W.perform/1` and `server:init/1`."""
    module, _, role = re.sub(r":(?=[^:]*/\d+$)", ".", name).rpartition(".")
    return module, role
