"""What Elixir and Erlang know beyond their grammars: callbacks of behaviours, and calls that define something."""

from collections.abc import Mapping
from types import MappingProxyType

_GEN_SERVER_CALLBACKS = (
    "init/1",
    "handle_call/3",
    "handle_cast/2",
    "handle_info/2",
    "handle_continue/2",
    "terminate/2",
    "code_change/3",
    "format_status/1",
    "format_status/2",
)

ELIXIR_CALLBACKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "GenServer": _GEN_SERVER_CALLBACKS,
        "GenStage": (
            *_GEN_SERVER_CALLBACKS,
            "handle_demand/2",
            "handle_events/3",
            "handle_subscribe/4",
            "handle_cancel/3",
        ),
        ":gen_server": _GEN_SERVER_CALLBACKS,
        ":gen_statem": ("init/1", "callback_mode/0", "handle_event/4", "terminate/3", "code_change/4"),
        ":gen_event": ("init/1", "handle_event/2", "handle_call/2", "handle_info/2", "terminate/2"),
        "Supervisor": ("init/1",),
        "DynamicSupervisor": ("init/1",),
        "Application": ("start/2", "stop/1", "prep_stop/1", "config_change/3", "start_phase/3"),
        "Plug": ("init/1", "call/2"),
        "Plug.Builder": ("init/1", "call/2"),
        "Plug.ErrorHandler": ("handle_errors/2",),
        "Phoenix.Channel": ("join/3", "handle_in/3", "handle_out/3", "handle_info/2", "terminate/2"),
        "Phoenix.Socket": ("connect/2", "connect/3", "id/1"),
        "Phoenix.LiveView": (
            "mount/3",
            "render/1",
            "handle_params/3",
            "handle_event/3",
            "handle_info/2",
            "handle_async/3",
            "terminate/2",
        ),
        "Phoenix.LiveComponent": ("mount/1", "update/2", "update_many/1", "render/1", "handle_event/3"),
        "Ecto.Type": ("type/0", "cast/1", "load/1", "dump/1", "equal?/2", "embed_as/1", "autogenerate/0"),
        "Ecto.ParameterizedType": ("init/1", "type/1", "cast/2", "load/3", "dump/3", "equal?/3", "embed_as/2"),
        "Ecto.Migration": ("up/0", "down/0", "change/0"),
        "Broadway": ("handle_message/3", "handle_batch/4", "handle_failed/2", "prepare_messages/2"),
        "Mix.Task": ("run/1",),
        "Mix.Project": ("project/0", "application/0", "cli/0"),
        "Agent": (),
        "Access": ("fetch/2", "get_and_update/3", "pop/2"),
        "Enumerable": ("reduce/3", "count/1", "member?/2", "slice/1"),
        "Collectable": ("into/1",),
        "Exception": ("exception/1", "message/1", "blame/2"),
    }
)

ERLANG_CALLBACKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **{name.removeprefix(":"): known for name, known in ELIXIR_CALLBACKS.items() if name.startswith(":")},
        "supervisor": ("init/1",),
        "application": ("start/2", "stop/1", "prep_stop/1", "config_change/3", "start_phase/3"),
        "cowboy_handler": ("init/2", "terminate/3"),
        "cowboy_rest": ("init/2", "allowed_methods/2", "content_types_provided/2", "resource_exists/2"),
        "cowboy_websocket": ("init/2", "websocket_init/1", "websocket_handle/2", "websocket_info/2"),
        "ranch_protocol": ("start_link/3",),
        "ct_suite": ("all/0", "groups/0", "init_per_suite/1", "end_per_suite/1", "init_per_testcase/2"),
    }
)

ELIXIR_FORMS: Mapping[str, str] = {
    "defmodule": "module",
    "defprotocol": "protocol",
    "defimpl": "implementation",
    "def": "function",
    "defp": "function",
    "defn": "function",
    "defnp": "function",
    "deftransform": "function",
    "deftransformp": "function",
    "defmacro": "macro",
    "defmacrop": "macro",
    "defguard": "guard",
    "defguardp": "guard",
    "defdelegate": "delegate",
    "describe": "describe",
    "context": "describe",
    "test": "test",
    "property": "test",
    "feature": "test",
    "scenario": "test",
    "it": "test",
    "specify": "test",
    "use": "use",
    "import": "use",
}
ELIXIR_CONTROL = "if unless case cond with for receive try raise throw quote"
