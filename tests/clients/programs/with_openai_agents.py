"""OpenAI's Agents SDK: an agent whose model is a script."""

import asyncio
import itertools
import json

from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from agents.mcp import MCPServerStdio, MCPServerStreamableHttp
from job import MOST_CALLS, Seen, each
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText


class Script(Model):
    """Calls the tool."""

    def __init__(self, seen: Seen):
        self.seen = seen
        self.numbers = itertools.count(1)

    async def get_response(self, system_instructions, input, model_settings, tools, *_args, **_more):  # noqa: A002, ARG002
        self.seen.tools = [tool.name for tool in tools]
        last = input[-1] if isinstance(input, list) else {}
        if last.get("type") == "function_call_output":
            output = last["output"]
            self.seen.texts.append(output if isinstance(output, str) else output[0]["text"])
        if self.seen.calls:
            item = ResponseFunctionToolCall(
                type="function_call",
                call_id=f"call-{next(self.numbers)}",
                name=self.seen.job.tool,
                arguments=json.dumps(self.seen.job.arguments),
            )
        else:
            text = ResponseOutputText(type="output_text", text="Done.", annotations=[])
            item = ResponseOutputMessage(
                id="done", type="message", role="assistant", status="completed", content=[text]
            )
        return ModelResponse(output=[item], usage=Usage(), response_id=None)

    def stream_response(self, *_args, **_more):
        raise NotImplementedError


async def act(seen: Seen):
    set_tracing_disabled(disabled=True)
    job = seen.job
    more = {"client_session_timeout_seconds": job.patience if job.gives_up else None}
    if job.url:
        server = MCPServerStreamableHttp({"url": job.url, "timeout": 60}, **more)
    else:
        command, *words = job.command
        server = MCPServerStdio({"command": command, "args": words, "env": job.environ}, **more)
    async with server:
        agent = Agent("agent", model=Script(seen), mcp_servers=[server])
        run = asyncio.create_task(Runner.run(agent, "Go.", max_turns=MOST_CALLS + 1))
        await (seen.cancel(run) if job.action == "cancel" else run)


each(act)
