"""Google's ADK: an agent whose model is a script."""

import asyncio
import json
from typing import Any

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import InMemoryRunner
from google.adk.tools.mcp_tool import McpToolset, StdioConnectionParams, StreamableHTTPConnectionParams
from google.genai import types
from job import Seen, each
from mcp import StdioServerParameters
from mcp.types import ElicitResult


class Script(BaseLlm):
    """Calls the tool."""

    seen: Any

    async def generate_content_async(self, llm_request, stream=False):  # noqa: ARG002, FBT002 - the base's signature
        parts, job = llm_request.contents[-1].parts, self.seen.job
        answers = [part.function_response.response for part in parts if part.function_response]
        self.seen.texts.extend(
            answer["content"][0]["text"] if "content" in answer else json.dumps(answer) for answer in answers
        )
        if self.seen.calls:
            part = types.Part(function_call=types.FunctionCall(name=job.tool, args=job.arguments))
        else:
            part = types.Part(text="Done.")
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


async def act(seen: Seen):
    job = seen.job

    async def on_question(_context, params):
        seen.asked.append(params.message)
        return ElicitResult(action="accept", content=job.answer)

    seconds = job.patience if job.gives_up else 120.0
    if job.url:
        params = StreamableHTTPConnectionParams(url=job.url, timeout=60, sse_read_timeout=seconds)
    else:
        command, *words = job.command
        server = StdioServerParameters(command=command, args=words, env=job.environ)
        params = StdioConnectionParams(server_params=server, timeout=seconds)
    toolset = McpToolset(
        connection_params=params,
        progress_callback=seen.on_progress,
        elicitation_callback=on_question if job.asks else None,
    )
    seen.tools = [tool.name for tool in await toolset.get_tools()]
    agent = LlmAgent(name="agent", model=Script(model="script", seen=seen), tools=[toolset])
    runner = InMemoryRunner(agent, app_name="app")
    await runner.session_service.create_session(app_name="app", user_id="user", session_id="session")

    async def go():
        message = types.Content(role="user", parts=[types.Part(text="Go.")])
        async for _ in runner.run_async(user_id="user", session_id="session", new_message=message):
            pass

    if job.action == "cancel":
        await seen.cancel(asyncio.create_task(go()))
    elif job.action != "list":
        await go()
    await runner.close()


each(act)
