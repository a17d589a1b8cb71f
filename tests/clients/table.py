"""The clients, and what each can do: the one table."""

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
"""What is tried: the action, and the dag that is called for it."""
ACTIONS = tuple(TOOL_OF)
SLOWER = "slower"
"""A dag that takes longer than `slow`."""
TOOLS = (*dict.fromkeys(TOOL_OF.values()), SLOWER)
TRANSPORTS = ("http", "stdio")
ROWS = 20_000
"""As many has the result of `large`."""
SHORT = ("list", "call", "failure", "repeat")


@dataclass(frozen=True)
class Client:
    """A client and what it cannot do."""

    name: str
    """As it is called where it comes from."""
    environment: str
    """What is installed for it: a file in tests/e2e/requirements, or a folder beside this file with a package.json."""
    program: str
    """Its file in `programs/`, or in that folder."""
    packages: tuple[str, ...]
    """Those whose versions the table names."""
    variant: str = ""
    """Which of several ways to use it."""
    to_know: str = ""
    """What its user had better know."""
    is_timed_throughout: bool = False
    """Whether its time-out holds for all that it asks: connecting, and the same call made again."""
    cannot: Mapping[str, str] = field(default_factory=dict)
    """What it cannot do, and a word why: an action, or an action and a transport."""
    short: tuple[str, ...] = ()
    """The actions that the short form has."""

    @property
    def key(self) -> str:
        """What tests call it."""
        return f"{self.environment} {self.variant}".strip()

    @property
    def is_of_node(self) -> bool:
        """Whether its packages are npm's."""
        return self.program.endswith(".mjs")

    def why_not(self, action: str, transport: str) -> str | None:
        """Return why it cannot do something; None: it can."""
        return self.cannot.get(action) or self.cannot.get(f"{action} {transport}")


HANDSHAKE_HTTP = "the server keeps no session, so there is no way back to the client"
UNMATCHED = "the cancellation is a request of its own, which a server without sessions cannot match with the call"
ENDED = "the client ends its server with the call, before that has ended the run"
UNASKED = "the client does not ask for it"
UNASKABLE = "the client says that it cannot be asked"
SILENT = "the client tells the server nothing"

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
        cannot={"question http": HANDSHAKE_HTTP, "cancel http": UNMATCHED},
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
        to_know="import `fastmcp_tasks` before the client is made",
        variant="tasks",
        cannot={"progress": "a task has a status"},
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
        to_know="a call may take 5 s, unless `client_session_timeout_seconds` says more",
        cannot={"progress": UNASKED, "question": UNASKABLE},
    ),
    Client(
        "LangChain with LangGraph",
        "langchain-mcp-adapters-0.3.2",
        "with_langchain.py",
        ("langchain-mcp-adapters", "langchain", "langgraph"),
        is_timed_throughout=True,
        to_know="each call has a session, and on stdio a server, of its own",
        cannot={"question http": HANDSHAKE_HTTP, "cancel stdio": ENDED},
    ),
    Client(
        "LlamaIndex",
        "llama-index-tools-mcp-0.6.0",
        "with_llama_index.py",
        ("llama-index-tools-mcp", "llama-index-core"),
        is_timed_throughout=True,
        to_know="a call may take 30 s, unless `timeout` says more; the model reads the answer as Python prints it",
        cannot={"progress": UNASKED, "question": UNASKABLE, "cancel stdio": ENDED},
    ),
    Client(
        "Google ADK",
        "google-adk-2.13.0",
        "with_google_adk.py",
        ("google-adk",),
        is_timed_throughout=True,
        to_know="a call over stdio may take 5 s, unless `timeout` says more",
        cannot={"question http": HANDSHAKE_HTTP},
    ),
    Client(
        "smolagents",
        "smolagents-1.26.0",
        "with_smolagents.py",
        ("smolagents", "mcpadapt"),
        is_timed_throughout=True,
        to_know="all arguments of a tool have to be given, the optional ones too; needs `mcp<2`",
        cannot={"progress": UNASKED, "question": UNASKABLE, "cancel": "the client waits for its tools"},
    ),
    Client(
        "Agent Framework",
        "agent-framework-1.23.0",
        "with_agent_framework.py",
        ("agent-framework-core",),
        is_timed_throughout=True,
        to_know="the model reads why a run failed with `include_detailed_errors`; needs `tenacity`",
        cannot={"progress": UNASKED, "question": UNASKABLE},
    ),
    Client(
        "mcpo",
        "mcpo-0.0.20",
        "with_mcpo.py",
        ("mcpo",),
        to_know="a failure is an answer of status 500; needs `mcp<2` and `fastapi<0.120`",
        cannot={
            "progress": "an answer of its HTTP API comes in one piece",
            "question": UNASKABLE,
            "cancel": SILENT,
        },
    ),
    Client(
        "MCP SDK for TypeScript, 2025-11-25",
        "typescript",
        "client.mjs",
        ("@modelcontextprotocol/client",),
        to_know="a call may take 60 s, unless `timeout` says more",
        variant="legacy",
        cannot={"question http": HANDSHAKE_HTTP, "cancel http": UNMATCHED},
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
            "repeat": "each call is a command of its own",
            "cancel": "each call is a command of its own",
        },
    ),
)


@dataclass(frozen=True)
class Trial:
    """One client that does one thing over one transport."""

    client: Client
    transport: str
    action: str
    x: int
    """The argument of its calls, which no other trial uses."""

    @property
    def key(self) -> str:
        """What tests call it."""
        return f"{self.client.key}-{self.transport}-{self.action}"

    @property
    def tool(self) -> str:
        """What is called."""
        return SLOWER if self.is_slower else TOOL_OF[self.action]

    @property
    def is_slower(self) -> bool:
        """Whether the client is to give up later, for it gives up connecting, too."""
        return self.action == "repeat" and self.client.is_timed_throughout

    @property
    def is_short(self) -> bool:
        """Whether the short form has it."""
        return self.action in self.client.short

    @property
    def why_not(self) -> str | None:
        """Why the client cannot do that; None: it can."""
        return self.client.why_not(self.action, self.transport)


def trials() -> Iterator[Trial]:
    """Yield everything that is tried. A client that nobody can ask through is asked all the same: it is told where."""
    x = 0
    for client in CLIENTS:
        for transport in TRANSPORTS:
            for action in ACTIONS:
                x += 1000
                trial = Trial(client, transport, action, x)
                if trial.why_not is None or action == "question":
                    yield trial
