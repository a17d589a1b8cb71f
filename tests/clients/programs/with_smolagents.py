"""smolagents: a tool-calling agent whose model is a script."""

from job import MOST_CALLS, Seen, each
from mcp import StdioServerParameters
from smolagents import ActionStep, ChatMessage, MCPClient, MessageRole, Model, ToolCallingAgent
from smolagents.models import ChatMessageToolCall, ChatMessageToolCallFunction


class Script(Model):
    """Calls the tool."""

    def __init__(self, seen: Seen):
        super().__init__()
        self.seen = seen
        self.agent = None

    def generate(self, _messages, **_more):
        steps = [step for step in self.agent.memory.steps if isinstance(step, ActionStep)]
        self.seen.texts = [str(step.error or step.observations).strip() for step in steps]
        if self.seen.calls:
            function = ChatMessageToolCallFunction(name=self.seen.job.tool, arguments=self.seen.job.arguments)
        else:
            function = ChatMessageToolCallFunction(name="final_answer", arguments={"answer": "Done."})
        call = ChatMessageToolCall(function=function, id="1", type="function")
        return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=[call])


async def act(seen: Seen):
    job = seen.job
    if job.url:
        server = {"url": job.url, "transport": "streamable-http"}
    else:
        command, *words = job.command
        server = StdioServerParameters(command=command, args=words, env=job.environ)
    more = {"client_session_timeout_seconds": job.patience if job.gives_up else None}
    with MCPClient(server, adapter_kwargs=more, structured_output=False) as tools:
        seen.tools = [tool.name for tool in tools]
        if job.action != "list":
            script = Script(seen)
            script.agent = ToolCallingAgent(tools=tools, model=script, max_steps=MOST_CALLS + 1, verbosity_level=0)
            script.agent.run("Go.")


each(act)
