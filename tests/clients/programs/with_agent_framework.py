"""Microsoft's Agent Framework: an agent whose model is a script."""

import asyncio
import itertools
import json

from agent_framework import (
    Agent,
    BaseChatClient,
    ChatResponse,
    Content,
    FunctionInvocationLayer,
    MCPStdioTool,
    MCPStreamableHTTPTool,
    Message,
)
from job import JOB, say

TEXTS = []
NUMBERS = itertools.count(1)


class Script(FunctionInvocationLayer, BaseChatClient):
    """Call the tool; where a call was given up, call again."""

    async def _inner_get_response(self, *, messages, **_more):
        results = [part for part in messages[-1].contents if part.type == "function_result"]
        TEXTS.extend(part.result if isinstance(part.result, str) else json.dumps(part.result) for part in results)
        gave_up = results and not TEXTS[-1].startswith("{")
        if not results or (JOB.action == "repeat" and gave_up):
            call = Content.from_function_call(f"call-{next(NUMBERS)}", JOB.tool, arguments=JOB.arguments)
            return ChatResponse(messages=[Message(role="assistant", contents=[call])])
        return ChatResponse(messages=[Message(role="assistant", contents=["Done."])])


async def main():
    seconds = JOB.patience if JOB.action == "repeat" else None
    if JOB.url:
        server = MCPStreamableHTTPTool("airflow", JOB.url, request_timeout=seconds)
    else:
        command, *words = JOB.command
        server = MCPStdioTool("airflow", command, args=words, env=JOB.environ, request_timeout=seconds)
    async with server, Agent(client=Script(), name="agent", tools=server) as agent:
        if JOB.action == "list":
            say(tools=[function.name for function in server.functions])
            return
        run = asyncio.create_task(agent.run("Go."))
        if JOB.action == "cancel":
            await asyncio.wait([run], timeout=JOB.patience)
            run.cancel()
            await asyncio.wait([run])
            await asyncio.sleep(JOB.linger)
            say(cancelled=run.cancelled())
            return
        await run
        *gave_up, text = TEXTS
        say(text=text, gave_up=gave_up)


asyncio.run(main())
