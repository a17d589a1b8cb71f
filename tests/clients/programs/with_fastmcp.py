"""FastMCP's client. The variant `tasks` runs calls as tasks, with the package fastmcp-tasks."""

import asyncio
from importlib.util import find_spec

from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from job import Seen, each

if find_spec("fastmcp_tasks"):  # its import changes the client
    from fastmcp_tasks import call_tool_task


async def act(seen: Seen):
    job = seen.job

    async def on_question(message, _type, _params, _context):
        seen.asked.append(message)
        return job.answer

    async def call(timeout=None):  # noqa: ASYNC109 - the client has its own timeout
        if job.variant == "tasks" and job.tool != "read_dag_result":  # read_dag_result answers at once
            task = await call_tool_task(client, job.tool, job.arguments, raise_on_error=False)
            async with asyncio.timeout(timeout):
                result = await task.result()
        else:
            result = await client.call_tool(
                job.tool, job.arguments, raise_on_error=False, progress_handler=seen.on_progress, timeout=timeout
            )
        seen.texts.append(result.content[0].text)
        seen.is_error = result.is_error

    if job.url:
        server = job.url
    else:
        command, *words = job.command
        server = StdioTransport(command=command, args=words, env=job.environ)
    async with Client(server, **({"elicitation_handler": on_question} if job.asks else {})) as client:
        seen.tools = [tool.name for tool in await client.list_tools()]
        match job.action:
            case "list":
                pass
            case "repeat":
                try:
                    await call(job.patience)
                except Exception as error:  # noqa: BLE001 - the type depends on the version
                    seen.texts.append(repr(error))
                await call()
            case "cancel" if job.variant == "tasks":
                task = await call_tool_task(client, job.tool, job.arguments)
                await asyncio.sleep(job.patience)
                await task.cancel()
                seen.is_cancelled = True
            case "cancel":
                await seen.cancel(asyncio.create_task(call()))
            case _:
                await call()


each(act)
