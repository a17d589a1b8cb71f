"""smolagents: an agent that calls tools, whose model is a script."""

from job import JOB, MOST_CALLS, say
from mcp import StdioServerParameters
from smolagents import ActionStep, ChatMessage, MCPClient, MessageRole, Model, ToolCallingAgent
from smolagents.models import ChatMessageToolCall, ChatMessageToolCallFunction


class Script(Model):
    """Call the tool; where a call was given up, call again."""

    agent: ToolCallingAgent

    def generate(self, _messages, **_more):
        last = seen_of(self.agent)[-1:]
        gave_up = last and not last[0].startswith("{")
        if not last or (JOB.action == "repeat" and gave_up):
            function = ChatMessageToolCallFunction(name=JOB.tool, arguments=JOB.arguments)
        else:
            function = ChatMessageToolCallFunction(name="final_answer", arguments={"answer": "Done."})
        call = ChatMessageToolCall(function=function, id="1", type="function")
        return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=[call])


def seen_of(agent):
    """Return what the model has read after each of its steps."""
    steps = [step for step in agent.memory.steps if isinstance(step, ActionStep)]
    return [str(step.error or step.observations).strip() for step in steps]


if JOB.url:
    server = {"url": JOB.url, "transport": "streamable-http"}
else:
    command, *words = JOB.command
    server = StdioServerParameters(command=command, args=words, env=JOB.environ)
seconds = JOB.patience if JOB.action == "repeat" else None
with MCPClient(server, adapter_kwargs={"client_session_timeout_seconds": seconds}, structured_output=False) as tools:
    if JOB.action == "list":
        say(tools=[tool.name for tool in tools])
    else:
        script = Script()
        script.agent = ToolCallingAgent(tools=tools, model=script, max_steps=MOST_CALLS, verbosity_level=0)
        script.agent.run("Go.")
        *gave_up, text, _done = seen_of(script.agent)
        say(text=text, gave_up=gave_up)
