"""The caller's trace in HTTP headers, for clients that send none in `_meta`.

The SDK takes the parent of its span from `_meta`, else the current context: so this puts that of the headers there.
"""

from typing import Any

from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from opentelemetry.context import attach, detach
from opentelemetry.propagate import extract


async def with_http_parent(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Handle a message in the trace context of its HTTP request; outside of the SDK's own middleware."""
    if ctx.request is None:
        return await call_next(ctx)
    token = attach(extract(ctx.request.headers))
    try:
        return await call_next(ctx)
    finally:
        detach(token)
