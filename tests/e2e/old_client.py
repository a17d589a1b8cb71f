# The SDK of this project's environment is another one.
# mypy: ignore-errors
"""A client on the SDK of before 2026: lists the tools, calls one, and prints as JSON all that it saw.

Run by the interpreter of `requirements/mcp-1.30.0.txt`; with a form's CONTENT it can ask its user, who fills that in:

    python old_client.py TOOL ARGUMENTS CONTENT http URL
    python old_client.py TOOL ARGUMENTS CONTENT stdio COMMAND ...
"""

import asyncio
import json
import os
import sys
from contextlib import AbstractAsyncContextManager

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitRequestParams, ElicitResult


async def main(tool: str, arguments: str, content: str, transport: str, *target: str) -> None:
    """List, call, read what the answer links to, print."""
    client: AbstractAsyncContextManager
    if transport == "http":
        client = streamable_http_client(target[0])
    else:
        command, *words = target
        environ = dict(os.environ)  # noqa: TID251 - the server is to have that of this program
        client = stdio_client(StdioServerParameters(command=command, args=words, env=environ))
    progress, asked = [], []

    async def on_progress(number: float, total: float | None, message: str | None) -> None:
        progress.append([number, total, message])

    async def on_question(_context: object, params: ElicitRequestParams) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content=json.loads(content))

    person = on_question if json.loads(content) is not None else None
    async with (
        client as (incoming, outgoing, *_),
        ClientSession(incoming, outgoing, elicitation_callback=person) as session,
    ):
        hello = await session.initialize()
        listed = await session.list_tools()
        answer = await session.call_tool(tool, json.loads(arguments), progress_callback=on_progress)
        links = [block.uri for block in answer.content if block.type == "resource_link"]
        read = [(await session.read_resource(link)).contents[0].text for link in links]
    found = {
        "revision": hello.protocolVersion,
        "tools": [item.name for item in listed.tools],
        "is_error": answer.isError,
        "answer": answer.structuredContent,
        "text": answer.content[0].text,
        "progress": progress,
        "asked": asked,
        "read": read,
    }
    print(json.dumps(found))  # noqa: T201 - its result


asyncio.run(main(*sys.argv[1:]))
