"""Where a request comes from: its caller, and what the client says about itself.

The caller is authenticated, everything else is only claimed: client, request id and trace id are shown to Airflow's
administrators and in the audit log, on one line of limited length, and decide nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mcp.server import ServerRequestContext
from mcp_types import CLIENT_INFO_META_KEY
from opentelemetry.trace import format_trace_id, get_current_span

from dagcall.auth import LOCAL, SCOPE_KEY, Caller, label

Context = ServerRequestContext[Any, Any]

CLIENT_KEY = "dagcall.client"
"""The key in a request's scope of the client name from the handshake."""
MAX_CLIENT_NAME = 100
MAX_ID = 200
MAX_SAID = 1000
"""Maximum characters that are read."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""https://www.w3.org/TR/trace-context/#traceparent-header"""
_NOTE = re.compile(
    r"Called through MCP \(dagcall\) as tool (?P<tool>\S+)(?: \(.*?\))? by (?P<who>.*?)(?: \[[0-9a-f]+\].*)?", re.DOTALL
)
"""A note that `Origin.note` wrote, with the nonce and words that follow it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from."""

    caller: Caller
    client: str
    """The client's name and version, as it claims."""
    request_id: str | None
    trace_id: str | None
    """The id of the W3C trace: the caller's, or dagcall's own if it makes spans."""

    @classmethod
    def of(cls, ctx: Context) -> Self:
        """Read a request."""
        request_id = "" if ctx.request_id is None else str(ctx.request_id)
        traceparent = (ctx.meta or {}).get("traceparent")
        if traceparent is None and ctx.request is not None:
            traceparent = ctx.request.headers.get("traceparent")
        said = _TRACEPARENT.fullmatch(traceparent) if isinstance(traceparent, str) else None
        span = get_current_span().get_span_context()  # continues the caller's trace, or begins one
        trace_id = format_trace_id(span.trace_id) if span.is_valid else said[1] if said else None
        return cls(
            caller=caller_of(ctx),
            client=_client_name(ctx),
            request_id=request_id if _REQUEST_ID.fullmatch(request_id) else None,
            trace_id=trace_id,
        )

    @property
    def who(self) -> str:
        """The caller and the client; the client's own claim comes last, so that it can hide nothing."""
        return self.client if self.caller.id == LOCAL.id else f"{self._caller} with {self.client}"

    def note(self, tool: str) -> str:
        """Return the note on a run for Airflow's administrators."""
        ids = {"request": self.request_id, "trace": self.trace_id}
        said = ", ".join(f"{name} {value}" for name, value in ids.items() if value)
        return f"Called through MCP (dagcall) as tool {tool}{f' ({said})' if said else ''} by {self.who}"

    @property
    def _caller(self) -> str:
        return f"{self.caller.label} ({label(self.caller.id, MAX_ID)})"


def said_in_note(note: str) -> tuple[str, str] | None:
    """Return the tool and the caller in a run's note; None if a person has replaced it."""
    found = _NOTE.fullmatch(note)
    return None if found is None else (found["tool"], found["who"])


def caller_of(ctx: Context) -> Caller:
    """Return the caller; without authentication, or not over HTTP, it is a local client."""
    caller = ctx.request.scope.get(SCOPE_KEY) if ctx.request is not None else None
    return caller if isinstance(caller, Caller) else LOCAL


def caller_id_of(ctx: Context) -> str:
    """Return the caller's id."""
    return caller_of(ctx).id


def client_name(*said: str) -> str:
    """Return a client's name on one line of limited length."""
    return label(" ".join(part[:MAX_SAID] for part in said), MAX_CLIENT_NAME)


def _client_name(ctx: Context) -> str:
    """Return the client's name from the connection, this request, or the handshake."""
    if ctx.session.client_params is not None:
        client = ctx.session.client_params.client_info
        return client_name(client.name, client.version)
    info = (ctx.meta or {}).get(CLIENT_INFO_META_KEY)
    if isinstance(info, Mapping) and isinstance(info.get("name"), str):
        return client_name(info["name"], str(info.get("version", "")))
    name = ctx.request.scope.get(CLIENT_KEY) if ctx.request is not None else None
    return name if isinstance(name, str) else "an unnamed client"
