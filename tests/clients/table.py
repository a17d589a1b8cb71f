"""The table of clients and what each can do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

TOOL_OF = {
    "list": "quick",
    "call": "quick",
    "progress": "steps",
    "failure": "failing",
    "repeat": "slow",
    "question": "asking",
    "large": "large",
    "cancel": "endless",
}
"""Action -> the dag that is called for it."""
ACTIONS = tuple(TOOL_OF)
SLOWER = "slower"
"""A dag that takes longer than `slow`."""
TOOLS = (*dict.fromkeys(TOOL_OF.values()), SLOWER)
TRANSPORTS = ("http", "stdio")
ROWS = 20_000
"""The number of rows in the result of `large`."""
SHORT = ("list", "call", "failure", "repeat")


@dataclass(frozen=True)
class Client:
    """A client and what it cannot do."""

    name: str
    """The client's usual name."""
    environment: str
    """Its environment: a file in tests/support/requirements, or a folder beside this file with a package.json."""
    program: str
    """Its file in `programs/` or in that folder."""
    packages: tuple[str, ...]
    """The packages whose versions the page shows."""
    variant: str = ""
    """One of several ways to use it."""
    to_know: str = ""
    """A note for its users."""
    is_timed_throughout: bool = False
    """Whether its timeout applies to all requests, including connecting and the repeated call."""
    cannot: Mapping[str, str] = field(default_factory=dict)
    """What it cannot do -> why; keys are an action, or an action and a transport."""
    short: tuple[str, ...] = ()
    """The actions in the short form."""

    @property
    def key(self) -> str:
        """Its name in test ids."""
        return f"{self.environment} {self.variant}".strip()

    @property
    def is_of_node(self) -> bool:
        """Whether it is installed with npm."""
        return self.program.endswith(".mjs")

    def why_not(self, action: str, transport: str) -> str | None:
        """Return why it cannot do something, or None if it can."""
        return self.cannot.get(action) or self.cannot.get(f"{action} {transport}")


HANDSHAKE_HTTP = "the server keeps no session, so it cannot send requests to the client"
ENDED = "the client stops its server together with the call, before the run is set to failed"
UNASKED = "the client does not request it"
UNASKABLE = "the client does not declare elicitation"
SILENT = "the client does not tell the server"

