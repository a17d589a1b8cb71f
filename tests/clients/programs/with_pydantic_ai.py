"""pydantic-ai: an agent whose model is a script."""

import asyncio
import json

from fastmcp.client.transports import StdioTransport
from job import JOB, MOST_CALLS, say
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelResponse, RetryPromptPart, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

PROGRESS, ASKED, TOOLS, TEXTS = [], [], [], []


async def on_progress(number, _total, message):
    PROGRESS.append([number, message])


async def on_question(message, _type, _params, _context):
    ASKED.append(message)
    return JOB.answer


def model(messages, info):
    """Call the tool; where a call was given up, call again."""
    TOOLS[:] = [tool.name for tool in info.function_tools]
    answers = [part for part in messages[-1].parts if isinstance(part, ToolReturnPart | RetryPromptPart)]
    for part in answers:
        content = part.content
        TEXTS.append(content if isinstance(content, str) else json.dumps(content))
    may_call = not answers or (JOB.action == "repeat" and isinstance(answers[0], RetryPromptPart))
    if may_call and JOB.action != "list" and len(TEXTS) < MOST_CALLS:
        return ModelResponse(parts=[ToolCallPart(JOB.tool, JOB.arguments)])
    return ModelResponse(parts=[TextPart("Done.")])


async def main():
    if JOB.url:
        server = JOB.url
    else:
        command, *words = JOB.command
        server = StdioTransport(command=command, args=words, env=JOB.environ)
    toolset = MCPToolset(
        server,
        init_timeout=60,
        read_timeout=JOB.patience if JOB.action == "repeat" else 300,
        max_retries=MOST_CALLS,
        progress_handler=on_progress,
        elicitation_handler=on_question if JOB.action == "question" else None,
    )
    agent = Agent(FunctionModel(model), toolsets=[toolset])
    async with agent:
        run = asyncio.create_task(agent.run("Go."))
        if JOB.action == "cancel":
            await asyncio.wait([run], timeout=JOB.patience)
            run.cancel()
            await asyncio.wait([run])
            await asyncio.sleep(JOB.linger)
            say(cancelled=run.cancelled())
            return
        await run
    *gave_up, text = TEXTS or [""]
    say(tools=TOOLS, text=text, progress=PROGRESS, asked=ASKED, gave_up=gave_up)


asyncio.run(main())
