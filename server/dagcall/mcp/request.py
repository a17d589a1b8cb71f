"""Where a request comes from: its caller, and what it says of itself.

The caller is proven, everything else is only said: client, request id and trace id go to Airflow's administrators and
into the audit log, on one line, cut to a length, and decide nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mcp.server import ServerRequestContext
from mcp_types import CLIENT_INFO_META_KEY

from dagcall.auth import LOCAL, SCOPE_KEY, Caller, label

Context = ServerRequestContext[Any, Any]

CLIENT_KEY = "dagcall.client"
"""Where a request's scope holds the name that its client gave when it shook hands."""
MAX_CLIENT_NAME = 100
MAX_ID = 200
MAX_SAID = 1000
"""Characters that are looked at at all."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""https://www.w3.org/TR/trace-context/#traceparent-header"""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from."""

    caller: Caller
    client: str
    """Name and version, as the client says."""
    request_id: str | None
    trace_id: str | None
    """Of the caller's W3C trace."""

    @classmethod
    def of(cls, ctx: Context) -> Self:
        """Read a request."""
        request_id = "" if ctx.request_id is None else str(ctx.request_id)
        traceparent = (ctx.meta or {}).get("traceparent")
        if traceparent is None and ctx.request is not None:
            traceparent = ctx.request.headers.get("traceparent")
        trace = _TRACEPARENT.fullmatch(traceparent) if isinstance(traceparent, str) else None
        return cls(
            caller=caller_of(ctx),
            client=_client_name(ctx),
            request_id=request_id if _REQUEST_ID.fullmatch(request_id) else None,
            trace_id=trace[1] if trace else None,
        )

    @property
    def who(self) -> str:
        """Who asks, and through what; what the client says of itself comes last, so that it hides nothing."""
        return self.client if self.caller.id == LOCAL.id else f"{self._caller} with {self.client}"

    def note(self, tool: str) -> str:
        """Return what an Airflow administrator reads on a run."""
        ids = {"request": self.request_id, "trace": self.trace_id}
        said = ", ".join(f"{name} {value}" for name, value in ids.items() if value)
        return f"Called through MCP (dagcall) as tool {tool}{f' ({said})' if said else ''} by {self.who}"

    @property
    def _caller(self) -> str:
        return f"{self.caller.label} ({label(self.caller.id, MAX_ID)})"


def caller_of(ctx: Context) -> Caller:
    """Return who calls; whoever came over HTTP without being asked, or not over HTTP, is a local client."""
    caller = ctx.request.scope.get(SCOPE_KEY) if ctx.request is not None else None
    return caller if isinstance(caller, Caller) else LOCAL


def caller_id_of(ctx: Context) -> str:
    """Return what tells callers apart."""
    return caller_of(ctx).id


def client_name(*said: str) -> str:
    """Return what a client says of itself on one line, cut to a length."""
    return label(" ".join(part[:MAX_SAID] for part in said), MAX_CLIENT_NAME)


def _client_name(ctx: Context) -> str:
    """Return the name that the client gave: with the connection, with this request, or when it shook hands."""
    if ctx.session.client_params is not None:
        client = ctx.session.client_params.client_info
        return client_name(client.name, client.version)
    info = (ctx.meta or {}).get(CLIENT_INFO_META_KEY)
    if isinstance(info, Mapping) and isinstance(info.get("name"), str):
        return client_name(info["name"], str(info.get("version", "")))
    name = ctx.request.scope.get(CLIENT_KEY) if ctx.request is not None else None
    return name if isinstance(name, str) else "a client that gave no name"
