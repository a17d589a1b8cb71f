"""The least that an MCP server on the SDK can be: one tool that doubles, one that waits. Run as a process.

python bare_server.py stdio | http PORT
"""

import asyncio
import json
import sys
from typing import Any

import uvicorn
from mcp.server import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams, TextContent, Tool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
TOOLS = [Tool(name=name, input_schema=NUMBER) for name in ("double", "wait")]
for_ever = asyncio.Event()
waiting = 0

Context = ServerRequestContext[Any, Any]


async def list_tools(_ctx: Context, _params: PaginatedRequestParams | None) -> ListToolsResult:
    """Return both tools."""
    return ListToolsResult(tools=TOOLS)


async def call_tool(_ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    """Do what the tool says."""
    global waiting  # noqa: PLW0603 - this program is this one number
    if params.name == "wait":
        waiting += 1
        await for_ever.wait()
    content = {"double": 2 * (params.arguments or {})["n"]}
    return CallToolResult(content=[TextContent(type="text", text=json.dumps(content))], structured_content=content)


async def show_waiting(_: Request) -> JSONResponse:
    """Answer how many calls wait."""
    return JSONResponse({"waiting": waiting})


async def main(transport: str, port: int) -> None:
    """Serve."""
    server = Server(
        "bare", on_list_tools=list_tools, on_call_tool=call_tool, get_tool_input_schema=lambda _name: NUMBER
    )
    if transport == "stdio":
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
        return
    app = server.streamable_http_app(stateless_http=True, custom_starlette_routes=[Route("/health", show_waiting)])
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False, backlog=512)
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0))  # noqa: PLR2004 - a port or none
