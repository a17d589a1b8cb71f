"""MCP clients for both transports and both protocol eras."""

import json
import re
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mcp import Client, StdioServerParameters
from mcp.client.session import ElicitationFnT, MessageHandlerFnT
from mcp.client.stdio import stdio_client
from mcp_types import CallToolResult, TextContent

from tests.support.running_demo import RunningDemo

CONNECTIONS = ["http 2026-07-28", "http 2025-11-25", "stdio 2026-07-28", "stdio 2025-11-25"]
"""Transport and protocol revision; the SDK's client calls the revisions `auto` and `legacy`."""


@asynccontextmanager
async def connected(
    demo: RunningDemo,
    connection: str,
    errors: Path,
    *,
    allowed: str = "",
    on_message: MessageHandlerFnT | None = None,
    on_question: ElicitationFnT | None = None,
) -> AsyncIterator[Client]:
    """Connect to the demo's dagcall, or to a new one that serves the demo's Airflow over stdio.

    Args:
        demo: the demo.
        connection: one of `CONNECTIONS`.
        errors: the file for the stderr of a new server, in a folder of its own.
        allowed: the dags that a new server publishes, in place of the demo's: each costs Airflow two requests.
        on_message: called with every notification.
        on_question: answers for the client's user; without it the client declares no elicitation.
    """
    transport, revision = connection.split()
    mode = "auto" if revision == "2026-07-28" else "legacy"
    with errors.open("w") as errlog:
        server: Any = demo.url
        if transport == "stdio":
            config = demo.allowing(errors.parent, f'[[tools]]\ndags = "{allowed}"\n') if allowed else demo.config
            words = ["-m", "dagcall", "serve", "--stdio", "--config", str(config)]
            # With another secret than the demo's dagcall, identical calls of both are not treated as repeats. As for a
            # user, it starts with the remembered tools of the previous one.
            environ = {
                **demo.environ,
                "DAGCALL_SERVER_SECRET": secrets.token_hex(32),
                "DAGCALL_REMEMBER": "true",
                "XDG_CACHE_HOME": str(demo.folder / "cache"),
            }
            parameters = StdioServerParameters(command=sys.executable, args=words, env=environ)
            server = stdio_client(parameters, errlog=errlog)
        async with Client(server, mode=mode, message_handler=on_message, elicitation_callback=on_question) as client:
            assert client.protocol_version == revision
            yield client


def text_of(result: CallToolResult) -> str:
    """Return the text of a result that has one block."""
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


async def answer_of(client: Client, demo: RunningDemo, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Call a tool of the demo and check everything in its answer except the results.

    Returns:
        `{"dag_run_id": …, "results": …}`
    """
    result = await client.call_tool(tool, dict(arguments))
    assert not result.is_error, text_of(result)
    content = result.structured_content
    assert isinstance(content, dict)
    assert json.loads(text_of(result)) == content
    run_id = content["dag_run_id"]
    assert re.fullmatch(r"mcp__[A-Za-z0-9_.~:+-]+", run_id)
    assert content == {
        "state": "success",
        "dag_run_id": run_id,
        "results": content["results"],
        "url": f"{demo.airflow_url}/dags/{tool}/runs/{quote(run_id)}",
    }
    return {"dag_run_id": run_id, "results": content["results"]}
