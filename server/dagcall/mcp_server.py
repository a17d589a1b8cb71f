"""The MCP surface: what is listed, what a call answers, and how our errors read on the wire.

Knows MCP's messages, through the SDK's low-level server: tools are data found at run time, and their schemas go over
the wire as they are. Nothing escapes uncaught: on a handshake-era connection the SDK would send the text of an unknown
exception to the client.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from mcp import MCPError
from mcp.server import CacheHint, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    NotificationParams,
    PaginatedRequestParams,
)
from mcp_types import Tool as WireTool

from dagcall.answers import call_result, cancel_result, error_result
from dagcall.catalog import Catalog
from dagcall.delivery import SCOPE_KEY as DELIVERY_KEY
from dagcall.delivery import Delivery
from dagcall.errors import DagcallError, InvalidArguments, UnknownTool
from dagcall.ledger import Entry
from dagcall.model import Json
from dagcall.progress import Progress
from dagcall.runs import Runs
from dagcall.starting import META_IDEMPOTENCY_KEY
from dagcall.tools import CANCEL_TOOL_NAME, WAIT_TOOL_NAME, Tool, own_tools, visible

logger = logging.getLogger(__name__)

FIRST_LIST_SECONDS = 8.0
"""How long the first `tools/list` waits for Airflow. claude.ai wants its first answers within 10 s."""
MAX_CLIENT_NAME = 100

INSTRUCTIONS = (
    "Each tool runs one Airflow dag and waits for its result. A result with state 'running' is no failure: the run "
    f"goes on, and {WAIT_TOOL_NAME} with its dag_run_id returns the rest. To repeat a call that broke off, make the "
    "same call again: it returns the outcome of the run that is there already."
)

META_WAIT_SECONDS = "dagcall/wait_seconds"
CALLER = "local"
"""Who calls: everybody who reaches this server is one caller, for nobody is asked yet who they are."""

Context = ServerRequestContext[Any, Any]


class McpServer:
    """The MCP server of one catalog.

    Args:
        catalog: what is published.
        runs: what makes the calls.
        wait_seconds: how long a call waits where its tool does not say.
        max_wait_seconds: the longest that a caller may ask for.
        cache_seconds: how long a client may keep the list.
    """

    def __init__(
        self, catalog: Catalog, runs: Runs, *, wait_seconds: float, max_wait_seconds: float, cache_seconds: float
    ) -> None:
        self._catalog = catalog
        self._runs = runs
        self._is_stopping = False
        self._wait_seconds = wait_seconds
        self._max_wait_seconds = max_wait_seconds
        self._own_tools = {tool.name: tool for tool in own_tools()}
        self._bus = InMemorySubscriptionBus()
        self._listeners = ListenHandler(self._bus)
        self._session: ServerSession | None = None
        self.calls_in_progress = 0
        self.idle = asyncio.Event()
        """Set while no call is in progress."""
        self.idle.set()
        self.sdk: Server[Any] = Server(
            "dagcall",
            version=version("dagcall"),
            title="Airflow dags",
            instructions=INSTRUCTIONS,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_subscriptions_listen=self._listeners,
            cache_hints={"tools/list": CacheHint(ttl_ms=int(cache_seconds * 1000), scope="private")},
            get_tool_input_schema=self._input_schema,
        )
        self.sdk.add_notification_handler("notifications/initialized", NotificationParams, self._remember_session)
        catalog.on_change = self._announce_change

    def begin_stop(self) -> None:
        """Take no new calls, and end the streams on which changes are announced; those who wait go on waiting."""
        self._is_stopping = True
        self._listeners.close()

    # Listing

    def _wire_tools(self) -> list[WireTool]:
        """Return every tool, the dags' first: sorted, on one page, for some clients read no second one."""
        tools = [tool.wire for tool in self._catalog.snapshot.tools.values()]
        return [*tools, *self._own_tools.values()] if tools else []

    async def _list_tools(self, _ctx: Context, _params: PaginatedRequestParams | None) -> ListToolsResult:
        await self._catalog.wait_until_read(FIRST_LIST_SECONDS)
        return ListToolsResult(tools=self._wire_tools())

    def _input_schema(self, name: str) -> Mapping[str, Any] | None:
        """Give the SDK a tool's schema, or it would list all tools on every call."""
        if own := self._own_tools.get(name):
            return own.input_schema
        tool = self._catalog.snapshot.tools.get(name)
        return tool.wire.input_schema if tool else None

    async def _remember_session(self, ctx: Context, _params: NotificationParams) -> None:
        """Keep the session of a handshake-era client, to tell it of changes: on stdio there is exactly one."""
        self._session = ctx.session

    async def _announce_change(self) -> None:
        await self._bus.publish(ToolsListChanged())
        if self._session is not None:
            await self._session.send_tool_list_changed()

    # Calling

    async def _call_tool(self, ctx: Context, params: CallToolRequestParams) -> CallToolResult:
        self.calls_in_progress += 1
        self.idle.clear()
        try:
            if self._is_stopping:
                return error_result("Nothing was started: this dagcall is about to stop; call again in a moment.")
            return await self._answer(ctx, params.name, params.arguments or {})
        except UnknownTool as error:
            raise MCPError(code=INVALID_PARAMS, message=str(error)) from error
        except DagcallError as error:
            return error_result(str(error))
        except Exception:
            logger.exception("a call of %s failed inside dagcall", params.name)
            return error_result(
                f"dagcall itself failed while it worked on this call of {params.name}; its log says how. "
                "Whether a run was started can be seen in Airflow."
            )
        finally:
            self.calls_in_progress -= 1
            if not self.calls_in_progress:
                self.idle.set()

    async def _answer(self, ctx: Context, name: str, arguments: Mapping[str, Json]) -> CallToolResult:
        await self._catalog.wait_until_read(FIRST_LIST_SECONDS)
        if name == CANCEL_TOOL_NAME:
            tool, run_id = self._named_run(name, arguments)
            return cancel_result(await self._runs.cancel(tool, run_id, caller=CALLER))
        async with Progress(ctx.session, lambda: self._runs.in_line) as progress:
            if name == WAIT_TOOL_NAME:
                tool, run_id = self._named_run(name, arguments)
                answer = await self._runs.resume(
                    tool,
                    run_id,
                    caller=CALLER,
                    budget_seconds=self._budget(ctx, tool),
                    on_stage=progress.entered,
                    on_outcome=_carrier(ctx),
                )
            else:
                tool = self._catalog.tool(name)
                answer = await self._runs.call(
                    tool,
                    arguments,
                    caller=CALLER,
                    budget_seconds=self._budget(ctx, tool),
                    key=_idempotency_key(ctx, name),
                    note=_note(ctx, name),
                    on_stage=progress.entered,
                    on_outcome=_carrier(ctx),
                )
        return call_result(tool, answer)

    def _budget(self, ctx: Context, tool: Tool) -> float:
        """Return how long this call waits: as the caller asks, within bounds, else as the tool or transport says."""
        asked = (ctx.meta or {}).get(META_WAIT_SECONDS)
        if asked is None:
            return tool.policy.wait_seconds or self._wait_seconds
        if isinstance(asked, bool) or not isinstance(asked, int | float) or not asked >= 0:
            raise InvalidArguments(tool.name, (f"{META_WAIT_SECONDS} in _meta is not a number of seconds",))
        return min(float(asked), self._max_wait_seconds)

    def _named_run(self, own_tool: str, arguments: Mapping[str, Json]) -> tuple[Tool, str]:
        known = self._own_tools[own_tool].input_schema["properties"]
        problems = [f"{name}: there is no such argument" for name in arguments if name not in known]
        problems += [
            f"{name}: required, and text" for name in sorted(known) if not isinstance(arguments.get(name), str)
        ]
        if problems:
            raise InvalidArguments(own_tool, tuple(problems))
        try:
            return self._catalog.tool(arguments["tool"]), arguments["dag_run_id"]
        except UnknownTool as error:
            raise InvalidArguments(own_tool, (f"tool: {error}",)) from error


def _carrier(ctx: Context) -> Callable[[Entry], None]:
    """Return what takes an outcome to the caller; without HTTP, what is answered has arrived."""
    delivery = ctx.request.scope.get(DELIVERY_KEY) if ctx.request is not None else None

    return delivery.carry if isinstance(delivery, Delivery) else Entry.deliver


def _idempotency_key(ctx: Context, tool: str) -> str | None:
    """Return the key that the caller's program gave: in `_meta`, or as an HTTP header."""
    key = (ctx.meta or {}).get(META_IDEMPOTENCY_KEY)
    if key is None and ctx.request is not None:
        key = ctx.request.headers.get("idempotency-key")
    if key is not None and not isinstance(key, str):
        raise InvalidArguments(tool, (f"{META_IDEMPOTENCY_KEY} in _meta is not text",))
    return key


def _note(ctx: Context, tool: str) -> str:
    """Return what an Airflow administrator reads on the run: who asked."""
    client = ctx.session.client_params.client_info if ctx.session.client_params else None
    name = visible(f"{client.name} {client.version}")[:MAX_CLIENT_NAME] if client else "a client that gave no name"
    return f"Called through MCP (dagcall) as tool {tool} by {name}"
