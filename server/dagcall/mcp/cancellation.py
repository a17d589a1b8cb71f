"""Cancels requests of clients before 2026-07-28 over HTTP.

Without sessions, the SDK serves each POST on its own, so a `notifications/cancelled` never meets its request. This
middleware relates the two by caller, session id and request id. On another replica, it has no effect.
"""

from typing import Any

import anyio
from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.streamable_http import REQUEST_CANCELLED
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params

from dagcall.mcp.delivery import delivery_of
from dagcall.mcp.handshake import SESSION_HEADER
from dagcall.mcp.request import caller_id_of

CANCELLED = "notifications/cancelled"


class Cancellation:
    """Knows the requests that are in progress and that their client may cancel."""

    def __init__(self) -> None:
        self._in_progress: dict[tuple[str, str, str], anyio.CancelScope] = {}
        """(caller id, session id, request id) -> its scope."""

    async def watch(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Run a request until it ends or is cancelled; apply a notification that cancels one.

        Raises:
            MCPError: the request was cancelled. The protocol ends a stream only with an answer.
        """
        is_cancelled = ctx.method == CANCELLED
        request_id = cancelled_request_id_from_params(ctx.params) if is_cancelled else ctx.request_id
        session_id = None if ctx.request is None else ctx.request.headers.get(SESSION_HEADER.decode())
        if session_id is None or request_id is None:
            return await call_next(ctx)
        key = (caller_id_of(ctx), session_id, str(request_id))
        if is_cancelled:
            if (request := self._in_progress.get(key)) is not None:
                request.cancel()
            return await call_next(ctx)
        with anyio.CancelScope() as scope:
            self._in_progress[key] = scope
            try:
                return await call_next(ctx)
            finally:
                if self._in_progress.get(key) is scope:  # a client may use an id twice
                    del self._in_progress[key]
        if (delivery := delivery_of(ctx)) is not None:
            delivery.caller_left()  # an outcome that was about to be sent goes to the next identical call
        raise MCPError(REQUEST_CANCELLED, "Request cancelled")