CLIENTS = (
    Client(
        "MCP SDK for Python, 2026-07-28",
        "mcp-2.3.0",
        "with_mcp_2.py",
        ("mcp",),
        variant="auto",
        short=SHORT,
    ),
    Client(
        "MCP SDK for Python, 2025-11-25",
        "mcp-2.3.0",
        "with_mcp_2.py",
        ("mcp",),
        variant="legacy",
        cannot={"question http": HANDSHAKE_HTTP},
    ),
    Client(
        "MCP SDK 1 for Python",
        "mcp-1.30.0",
        "with_mcp_1.py",
        ("mcp",),
        cannot={"question http": HANDSHAKE_HTTP, "cancel": SILENT},
        short=ACTIONS,
    ),
    Client(
        "FastMCP",
        "fastmcp-4.2.3",
        "with_fastmcp.py",
        ("fastmcp",),
    ),
    Client(
        "FastMCP, calls as tasks",
        "fastmcp-tasks-4.1.4",
        "with_fastmcp.py",
        ("fastmcp-tasks",),
        to_know="import `fastmcp_tasks` before creating the client",
        variant="tasks",
        cannot={"progress": "a task has a status instead"},
        short=SHORT,
    ),
    Client(
        "pydantic-ai",
        "pydantic-ai-2.68.0",
        "with_pydantic_ai.py",
        ("pydantic-ai-slim",),
        is_timed_throughout=True,
        short=("list", "call", "failure"),
    ),
    Client(
        "OpenAI Agents SDK",
        "openai-agents-0.24.0",
        "with_openai_agents.py",
        ("openai-agents",),
        is_timed_throughout=True,
        to_know="calls time out after 5 s unless `client_session_timeout_seconds` is set",
        cannot={"progress": UNASKED, "question": UNASKABLE},
    ),
    Client(
        "LangChain with LangGraph",
        "langchain-mcp-adapters-0.3.2",
        "with_langchain.py",
        ("langchain-mcp-adapters", "langchain", "langgraph"),
        is_timed_throughout=True,
        to_know="each call has its own session, and on stdio its own server",
        cannot={"question http": HANDSHAKE_HTTP, "cancel stdio": ENDED},
    ),
    Client(
        "LlamaIndex",
        "llama-index-tools-mcp-0.6.0",
        "with_llama_index.py",
        ("llama-index-tools-mcp", "llama-index-core"),
        is_timed_throughout=True,
        to_know="calls time out after 30 s unless `timeout` is set; the model reads the answer's Python representation",
        cannot={"progress": UNASKED, "question": UNASKABLE, "cancel stdio": ENDED},
    ),
    Client(
        "Google ADK",
        "google-adk-2.13.0",
        "with_google_adk.py",
        ("google-adk",),
        is_timed_throughout=True,
        to_know="calls over stdio time out after 5 s unless `timeout` is set",
        cannot={"question http": HANDSHAKE_HTTP},
    ),
    Client(
        "smolagents",
        "smolagents-1.26.0",
        "with_smolagents.py",
        ("smolagents", "mcpadapt"),
        is_timed_throughout=True,
        to_know="all arguments of a tool are required, even optional ones; needs `mcp<2`",
        cannot={"progress": UNASKED, "question": UNASKABLE, "cancel": "the client waits for its tools to end"},
    ),
    Client(
        "Agent Framework",
        "agent-framework-1.23.0",
        "with_agent_framework.py",
        ("agent-framework-core",),
        is_timed_throughout=True,
        to_know="set `include_detailed_errors` to let the model read why a run failed; needs `tenacity`",
        cannot={"progress": UNASKED, "question": UNASKABLE},
    ),
    Client(
        "mcpo",
        "mcpo-0.0.20",
        "with_mcpo.py",
        ("mcpo",),
        to_know="a failure is an HTTP response with status 500; needs `mcp<2` and `fastapi<0.120`",
        cannot={
            "progress": "responses of its HTTP API are not streamed",
            "question": UNASKABLE,
            "cancel": SILENT,
        },
    ),
    Client(
        "MCP SDK for TypeScript, 2025-11-25",
        "typescript",
        "client.mjs",
        ("@modelcontextprotocol/client",),
        to_know="calls time out after 60 s unless `timeout` is set",
        variant="legacy",
        cannot={"question http": HANDSHAKE_HTTP},
        short=SHORT,
    ),
    Client(
        "MCP SDK for TypeScript, 2026-07-28",
        "typescript",
        "client.mjs",
        ("@modelcontextprotocol/client",),
        variant="auto",
    ),
    Client(
        "MCP Inspector, its command line",
        "inspector",
        "client.mjs",
        ("@modelcontextprotocol/inspector",),
        cannot={
            "progress": UNASKED,
            "question": UNASKABLE,
            "repeat": "each call is a separate command",
            "cancel": "each call is a separate command",
        },
    ),
)


@dataclass(frozen=True)
class Trial:
    """One action of one client over one transport."""

    client: Client
    transport: str
    action: str
    x: int
    """The argument of its calls, unique to this trial."""

    @property
    def key(self) -> str:
        """Its name in test ids."""
        return f"{self.client.key}-{self.transport}-{self.action}"

    @property
    def tool(self) -> str:
        """The dag that is called."""
        return SLOWER if self.is_slower else TOOL_OF[self.action]

    @property
    def is_slower(self) -> bool:
        """Whether the client times out later, because its timeout applies to connecting as well."""
        return self.action == "repeat" and self.client.is_timed_throughout

    @property
    def is_short(self) -> bool:
        """Whether it is in the short form."""
        return self.action in self.client.short

    @property
    def why_not(self) -> str | None:
        """Why the client cannot do this, or None if it can."""
        return self.client.why_not(self.action, self.transport)


def trials() -> Iterator[Trial]:
    """Yield all trials. A question is also tried with clients without elicitation, which get a URL for the answer."""
    x = 0
    for client in CLIENTS:
        for transport in TRANSPORTS:
            for action in ACTIONS:
                x += 1000
                trial = Trial(client, transport, action, x)
                if trial.why_not is None or action == "question":
                    yield trial
