# The SDK in the project's environment does not support tasks.
# mypy: ignore-errors
"""Calls a tool as a task with FastMCP's client, waits for the task, and prints the result as JSON.

Run with the interpreter of `requirements/fastmcp-tasks-4.1.4.txt`:

    python fastmcp_client.py URL TOOL ARGUMENTS [ANSWER]

ANSWER, an object, answers every question; without it the client declares no elicitation.
"""

import asyncio
import json
import sys

from fastmcp import Client
from fastmcp_tasks import call_tool_task


async def main(url: str, tool: str, arguments: str, answer: str = "") -> None:
    """Call, follow, print."""
    asked = []

    async def person(message, _type, _params, _context):  # noqa: ANN001, ANN202
        asked.append(message)
        return json.loads(answer)

    async with Client(url, **({"elicitation_handler": person} if answer else {})) as client:
        task = await call_tool_task(client, tool, json.loads(arguments), raise_on_error=False)
        first = await task.status()
        result = await task.result()
        last = await task.status()
    found = {
        "task_id": task.task_id,
        "statuses": [first.status, last.status],
        "asked": asked,
        "is_error": result.is_error,
        "answer": result.structured_content,
        "text": result.content[0].text,
    }
    print(json.dumps(found))  # noqa: T201 - its result


asyncio.run(main(*sys.argv[1:]))
