"""The MCP server: lists the tools, runs their calls, and returns failures as results."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from msgspec import to_builtins

from codekin import __version__
from codekin.errors import CodekinError, describe_os_error
from codekin.mcp.arguments import json_schema, read_arguments
from codekin.mcp.relay import ServerConfig
from codekin.mcp.tools import INSTRUCTIONS, TOOLS, ToolCall, ToolEntry
from codekin.mcp.workspace import AgentDaemon, Workspaces
from mcp import types as mcp

log = logging.getLogger(__name__)

ROOTS_SECONDS = 5.0
"""How long a client may take to say what its roots are."""

RequestContext = ServerRequestContext[Workspaces, Any]


def build_agent_server(config: ServerConfig) -> Server[Workspaces]:
    """A server with all tools; it serves any number of clients."""
    return Server(
        "codekin",
        version=__version__,
        title="Codekin",
        instructions=INSTRUCTIONS,
        lifespan=partial(_open_workspaces, config),
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
    )


@asynccontextmanager
async def _open_workspaces(config: ServerConfig, _server: Server[Workspaces]) -> AsyncIterator[Workspaces]:
    """The link to the daemon for as long as the server lives; it is made while the client still introduces itself."""
    connection = AgentDaemon(config.data)
    connection.begin()
    try:
        yield Workspaces(config, connection)
    finally:
        await connection.close()


async def _list_tools(_context: RequestContext, _params: mcp.PaginatedRequestParams | None) -> mcp.ListToolsResult:
    return mcp.ListToolsResult(tools=[_describe(tool) for tool in TOOLS])


def _describe(tool: ToolEntry) -> mcp.Tool:
    return mcp.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=json_schema(tool.arguments),
        output_schema=json_schema(tool.result),
        annotations=mcp.ToolAnnotations(
            title=tool.title, read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        ),
    )


async def _call_tool(context: RequestContext, params: mcp.CallToolRequestParams) -> mcp.CallToolResult:
    """Runs a tool. What fails is a result with one sentence, so that the agent can read it and do better."""
    tool = next((one for one in TOOLS if one.name == params.name), None)
    if tool is None:
        known = ", ".join(one.name for one in TOOLS)
        raise MCPError(mcp.INVALID_PARAMS, f"There is no tool {params.name}; there are {known}.")
    try:
        return await _run_tool(tool, context, params.arguments or {})
    except CodekinError as error:
        return _failure(str(error))
    except OSError as error:
        return _failure(describe_os_error(error))


async def _run_tool(tool: ToolEntry, context: RequestContext, values: dict[str, Any]) -> mcp.CallToolResult:
    arguments = read_arguments(tool.arguments, values)
    workspaces = context.lifespan_context
    root = await workspaces.choose_root(await _client_roots(context), arguments.root)
    found = await tool.run(ToolCall(workspaces, root, context.session.report_progress), arguments)
    text = mcp.TextContent(type="text", text=tool.render(found))
    return mcp.CallToolResult(content=[text], structured_content=to_builtins(found))


def _failure(sentence: str) -> mcp.CallToolResult:
    return mcp.CallToolResult(content=[mcp.TextContent(type="text", text=sentence)], is_error=True)


async def _client_roots(context: RequestContext) -> list[str]:
    """The URIs of the client's roots; none where it has none, or does not say."""
    session = context.session
    capabilities = session.client_capabilities
    if capabilities is None or capabilities.roots is None or not session.can_send_request:
        return []
    try:
        found = await session.send_request(mcp.ListRootsRequest(), mcp.ListRootsResult, ROOTS_SECONDS)
    except (MCPError, ValueError):
        log.warning("The client did not say what its roots are.")
        return []
    return [str(root.uri) for root in found.roots]
