"""The MCP SDK for Python, 1.x."""

import asyncio
from datetime import timedelta

from anyio import BrokenResourceError
from job import JOB, say
from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult

PROGRESS, ASKED = [], []


async def on_progress(number, _total, message):
    PROGRESS.append([number, message])


async def on_question(_context, params):
    ASKED.append(params.message)
    return ElicitResult(action="accept", content=JOB.answer)


def seen(result, **more):
    say(text=result.content[0].text, is_error=result.isError, progress=PROGRESS, asked=ASKED, **more)


async def main():
    if JOB.url:
        transport = streamable_http_client(JOB.url)
    else:
        command, *words = JOB.command
        transport = stdio_client(StdioServerParameters(command=command, args=words, env=JOB.environ))
    person = on_question if JOB.action == "question" else None
    try:
        async with (
            transport as (incoming, outgoing, *_),
            ClientSession(incoming, outgoing, elicitation_callback=person) as session,
        ):
            await session.initialize()
            await act(session)
    except* BrokenResourceError:
        pass  # the call that was given up is answered while this client closes, for which its SDK is not made


async def act(session):
    tools = [tool.name for tool in (await session.list_tools()).tools]
    match JOB.action:
        case "list":
            say(tools=tools)
        case "repeat":
            gave_up = []
            try:
                await session.call_tool(JOB.tool, JOB.arguments, read_timeout_seconds=timedelta(seconds=JOB.patience))
            except McpError as error:
                gave_up.append(str(error))
            seen(await session.call_tool(JOB.tool, JOB.arguments), gave_up=gave_up)
        case _:
            seen(await session.call_tool(JOB.tool, JOB.arguments, progress_callback=on_progress))


asyncio.run(main())
