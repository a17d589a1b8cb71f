"""What the tests of each auth manager do with dagcall."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp import Client
from mcp_types import CallToolResult

from tests.support.serving_process import HttpServer

CALL_SECONDS = 120.0


@asynccontextmanager
async def client_of(server: HttpServer) -> AsyncIterator[Client]:
    async with asyncio.timeout(CALL_SECONDS), Client(server.url) as client:
        yield client


async def dag_tools(client: Client) -> set[str]:
    """Return the names of the tools that are dags."""
    own = {"wait_for_dag_run", "read_dag_result", "cancel_dag_run"}
    return {tool.name for tool in (await client.list_tools()).tools} - own


def content_of(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error, result.content
    assert isinstance(result.structured_content, dict)
    return result.structured_content
