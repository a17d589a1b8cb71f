"""The MCP SDK for Python, 2.x. The variant is the mode of its client: `auto` or `legacy`."""

import asyncio

from job import JOB, say
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import ElicitResult

PROGRESS, ASKED = [], []


async def on_progress(number, _total, message):
    PROGRESS.append([number, message])


async def on_question(_context, params):
    ASKED.append(params.message)
    return ElicitResult(action="accept", content=JOB.answer)


def seen(result, **more):
    say(text=result.content[0].text, is_error=result.is_error, progress=PROGRESS, asked=ASKED, **more)


async def main():
    server = JOB.url
    if not server:
        command, *words = JOB.command
        server = stdio_client(StdioServerParameters(command=command, args=words, env=JOB.environ))
    person = on_question if JOB.action == "question" else None
    async with Client(server, mode=JOB.variant, elicitation_callback=person) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        match JOB.action:
            case "list":
                say(tools=tools)
            case "repeat":
                gave_up = []
                try:
                    await client.call_tool(JOB.tool, JOB.arguments, read_timeout_seconds=JOB.patience)
                except MCPError as error:
                    gave_up.append(str(error))
                seen(await client.call_tool(JOB.tool, JOB.arguments), gave_up=gave_up)
            case "cancel":
                call = asyncio.create_task(client.call_tool(JOB.tool, JOB.arguments))
                await asyncio.wait([call], timeout=JOB.patience)
                call.cancel()
                await asyncio.wait([call])
                await asyncio.sleep(JOB.linger)
                say(cancelled=call.cancelled())
            case _:
                seen(await client.call_tool(JOB.tool, JOB.arguments, progress_callback=on_progress))


asyncio.run(main())
