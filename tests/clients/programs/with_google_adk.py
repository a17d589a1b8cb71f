"""Google's ADK: an agent whose model is a script."""

import asyncio
import json

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import InMemoryRunner
from google.adk.tools.mcp_tool import McpToolset, StdioConnectionParams, StreamableHTTPConnectionParams
from google.genai import types
from job import JOB, MOST_CALLS, say
from mcp import StdioServerParameters
from mcp.types import ElicitResult

PROGRESS, ASKED, TEXTS = [], [], []


async def on_progress(number, _total, message):
    PROGRESS.append([number, message])


async def on_question(_context, params):
    ASKED.append(params.message)
    return ElicitResult(action="accept", content=JOB.answer)


class Script(BaseLlm):
    """Call the tool; where a call was given up, call again."""

    async def generate_content_async(self, llm_request, stream=False):  # noqa: ARG002, FBT002 - the base's signature
        parts = llm_request.contents[-1].parts
        answers = [part.function_response.response for part in parts if part.function_response]
        TEXTS.extend(text_of(answer) for answer in answers)
        gave_up = answers and not TEXTS[-1].startswith("{")
        if not answers or (JOB.action == "repeat" and gave_up and len(TEXTS) < MOST_CALLS):
            part = types.Part(function_call=types.FunctionCall(name=JOB.tool, args=JOB.arguments))
        else:
            part = types.Part(text="Done.")
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


def text_of(answer):
    return answer["content"][0]["text"] if "content" in answer else json.dumps(answer)


async def main():
    seconds = JOB.patience if JOB.action == "repeat" else 120.0
    if JOB.url:
        params = StreamableHTTPConnectionParams(url=JOB.url, timeout=60, sse_read_timeout=seconds)
    else:
        command, *words = JOB.command
        server = StdioServerParameters(command=command, args=words, env=JOB.environ)
        params = StdioConnectionParams(server_params=server, timeout=seconds)
    toolset = McpToolset(
        connection_params=params,
        progress_callback=on_progress,
        elicitation_callback=on_question if JOB.action == "question" else None,
    )
    if JOB.action == "list":
        say(tools=[tool.name for tool in await toolset.get_tools()])
        await toolset.close()
        return
    runner = InMemoryRunner(LlmAgent(name="agent", model=Script(model="script"), tools=[toolset]), app_name="app")
    await runner.session_service.create_session(app_name="app", user_id="user", session_id="session")

    async def go():
        message = types.Content(role="user", parts=[types.Part(text="Go.")])
        async for _ in runner.run_async(user_id="user", session_id="session", new_message=message):
            pass

    run = asyncio.create_task(go())
    if JOB.action == "cancel":
        await asyncio.wait([run], timeout=JOB.patience)
        run.cancel()
        await asyncio.wait([run])
        await asyncio.sleep(JOB.linger)
        say(cancelled=run.cancelled())
    else:
        await run
        *gave_up, text = TEXTS
        say(text=text, progress=PROGRESS, asked=ASKED, gave_up=gave_up)
    await runner.close()


asyncio.run(main())
