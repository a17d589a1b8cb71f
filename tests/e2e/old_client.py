# The SDK of this project's environment is another one.
# mypy: ignore-errors
"""A client on the SDK of before 2026: lists the tools, calls one, and prints both as JSON.

Run by the interpreter of `requirements/mcp-1.30.0.txt`:

    python old_client.py TOOL ARGUMENTS http URL
    python old_client.py TOOL ARGUMENTS stdio COMMAND ...
"""

import asyncio
import json
import os
import sys
from contextlib import AbstractAsyncContextManager

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


async def main(tool: str, arguments: str, transport: str, *target: str) -> None:
    """List, call, print."""
    client: AbstractAsyncContextManager
    if transport == "http":
        client = streamable_http_client(target[0])
    else:
        command, *words = target
        environ = dict(os.environ)  # noqa: TID251 - the server is to have that of this program
        client = stdio_client(StdioServerParameters(command=command, args=words, env=environ))
    async with client as (incoming, outgoing, *_), ClientSession(incoming, outgoing) as session:
        hello = await session.initialize()
        listed = await session.list_tools()
        answer = await session.call_tool(tool, json.loads(arguments))
    found = {
        "revision": hello.protocolVersion,
        "tools": [item.name for item in listed.tools],
        "is_error": answer.isError,
        "answer": answer.structuredContent,
        "text": answer.content[0].text,
    }
    print(json.dumps(found))  # noqa: T201 - its result


asyncio.run(main(*sys.argv[1:]))
