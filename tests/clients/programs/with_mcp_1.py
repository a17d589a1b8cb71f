"""The MCP SDK for Python, 1.x."""

from datetime import timedelta

from anyio import BrokenResourceError
from job import Seen, each
from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult


async def act(seen: Seen):
    job = seen.job

    async def on_question(_context, params):
        seen.asked.append(params.message)
        return ElicitResult(action="accept", content=job.answer)

    async def call(**more):
        result = await session.call_tool(job.tool, job.arguments, **more)
        seen.texts.append(result.content[0].text)
        seen.is_error = result.isError

    if job.url:
        transport = streamable_http_client(job.url)
    else:
        command, *words = job.command
        transport = stdio_client(StdioServerParameters(command=command, args=words, env=job.environ))
    try:
        async with (
            transport as (incoming, outgoing, *_),
            ClientSession(incoming, outgoing, elicitation_callback=on_question if job.asks else None) as session,
        ):
            await session.initialize()
            seen.tools = [tool.name for tool in (await session.list_tools()).tools]
            if job.gives_up:
                try:
                    await call(read_timeout_seconds=timedelta(seconds=job.patience))
                except McpError as error:
                    seen.texts.append(str(error))
            if job.action != "list":
                await call(progress_callback=seen.on_progress)
    except* BrokenResourceError:
        pass  # the timed-out call is answered while the client is closing, which this SDK does not handle


each(act)
