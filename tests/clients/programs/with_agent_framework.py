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
from job import Seen, each

NUMBERS = itertools.count(1)


async def act(seen: Seen):
    job = seen.job

    class Script(FunctionInvocationLayer, BaseChatClient):
        """Calls the tool."""

        async def _inner_get_response(self, *, messages, **_more):
            results = [part.result for part in messages[-1].contents if part.type == "function_result"]
            seen.texts.extend(result if isinstance(result, str) else json.dumps(result) for result in results)
            if seen.calls:
                content = Content.from_function_call(f"call-{next(NUMBERS)}", job.tool, arguments=job.arguments)
            else:
                content = "Done."
            return ChatResponse(messages=[Message(role="assistant", contents=[content])])

    seconds = job.patience if job.gives_up else None
    if job.url:
        server = MCPStreamableHTTPTool("airflow", job.url, request_timeout=seconds)
    else:
        command, *words = job.command
        server = MCPStdioTool("airflow", command, args=words, env=job.environ, request_timeout=seconds)
    model = Script(function_invocation_configuration={"include_detailed_errors": True})
    async with server, Agent(client=model, name="agent", tools=server) as agent:
        seen.tools = [function.name for function in server.functions]
        if job.action != "list":
            run = asyncio.create_task(agent.run("Go."))
            await (seen.cancel(run) if job.action == "cancel" else run)


each(act)
