"""The MCP server: lists tools and routes requests; `calls` answers `tools/call`.

Uses the SDK's low-level server, because tools are data found at run time, and their schemas are sent unchanged. Catches
every exception: on a handshake-era connection, the SDK would send the text of an unknown exception to the client.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any

from mcp import MCPError
from mcp.server import CacheHint
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    NotificationParams,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    ResourcesCapability,
    ServerCapabilities,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)
from mcp_types import Tool as WireTool
from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider

from dagcall.auth import Accounts, Caller
from dagcall.mcp.audit import Audit
from dagcall.mcp.calls import ToolCalls
from dagcall.mcp.cancellation import Cancellation
from dagcall.mcp.delivery import Deliveries
from dagcall.mcp.elicitation import STATE_SECONDS
from dagcall.mcp.intake import Intake
from dagcall.mcp.list_changed import ListChanges
from dagcall.mcp.renderer import Renderer
from dagcall.mcp.request import Context, Origin, caller_id_of, caller_of
from dagcall.mcp.resources import Resources, listed_resources, listed_templates, tool_of
from dagcall.mcp.task_guard import require_declared
from dagcall.mcp.tasks import Tasks
from dagcall.mcp.trace_context import with_http_parent
from dagcall.runs import Runs
from dagcall.text import shortened, visible
from dagcall.tools import READ_TOOL_NAME, WAIT_TOOL_NAME, Catalog, own_tools

logger = logging.getLogger(__name__)

INSTRUCTIONS = (
    "Each tool runs one Airflow dag and waits for its result. A result with state 'running' is not a failure: the run "
    f"continues; call {WAIT_TOOL_NAME} with its dag_run_id for the result. Results too large for one answer are "
    f"returned as a preview; {READ_TOOL_NAME} reads them in parts. To repeat an interrupted call, make the same call "
    "again: it returns the outcome of the existing run."
)


class McpServer:
    """The MCP server of one catalog.

    Args:
        catalog: the published tools.
        runs: starts runs and waits for them.
        wait_seconds: how long a call waits if its tool does not set it.
        max_wait_seconds: the longest wait that a caller may request.
        cache_seconds: how long a client may cache the list.
        max_result_bytes: maximum size of an answer, as JSON text.
        state_key: seals the state that a client keeps while it asks its user; the same for all replicas.
        task_key: seals the ids of tasks that have no run; the same for all replicas.
        audit: logs every call.
        accounts: the Airflow accounts for callers.
        wall_clock: the time in UTC, for tests.
    """

    def __init__(
        self,
        catalog: Catalog,
        runs: Runs,
        *,
        wait_seconds: float,
        max_wait_seconds: float,
        cache_seconds: float,
        max_result_bytes: int,
        state_key: bytes,
        task_key: bytes,
        audit: Audit,
        accounts: Accounts,
        wall_clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._catalog = catalog
        self._audit = audit
        self.intake = Intake()
        self.deliveries = Deliveries()
        self._resources = Resources(catalog, runs, max_bytes=max_result_bytes)
        self._own_tools = {tool.name: tool for tool in own_tools()}
        self._list_changes = ListChanges(catalog)
        self.sdk: Server[Any] = _Sdk(
            "dagcall",
            version=version("dagcall"),
            title="Airflow dags",
            instructions=INSTRUCTIONS,
            on_list_tools=self._list_tools,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource,
            on_subscriptions_listen=self._listen,
            cache_hints={"tools/list": CacheHint(ttl_ms=int(cache_seconds * 1000), scope="private")},
            get_tool_input_schema=self._input_schema,
        )
        if isinstance(get_tracer_provider(), ProxyTracerProvider):  # no span exporter
            self.sdk.middleware.clear()  # the SDK's own, which creates a span per message
        else:
            self.sdk.middleware.insert(0, with_http_parent)
        self.sdk.middleware.insert(0, Cancellation().watch)  # first in the list, to see how each request ends
        remember = self._list_changes.remember_session
        self.sdk.add_notification_handler("notifications/initialized", NotificationParams, remember)
        security = RequestStateSecurity(keys=[state_key], ttl=STATE_SECONDS, bind_principal=caller_id_of)
        self.sdk.middleware.append(RequestStateBoundary(security, default_audience=self.sdk.name))
        renderer = Renderer(max_result_bytes)
        self._tasks = Tasks(
            self.sdk,
            catalog,
            runs,
            accounts=accounts,
            audit=audit,
            key=task_key,
            renderer=renderer,
            deliveries=self.deliveries,
            wall_clock=wall_clock,
        )
        calls = ToolCalls(
            catalog,
            runs,
            intake=self.intake,
            tasks=self._tasks,
            resources=self._resources,
            accounts=accounts,
            audit=audit,
            renderer=renderer,
            deliveries=self.deliveries,
            wait_seconds=wait_seconds,
            max_wait_seconds=max_wait_seconds,
        )
        self.sdk.add_request_handler("tools/call", CallToolRequestParams, calls.answer)
        catalog.on_change = self._list_changes.announce

    def begin_stop(self) -> None:
        """Refuse new calls and close the streams for list changes; waiting calls continue."""
        self.intake.is_closed = True
        self._list_changes.close()

    async def aclose(self) -> None:
        """Stop waiting for tasks."""
        await self._tasks.aclose()

    # Listing

    def _wire_tools(self, caller: Caller) -> list[WireTool]:
        """Return a caller's tools, dags first, sorted, on one page: some clients read only the first page."""
        tools = self._catalog.wire_tools(caller)
        return [*tools, *self._catalog.snapshot.own] if tools else []

    async def _list_tools(self, ctx: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        _require_first_page(params)
        await self._catalog.wait_until_read()
        self._list_changes.remember_list()
        return ListToolsResult(tools=self._wire_tools(caller_of(ctx)))

    async def _list_resources(self, _ctx: Context, params: PaginatedRequestParams | None) -> ListResourcesResult:
        _require_first_page(params)
        return listed_resources()

    async def _list_templates(
        self, _ctx: Context, params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        _require_first_page(params)
        return listed_templates()

    def _input_schema(self, name: str) -> Mapping[str, Any] | None:
        """Return a tool's schema; otherwise the SDK would list all tools on every call."""
        if own := self._own_tools.get(name):
            return own.input_schema
        tool = self._catalog.snapshot.tools.get(name)
        return tool.wire.input_schema if tool else None

    async def _listen(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        if "taskIds" in (ctx.params or {}).get("notifications", {}):
            require_declared(ctx)  # required by the extension; we send no task notifications, clients poll
        return await self._list_changes.listen(ctx, params)

    # Reading

    async def _read_resource(self, ctx: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        asked = {"uri": params.uri}
        name = tool_of(params.uri)
        tool = self._catalog.snapshot.tools.get(name) if name else None
        dag, published = (tool.dag_id, tool.name) if tool else (None, "")
        record = self._audit.request(
            Origin.of(ctx), "resources/read", asked, tool=name, dag=dag, about=params.uri, published=published
        )
        with self.intake.request(), record:
            if self.intake.is_closed:
                message = "dagcall is shutting down. Read again in a moment."
                raise MCPError(code=INTERNAL_ERROR, message=message)
            await self._catalog.wait_until_read()
            return await self._resources.read(params.uri, caller=caller_of(ctx), revision=ctx.protocol_version)


class _Sdk(Server[Any]):
    """The SDK's server, announcing only the capabilities that this server has."""

    def get_capabilities(self, *args: Any, **kwargs: Any) -> ServerCapabilities:
        """Return the SDK's capabilities without resource changes, which it derives from `subscriptions/listen`."""
        found = super().get_capabilities(*args, **kwargs)
        return found.model_copy(update={"resources": ResourcesCapability(subscribe=False, list_changed=False)})


def _require_first_page(params: PaginatedRequestParams | None) -> None:
    """Refuse a cursor: every list has one page, so no cursor was ever issued.

    Raises:
        MCPError: the request has a cursor.
    """
    if params is not None and params.cursor:
        message = f"Unknown cursor {shortened(visible(params.cursor))!r}: the list has one page."
        raise MCPError(code=INVALID_PARAMS, message=message)
