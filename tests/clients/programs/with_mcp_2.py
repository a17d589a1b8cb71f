"""The MCP SDK for Python, 2.x. The variant is the mode of its client: `auto` or `legacy`."""

import asyncio

from job import Seen, each
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import ElicitResult


async def act(seen: Seen):
    job = seen.job

    async def on_question(_context, params):
        seen.asked.append(params.message)
        return ElicitResult(action="accept", content=job.answer)

    async def call(**more):
        result = await client.call_tool(job.tool, job.arguments, **more)
        seen.texts.append(result.content[0].text)
        seen.is_error = result.is_error

    server = job.url
    if not server:
        command, *words = job.command
        server = stdio_client(StdioServerParameters(command=command, args=words, env=job.environ))
    async with Client(server, mode=job.variant, elicitation_callback=on_question if job.asks else None) as client:
        seen.tools = [tool.name for tool in (await client.list_tools()).tools]
        match job.action:
            case "list":
                pass
            case "repeat":
                try:
                    await call(read_timeout_seconds=job.patience)
                except MCPError as error:
                    seen.texts.append(str(error))
                await call()
            case "cancel":
                await seen.cancel(asyncio.create_task(call()))
            case _:
                await call(progress_callback=seen.on_progress)


each(act)
