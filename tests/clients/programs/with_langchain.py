"""LangChain's MCP adapters: an agent of LangGraph whose model is a script."""

import asyncio
from datetime import timedelta
from typing import Any

from anyio import BrokenResourceError
from job import Seen, each
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from mcp import McpError
from mcp.types import ElicitResult


class Script(BaseChatModel):
    """Calls the tool."""

    seen: Any

    def bind_tools(self, _tools, **_more):
        return self

    def _generate(self, messages, *_args, **_more):
        last, job = messages[-1], self.seen.job
        if isinstance(last, ToolMessage):
            self.seen.texts.append(last.content if isinstance(last.content, str) else last.content[0]["text"])
            self.seen.is_error = last.status == "error"
            message = AIMessage("Done.")
        else:
            message = AIMessage("", tool_calls=[{"name": job.tool, "args": job.arguments, "id": "1"}])
        return ChatResult(generations=[ChatGeneration(message=message)])

    @property
    def _llm_type(self):
        return "script"


async def act(seen: Seen):
    job = seen.job

    async def on_question(_mcp, params, _context):
        seen.asked.append(params.message)
        return ElicitResult(action="accept", content=job.answer)

    if job.url:
        connection = {"transport": "http", "url": job.url}
    else:
        command, *words = job.command
        connection = {"transport": "stdio", "command": command, "args": words, "env": job.environ}
    if job.gives_up:
        connection["session_kwargs"] = {"read_timeout_seconds": timedelta(seconds=job.patience)}
    callbacks = Callbacks(on_progress=seen.on_progress, on_elicitation=on_question if job.asks else None)
    tools = await MultiServerMCPClient({"airflow": connection}, callbacks=callbacks).get_tools()
    seen.tools = [tool.name for tool in tools]
    agent = create_agent(Script(seen=seen), tools)
    if job.action == "cancel":
        await seen.cancel(asyncio.create_task(agent.ainvoke({"messages": [("user", "Go.")]})))
    while job.action != "cancel" and seen.calls:
        try:
            await agent.ainvoke({"messages": [("user", "Go.")]})
        except* (McpError, BrokenResourceError) as errors:  # a timeout ends the agent and its session with either error
            seen.texts.append(str(errors.exceptions))


each(act)
