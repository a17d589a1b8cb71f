"""Tells clients that their list of tools has changed: those for whom it has, in the way that their revision has.

A client on stdio that has not read the list, or has it as it is now, is told nothing: a notification between a first
request and its answer is more than some clients take.
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
    """Knows who listens.

    Args:
        catalog: knows for whom there is a tool.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._streams: dict[ListenHandler, tuple[Caller, InMemorySubscriptionBus]] = {}
        self._session: tuple[Caller, ServerSession] | None = None
        """Of a handshake-era client: on stdio there is exactly one."""
        self._listed: Snapshot | None = None
        """What the last list was made of."""

    async def remember_session(self, ctx: Context, _params: NotificationParams) -> None:
        """Take note of a client that has shaken hands."""
        self._session = caller_of(ctx), ctx.session

    def remember_list(self) -> None:
        """Take note that a client gets the list as it is now."""
        self._listed = self._catalog.snapshot

    async def listen(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        """Serve a stream of announcements until the client closes it; only of tools, for nothing else changes."""
        changes = SubscriptionFilter(tools_list_changed=params.notifications.tools_list_changed)
        params = params.model_copy(update={"notifications": changes})
        if len(self._streams) >= MAX_STREAMS:
            raise MCPError(code=INTERNAL_ERROR, message="Too many clients listen for changes already.")
        bus = InMemorySubscriptionBus()
        stream = ListenHandler(bus)
        self._streams[stream] = caller_of(ctx), bus
        try:
            return await stream(ctx, params)
        finally:
            del self._streams[stream]

    async def announce(self, changed: Collection[Tool]) -> None:
        """Tell everybody for whom one of these tools is, or was, there."""
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
