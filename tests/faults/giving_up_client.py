# This program uses another SDK version than the project's environment.
# mypy: ignore-errors
"""A client on SDK 1.30 that times out after two seconds and repeats its call in the same session.

Run with the interpreter of `mcp-1.30.0.txt`. It prints a line when it times out, then the answer to the repeated call:

    python giving_up_client.py TOOL ARGUMENTS http URL
    python giving_up_client.py TOOL ARGUMENTS stdio COMMAND ...
"""

import asyncio
import json
import os
import sys
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from anyio import BrokenResourceError
from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

PATIENCE = timedelta(seconds=2)


async def main(tool: str, arguments: str, transport: str, *target: str) -> None:
    """Call, give up, call again, print."""
    client: AbstractAsyncContextManager
    if transport == "http":
        client = streamable_http_client(target[0])
    else:
        command, *words = target
        environ = dict(os.environ)  # noqa: TID251 - the server gets this program's environment
        client = stdio_client(StdioServerParameters(command=command, args=words, env=environ))
    try:
        async with client as (incoming, outgoing, *_), ClientSession(incoming, outgoing) as session:
            await give_up_and_call_again(session, tool, json.loads(arguments))
    except* BrokenResourceError:
        pass  # the first answer arrived while the client was closing, which this SDK does not handle


async def give_up_and_call_again(session: ClientSession, tool: str, arguments: dict[str, object]) -> None:
    await session.initialize()
    await session.list_tools()
    try:
        await session.call_tool(tool, arguments, read_timeout_seconds=PATIENCE)
    except McpError as error:
        print(json.dumps({"gave_up": error.error.message}), flush=True)  # noqa: T201 - its result
    answer = await session.call_tool(tool, arguments)
    found = {"is_error": answer.isError, "answer": answer.structuredContent, "text": answer.content[0].text}
    print(json.dumps(found), flush=True)  # noqa: T201 - its result


asyncio.run(main(*sys.argv[1:]))
