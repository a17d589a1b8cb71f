"""OpenAI's Agents SDK: an agent whose model is a script."""

import asyncio
import itertools
import json

from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from agents.mcp import MCPServerStdio, MCPServerStreamableHttp
from job import JOB, MOST_CALLS, say
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

TOOLS, TEXTS = [], []
NUMBERS = itertools.count(1)


def text_of(output):
    return output if isinstance(output, str) else output[0]["text"]


class Script(Model):
    """Call the tool; where a call was given up, call again."""

    async def get_response(self, system_instructions, input, model_settings, tools, *_args, **_more):  # noqa: A002, ARG002
        TOOLS[:] = [tool.name for tool in tools]
        last = input[-1] if isinstance(input, list) else {}
        is_answered = last.get("type") == "function_call_output"
        if is_answered:
            TEXTS.append(text_of(last["output"]))
        gave_up = is_answered and not TEXTS[-1].startswith("{")
        if JOB.action != "list" and (not is_answered or (JOB.action == "repeat" and gave_up)):
            output = ResponseFunctionToolCall(
                type="function_call",
                call_id=f"call-{next(NUMBERS)}",
                name=JOB.tool,
                arguments=json.dumps(JOB.arguments),
            )
        else:
            content = [ResponseOutputText(type="output_text", text="Done.", annotations=[])]
            output = ResponseOutputMessage(
                id="done", type="message", role="assistant", status="completed", content=content
            )
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *_args, **_more):
        raise NotImplementedError


async def main():
    set_tracing_disabled(disabled=True)
    more = {"client_session_timeout_seconds": JOB.patience if JOB.action == "repeat" else None}
    if JOB.url:
        server = MCPServerStreamableHttp({"url": JOB.url, "timeout": 60}, **more)
    else:
        command, *words = JOB.command
        server = MCPServerStdio({"command": command, "args": words, "env": JOB.environ}, **more)
    async with server:
        agent = Agent("agent", model=Script(), mcp_servers=[server])
        run = asyncio.create_task(Runner.run(agent, "Go.", max_turns=MOST_CALLS + 1))
        if JOB.action == "cancel":
            await asyncio.wait([run], timeout=JOB.patience)
            run.cancel()
            await asyncio.wait([run])
            await asyncio.sleep(JOB.linger)
            say(cancelled=run.cancelled())
            return
        await run
    *gave_up, text = TEXTS or [""]
    say(tools=TOOLS, text=text, gave_up=gave_up)


asyncio.run(main())
