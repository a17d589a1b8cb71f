"""Whether an answer reached its caller.

An outcome that was not delivered goes to the next identical call; a delivered one does not. Over HTTP, an answer is
delivered when its last byte was sent and the caller had not disconnected before; on stdio, when it was written.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio.lowlevel
from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp_types import RequestId
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dagcall.runs import Entry

SCOPE_KEY = "dagcall.delivery"


class Delivery:
    """Tracks the outcomes that one request delivers to its caller.

    Until an outcome is delivered, its caller counts as waiting, so that the run does not count as abandoned.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._is_gone = False

    def add(self, entry: Entry) -> None:
        """Add an outcome."""
        entry.waiting += 1
        self._entries.append(entry)

    def caller_left(self) -> None:
        """Record that the caller closed the connection or cancelled the request."""
        self._is_gone = True

    def sent(self) -> None:
        """Record that the last byte was sent."""
        if not self._is_gone:
            for entry in self._entries:
                entry.deliver()

    def over(self) -> None:
        """Record that nothing more will be sent."""
        for entry in self._entries:
            entry.leave()
        self._entries.clear()


def with_delivery(app: ASGIApp) -> ASGIApp:
    """Put a `Delivery` into each HTTP request's scope, and record whether the answer was sent."""

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        delivery = scope[SCOPE_KEY] = Delivery()

        async def watched_receive() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                delivery.caller_left()
            return message

        async def watched_send(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                delivery.sent()

        try:
            await app(scope, watched_receive, watched_send)
        finally:
            delivery.over()

    return watched


def delivery_of(ctx: ServerRequestContext[Any, Any]) -> Delivery | None:
    """Return what delivers the answer to a request over HTTP."""
    delivery = ctx.request.scope.get(SCOPE_KEY) if ctx.request is not None else None
    return delivery if isinstance(delivery, Delivery) else None


class StdioDeliveries:
    """Tracks outcomes over stdio: an outcome is delivered when its message was written."""

    def __init__(self) -> None:
        self._of_request: dict[RequestId, Delivery] = {}
        self._owed: set[RequestId] = set()
        self.all_written = asyncio.Event()
        """Set while each result that a handler has returned is written."""
        self.all_written.set()

    def add(self, request_id: RequestId, entry: Entry) -> None:
        """Add an outcome to the answer to a request."""
        self._of_request.setdefault(request_id, Delivery()).add(entry)

    def written(self, request_id: RequestId) -> None:
        """Record that the answer to a request was written."""
        self._owed.discard(request_id)
        if not self._owed:
            self.all_written.set()
        if delivery := self._of_request.pop(request_id, None):
            delivery.sent()
            delivery.over()

    def client_left(self) -> None:
        """Record that nothing more can be written."""
        self._owed.clear()
        self.all_written.set()

    async def watch(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Drop the outcomes of a request that is answered with an error, or not at all."""
        try:
            result = await call_next(ctx)
            await anyio.lowlevel.checkpoint_if_cancelled()  # a request cancelled at this moment is not answered
        except BaseException:
            if ctx.request_id is not None and (delivery := self._of_request.pop(ctx.request_id, None)):
                delivery.over()
            raise
        if ctx.request_id is not None:
            self._owed.add(ctx.request_id)
            self.all_written.clear()
        return result


class Deliveries:
    """Returns what delivers an outcome to its caller."""

    def __init__(self) -> None:
        self.stdio: StdioDeliveries | None = None
        """Set if this process serves one client over stdio."""

    def of(self, ctx: ServerRequestContext[Any, Any]) -> Callable[[Entry], None]:
        """Return a function that adds an outcome to the answer to a request.

        Within one process, an answer is delivered at once.
        """
        if (delivery := delivery_of(ctx)) is not None:
            return delivery.add
        if self.stdio is not None and ctx.request_id is not None:
            return partial(self.stdio.add, ctx.request_id)
        return Entry.deliver
