"""What model providers and clients publish about the tools that they take, with the page that says so.

Pure. Tools that dagcall publishes already fit the rules about names and schemas, except where a provider's rule is
stricter than what its service was seen to refuse (`tools/client_limits.py`). The tests hold both against this table.
"""

import re
from dataclasses import dataclass
from typing import Literal

Transport = Literal["stdio", "http"]


@dataclass(frozen=True, slots=True)
class Provider:
    """What one provider or client publishes."""

    name: str
    page: str
    tool_name: re.Pattern[str]
    argument_name: re.Pattern[str] | None = None
    most_tools: int | None = None
    """Maximum number of tools of one request."""


PROVIDERS = (
    Provider(
        "Anthropic",
        "https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools",
        re.compile(r"[a-zA-Z0-9_-]{1,64}"),
        argument_name=re.compile(r"[a-zA-Z0-9_.-]{1,64}"),  # from the API's error message; no page has it
    ),
    Provider(
        "OpenAI",
        "https://platform.openai.com/docs/api-reference/chat/create",
        re.compile(r"[a-zA-Z0-9_-]{1,64}"),
        most_tools=128,
    ),
    Provider(
        "Gemini API",
        "https://ai.google.dev/api/caching#FunctionDeclaration",
        re.compile(r"[a-zA-Z0-9_:.-]{1,64}"),
    ),
    Provider(
        "Vertex AI",
        "https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/function-calling",
        re.compile(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,63}"),
        argument_name=re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}"),
        most_tools=128,
    ),
    Provider(
        "VS Code",
        "https://code.visualstudio.com/docs/copilot/agents/agent-tools",
        re.compile(r"[a-zA-Z0-9_-]{1,64}"),  # that of the models it uses
        most_tools=128,
    ),
)

MANY_TOOLS = 30
"""From 30 to 50 tools on, Claude picks the right one less often:
https://platform.claude.com/docs/en/agents-and-tools/tool-use/tool-search-tool"""
MANY_TOKENS = 10_000
"""Above it, Anthropic recommends a search for tools: https://www.anthropic.com/engineering/advanced-tool-use"""
MANY_TOKENS_OF_ONE_TOOL = 2_000
"""Our own measure: a fifth of MANY_TOKENS for one tool."""


@dataclass(frozen=True, slots=True)
class ClientTimeout:
    """How long a client waits for a call unless its user sets something else."""

    client: str
    seconds: float
    transport: Transport


CLIENT_TIMEOUTS = (
    ClientTimeout("Claude Desktop", 60, "stdio"),
    ClientTimeout("MCP SDK for TypeScript", 60, "http"),
    ClientTimeout("OpenAI Agents SDK", 5, "http"),
    ClientTimeout("LlamaIndex", 30, "http"),
    ClientTimeout("Google ADK", 5, "stdio"),
)
"""The table of docs/clients.md, "Time-outs"; each with the transport over which it is most used."""
