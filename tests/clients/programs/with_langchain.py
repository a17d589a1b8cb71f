"""LangChain's MCP adapters: an agent of LangGraph whose model is a script."""

import asyncio
from datetime import timedelta

from job import JOB, MOST_CALLS, say
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from mcp import McpError
from mcp.types import ElicitResult

PROGRESS, ASKED = [], []


class Script(BaseChatModel):
    """Call the tool, once."""

    def bind_tools(self, _tools, **_more):
        return self

    def _generate(self, messages, *_args, **_more):
        if isinstance(messages[-1], ToolMessage):
            message = AIMessage("Done.")
        else:
            message = AIMessage("", tool_calls=[{"name": JOB.tool, "args": JOB.arguments, "id": "1"}])
        return ChatResult(generations=[ChatGeneration(message=message)])

    @property
    def _llm_type(self):
        return "script"


async def on_progress(number, _total, message, _context):
    PROGRESS.append([number, message])


async def on_question(_mcp, params, _context):
    ASKED.append(params.message)
    return ElicitResult(action="accept", content=JOB.answer)


def text_of(message):
    content = message.content
    return content if isinstance(content, str) else content[0]["text"]


async def main():
    if JOB.url:
        connection = {"transport": "http", "url": JOB.url}
    else:
        command, *words = JOB.command
        connection = {"transport": "stdio", "command": command, "args": words, "env": JOB.environ}
    if JOB.action == "repeat":
        connection["session_kwargs"] = {"read_timeout_seconds": timedelta(seconds=JOB.patience)}
    callbacks = Callbacks(on_progress=on_progress, on_elicitation=on_question if JOB.action == "question" else None)
    client = MultiServerMCPClient({"airflow": connection}, callbacks=callbacks)
    tools = await client.get_tools()
    if JOB.action == "list":
        say(tools=[tool.name for tool in tools])
        return
    agent = create_agent(Script(), tools)
    asked = {"messages": [("user", "Go.")]}
    if JOB.action == "cancel":
        run = asyncio.create_task(agent.ainvoke(asked))
        await asyncio.wait([run], timeout=JOB.patience)
        run.cancel()
        await asyncio.wait([run])
        await asyncio.sleep(JOB.linger)
        say(cancelled=run.cancelled())
        return
    gave_up = []
    while True:
        try:
            done = await agent.ainvoke(asked)
            break
        except McpError as error:
            gave_up.append(str(error))
            if len(gave_up) == MOST_CALLS:
                raise
    (answer,) = (message for message in done["messages"] if isinstance(message, ToolMessage))
    is_error = answer.status == "error"
    say(text=text_of(answer), is_error=is_error, progress=PROGRESS, asked=ASKED, gave_up=gave_up)


asyncio.run(main())
