"""FastMCP's client. The variant `tasks` runs calls as tasks, with the package fastmcp-tasks."""

import asyncio

from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from job import JOB, say

if JOB.variant == "tasks":  # its import changes the client
    from fastmcp_tasks import call_tool_task

PROGRESS, ASKED = [], []


async def on_progress(number, _total, message):
    PROGRESS.append([number, message])


async def on_question(message, _type, _params, _context):
    ASKED.append(message)
    return JOB.answer


async def call(client, **more):
    if JOB.variant == "tasks":
        task = await call_tool_task(client, JOB.tool, JOB.arguments, raise_on_error=False)
        async with asyncio.timeout(more.get("timeout")):
            return await task.result()
    return await client.call_tool(JOB.tool, JOB.arguments, raise_on_error=False, progress_handler=on_progress, **more)


def seen(result, **more):
    say(text=result.content[0].text, is_error=result.is_error, progress=PROGRESS, asked=ASKED, **more)


async def main():
    if JOB.url:
        server = JOB.url
    else:
        command, *words = JOB.command
        server = StdioTransport(command=command, args=words, env=JOB.environ)
    more = {"elicitation_handler": on_question} if JOB.action == "question" else {}
    async with Client(server, **more) as client:
        tools = [tool.name for tool in await client.list_tools()]
        match JOB.action:
            case "list":
                say(tools=tools)
            case "repeat":
                gave_up = []
                try:
                    await call(client, timeout=JOB.patience)
                except Exception as error:  # noqa: BLE001 - each version has its own
                    gave_up.append(repr(error))
                seen(await call(client), gave_up=gave_up)
            case "cancel" if JOB.variant == "tasks":
                task = await call_tool_task(client, JOB.tool, JOB.arguments)
                await asyncio.sleep(JOB.patience)
                await task.cancel()
                say(cancelled=True)
            case "cancel":
                running = asyncio.create_task(call(client))
                await asyncio.wait([running], timeout=JOB.patience)
                running.cancel()
                await asyncio.wait([running])
                await asyncio.sleep(JOB.linger)
                say(cancelled=running.cancelled())
            case _:
                seen(await call(client))


asyncio.run(main())
