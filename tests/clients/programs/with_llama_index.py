"""LlamaIndex's MCP tools: an agent whose model is a script."""

import asyncio
import itertools

from job import JOB, MOST_CALLS, say
from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import ChatMessage, MessageRole
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

NUMBERS = itertools.count(1)
TEXTS = []


def script(messages, **_more):
    """Call the tool; where a call was given up, call again."""
    is_answered = messages[-1].role == MessageRole.TOOL
    gave_up = is_answered and JOB.action == "repeat" and not is_result(messages[-1].content)
    if (not is_answered or gave_up) and len(TEXTS) < MOST_CALLS:
        call = ToolCallBlock(tool_call_id=f"call-{next(NUMBERS)}", tool_name=JOB.tool, tool_kwargs=JOB.arguments)
        return ChatMessage(role=MessageRole.ASSISTANT, blocks=[call])
    return ChatMessage(role=MessageRole.ASSISTANT, content="Done.")


def is_result(text):
    return "dag_run_id" in text


async def main():
    seconds = int(JOB.patience) if JOB.action == "repeat" else 120
    if JOB.url:
        client = BasicMCPClient(JOB.url, timeout=seconds)
    else:
        command, *words = JOB.command
        client = BasicMCPClient(command, args=words, env=JOB.environ, timeout=seconds)
    tools = await McpToolSpec(client).to_tool_list_async()
    if JOB.action == "list":
        say(tools=[tool.metadata.name for tool in tools])
        return
    llm = MockFunctionCallingLLM(response_generator=script, is_chat_model=True)
    agent = FunctionAgent(tools=tools, llm=llm, streaming=False, timeout=200)
    handler = agent.run("Go.")
    results = []

    async def follow():
        events = [event async for event in handler.stream_events()]
        results.extend(event.tool_output for event in events if isinstance(event, ToolCallResult))
        await handler

    run = asyncio.create_task(follow())
    if JOB.action == "cancel":
        await asyncio.wait([run], timeout=JOB.patience)
        run.cancel()
        await handler.cancel_run()
        await asyncio.sleep(JOB.linger)
        say(cancelled=True)
        return
    await run
    texts = [text_of(result) for result in results]
    *gave_up, text = texts
    say(text=text, gave_up=gave_up)


def text_of(result):
    raw = result.raw_output
    return raw.content[0].text if hasattr(raw, "content") else result.content


asyncio.run(main())
