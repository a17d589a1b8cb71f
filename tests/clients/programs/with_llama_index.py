"""LlamaIndex's MCP tools: an agent whose model is a script."""

import asyncio
import itertools

from job import Seen, each
from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import ChatMessage, MessageRole
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

NUMBERS = itertools.count(1)


async def act(seen: Seen):
    job = seen.job

    def script(messages, **_more):
        if messages[-1].role == MessageRole.TOOL:
            seen.texts.append(messages[-1].content)
        if seen.calls:
            call = ToolCallBlock(tool_call_id=f"call-{next(NUMBERS)}", tool_name=job.tool, tool_kwargs=job.arguments)
            return ChatMessage(role=MessageRole.ASSISTANT, blocks=[call])
        return ChatMessage(role=MessageRole.ASSISTANT, content="Done.")

    seconds = int(job.patience) if job.gives_up else 120
    if job.url:
        client = BasicMCPClient(job.url, timeout=seconds)
    else:
        command, *words = job.command
        client = BasicMCPClient(command, args=words, env=job.environ, timeout=seconds)
    tools = await McpToolSpec(client).to_tool_list_async()
    seen.tools = [tool.metadata.name for tool in tools]
    llm = MockFunctionCallingLLM(response_generator=script, is_chat_model=True)
    agent = FunctionAgent(tools=tools, llm=llm, streaming=False, timeout=200)
    run = agent.run("Go.")
    if job.action == "cancel":
        await asyncio.sleep(job.patience)
        await run.cancel_run()
        seen.is_cancelled = True
        await asyncio.sleep(job.linger)
        return
    # The model reads the answer's Python representation, which contains the text.
    results = [event.tool_output.raw_output async for event in run.stream_events() if isinstance(event, ToolCallResult)]
    await run
    if results and hasattr(results[-1], "content"):
        seen.texts[-1] = results[-1].content[0].text


each(act)
