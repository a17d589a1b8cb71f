"""pydantic-ai: an agent whose model is a script."""

import asyncio
import json

from fastmcp.client.transports import StdioTransport
from job import MOST_CALLS, Seen, each
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelResponse, RetryPromptPart, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel


def text_of(content):
    """Return an answer as JSON, without its resource link."""
    answer = content[0] if isinstance(content, list) else content
    return answer if isinstance(answer, str) else json.dumps(answer)


async def act(seen: Seen):
    job = seen.job

    async def on_question(message, _type, _params, _context):
        seen.asked.append(message)
        return job.answer

    def model(messages, info):
        seen.tools = [tool.name for tool in info.function_tools]
        contents = [part.content for part in messages[-1].parts if isinstance(part, ToolReturnPart | RetryPromptPart)]
        seen.texts.extend(text_of(content) for content in contents)
        part = ToolCallPart(job.tool, job.arguments) if seen.calls else TextPart("Done.")
        return ModelResponse(parts=[part])

    if job.url:
        server = job.url
    else:
        command, *words = job.command
        server = StdioTransport(command=command, args=words, env=job.environ)
    toolset = MCPToolset(
        server,
        init_timeout=60,
        read_timeout=job.patience if job.gives_up else 300,
        max_retries=MOST_CALLS,
        progress_handler=seen.on_progress,
        elicitation_handler=on_question if job.asks else None,
    )
    async with Agent(FunctionModel(model), toolsets=[toolset]) as agent:
        run = asyncio.create_task(agent.run("Go."))
        await (seen.cancel(run) if job.action == "cancel" else run)


each(act)
