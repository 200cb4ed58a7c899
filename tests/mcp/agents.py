"""Agents for the tests: clients of the SDK that start the installed command, and what they read of its answers."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from daemons import COMMAND

SAMPLE = Path(__file__).parents[2] / "examples" / "mixed"


@asynccontextmanager
async def agent(*arguments: object, cwd: Path, **options) -> AsyncIterator[Client]:
    """A client of `codekin mcp` over real pipes; `options` go to the SDK's client."""
    words = ["mcp", *map(str, arguments)]
    server = StdioServerParameters(command=str(COMMAND), args=words, env=dict(os.environ), cwd=cwd)
    async with Client(stdio_client(server), **{"mode": "legacy", **options}) as client:
        yield client


def text_of(result) -> str:
    """The text of an answer that is no failure."""
    assert not result.is_error, result.content[0].text
    return result.content[0].text


def sentence_of(result) -> str:
    """The one sentence of a failure."""
    assert result.is_error
    (content,) = result.content
    assert content.text.count("\n") == 0
    return content.text
