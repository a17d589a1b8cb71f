"""Notifies the affected clients that their list of tools has changed, through the mechanism of their revision.

A stdio client that has not read the list, or has the current one, gets no notification: some clients cannot handle one
between their first request and its answer.
"""

from collections.abc import Collection

from mcp import MCPError
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp_types import (
    INTERNAL_ERROR,
    NotificationParams,
    SubscriptionFilter,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)

from dagcall.auth import Caller
from dagcall.mcp.request import Context, caller_of
from dagcall.tools import Catalog, Snapshot, Tool

MAX_STREAMS = 1024


class ListChanges:
    """Keeps the listening clients.

    Args:
        catalog: knows which caller may use which tool.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._streams: dict[ListenHandler, tuple[Caller, InMemorySubscriptionBus]] = {}
        self._session: tuple[Caller, ServerSession] | None = None
        """The session of a handshake-era client: on stdio there is exactly one."""
        self._listed: Snapshot | None = None
        """The snapshot of the last list that was sent."""

    async def remember_session(self, ctx: Context, _params: NotificationParams) -> None:
        """Remember a client that has completed the handshake."""
        self._session = caller_of(ctx), ctx.session

    def remember_list(self) -> None:
        """Remember that a client got the current list."""
        self._listed = self._catalog.snapshot

    async def listen(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        """Serve a stream of notifications until the client closes it; only about tools: nothing else changes."""
        changes = SubscriptionFilter(tools_list_changed=params.notifications.tools_list_changed)
        params = params.model_copy(update={"notifications": changes})
        if len(self._streams) >= MAX_STREAMS:
            raise MCPError(code=INTERNAL_ERROR, message="Too many clients are already listening for changes.")
        bus = InMemorySubscriptionBus()
        stream = ListenHandler(bus)
        self._streams[stream] = caller_of(ctx), bus
        try:
            return await stream(ctx, params)
        finally:
            del self._streams[stream]

    async def announce(self, changed: Collection[Tool]) -> None:
        """Notify every client that has, or had, one of these tools."""
        for caller, bus in list(self._streams.values()):
            if self._concerns(caller, changed):
                await bus.publish(ToolsListChanged())
        if self._session is None or self._listed is None or self._listed is self._catalog.snapshot:
            return
        caller, session = self._session
        if self._concerns(caller, changed):
            await session.send_tool_list_changed()

    def close(self) -> None:
        """End all streams."""
        for stream in list(self._streams):
            stream.close()

    def _concerns(self, caller: Caller, changed: Collection[Tool]) -> bool:
        return any(self._catalog.may_use(caller, tool) for tool in changed)
