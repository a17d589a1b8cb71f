"""The MCP surface: what is listed, what a call answers, and how our errors read on the wire.

Knows MCP's messages, through the SDK's low-level server: tools are data found at run time, and their schemas go over
the wire as they are. Nothing escapes uncaught: on a handshake-era connection the SDK would send the text of an unknown
exception to the client.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from importlib.metadata import version
from typing import Any

from mcp import MCPError
from mcp.server import CacheHint, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    InputRequiredResult,
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
from dagcall.errors import Busy, DagcallError, InvalidArguments, UnknownTool
from dagcall.mcp.answers import call_result, cancel_result, error_result
from dagcall.mcp.audit import Audit, AuditRecord
from dagcall.mcp.delivery import SCOPE_KEY as DELIVERY_KEY
from dagcall.mcp.delivery import Delivery, StdioDeliveries
from dagcall.mcp.elicitation import STATE_SECONDS, Elicitor, can_ask
from dagcall.mcp.list_changed import ListChanges
from dagcall.mcp.mismatches import Mismatches
from dagcall.mcp.progress import Progress
from dagcall.mcp.request import Origin, caller_id_of, caller_of
from dagcall.mcp.resources import Resources, listed_resources, listed_templates, tool_of
from dagcall.mcp.tasks import Tasks, are_declared, require_declared
from dagcall.plain_json import Json
from dagcall.runs import META_IDEMPOTENCY_KEY, Answer, Entry, Runs
from dagcall.text import shortened, visible
from dagcall.tools import CANCEL_TOOL_NAME, READ_TOOL_NAME, WAIT_TOOL_NAME, Catalog, Tool, own_tools

logger = logging.getLogger(__name__)

LINKS_SINCE = "2025-06-18"
"""The first revision whose results may hold resource links; an older client may break on one."""

INSTRUCTIONS = (
    "Each tool runs one Airflow dag and waits for its result. A result with state 'running' is no failure: the run "
    f"goes on, and {WAIT_TOOL_NAME} with its dag_run_id returns the rest. Results too large for one answer come as a "
    f"preview, and {READ_TOOL_NAME} reads them part by part. To repeat a call that broke off, make the "
    "same call again: it returns the outcome of the run that is there already."
)

META_WAIT_SECONDS = "dagcall/wait_seconds"

Context = ServerRequestContext[Any, Any]
ToolOutcome = CallToolResult | InputRequiredResult | dict[str, Json]
"""What a call is answered with; a dict is a task."""


class McpServer:
    """The MCP server of one catalog.

    Args:
        catalog: what is published.
        runs: what makes the calls.
        wait_seconds: how long a call waits where its tool does not say.
        max_wait_seconds: the longest that a caller may ask for.
        cache_seconds: how long a client may keep the list.
        max_result_bytes: what an answer may take, as JSON text.
        state_key: seals what a client keeps while it asks its user; the same for all replicas.
        task_key: seals the ids of tasks that have no run; the same for all replicas.
        audit: told of every call.
        accounts: know in whose name a caller's runs are started.
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
        self._runs = runs
        self._audit = audit
        self._accounts = accounts
        self._mismatches = Mismatches()
        self._is_stopping = False
        self._wait_seconds = wait_seconds
        self._max_wait_seconds = max_wait_seconds
        self._max_result_bytes = max_result_bytes
        self._resources = Resources(catalog, runs, max_bytes=max_result_bytes)
        self._own_tools = {tool.name: tool for tool in own_tools()}
        self._announcements = ListChanges(catalog)
        self.stdio_deliveries: StdioDeliveries | None = None
        """Carry outcomes where this process serves one client over stdio."""
        self.calls_in_progress = 0
        self.idle = asyncio.Event()
        """Set while no call is in progress."""
        self.idle.set()
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
        if isinstance(get_tracer_provider(), ProxyTracerProvider):  # nobody collects spans
            self.sdk.middleware.clear()  # the SDK's own, which makes a span for each message
        self.sdk.add_request_handler("tools/call", CallToolRequestParams, self._call_tool)
        remember = self._announcements.remember_session
        self.sdk.add_notification_handler("notifications/initialized", NotificationParams, remember)
        security = RequestStateSecurity(keys=[state_key], ttl=STATE_SECONDS, bind_principal=caller_id_of)
        self.sdk.middleware.append(RequestStateBoundary(security, default_audience=self.sdk.name))
        self._tasks = Tasks(
            self.sdk,
            catalog,
            runs,
            accounts=accounts,
            audit=audit,
            key=task_key,
            render=self._result,
            carrier=self._carrier,
            wall_clock=wall_clock,
        )
        catalog.on_change = self._announcements.announce

    def begin_stop(self) -> None:
        """Take no new calls, and end the streams on which changes are announced; those who wait go on waiting."""
        self._is_stopping = True
        self._announcements.close()

    async def aclose(self) -> None:
        """Wait for no task any more."""
        await self._tasks.aclose()

    # Listing

    def _wire_tools(self, caller: Caller) -> list[WireTool]:
        """Return a caller's tools, the dags' first: sorted, on one page, for some clients read no second one."""
        tools = self._catalog.wire_tools(caller)
        return [*tools, *self._catalog.snapshot.own] if tools else []

    async def _list_tools(self, ctx: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        _require_first_page(params)
        await self._catalog.wait_until_read()
        self._announcements.remember_list()
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
        """Give the SDK a tool's schema, or it would list all tools on every call."""
        if own := self._own_tools.get(name):
            return own.input_schema
        tool = self._catalog.snapshot.tools.get(name)
        return tool.wire.input_schema if tool else None

    async def _listen(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        if "taskIds" in (ctx.params or {}).get("notifications", {}):
            require_declared(ctx)  # which is all that is asked of us: clients are not told of tasks, they ask
        return await self._announcements.listen(ctx, params)

    # Calling

    async def _call_tool(self, ctx: Context, params: CallToolRequestParams) -> ToolOutcome:
        arguments = params.arguments or {}
        name, about = params.name, ""
        if name in self._own_tools:
            name, about = _text(arguments, "tool", params.name), _text(arguments, "dag_run_id", "")
        dag = tool.dag_id if (tool := self._catalog.snapshot.tools.get(name)) else None
        origin = Origin.of(ctx)
        with self._audit.request(
            origin, f"tools/call {params.name}", arguments, tool=name, dag=dag, about=about
        ) as line:
            return await self._audited_call(ctx, params, origin, line)

    async def _audited_call(
        self, ctx: Context, params: CallToolRequestParams, origin: Origin, line: AuditRecord
    ) -> ToolOutcome:
        if self._is_stopping:
            busy = Busy("Nothing was started: this dagcall is about to stop; call again in a moment.")
            line.failed(busy)
            return self._failure(ctx, params, str(busy))
        try:
            with self._in_progress():
                outcome = await self._answer(ctx, params, origin, line)
        except UnknownTool as error:
            line.failed(error)
            raise MCPError(code=INVALID_PARAMS, message=visible(str(error))) from error
        except DagcallError as error:
            line.failed(error)
            return self._failure(ctx, params, str(error))
        except Exception as error:
            line.failed(error)
            logger.exception("a call of %s failed inside dagcall", params.name)
            return self._failure(
                ctx,
                params,
                f"dagcall itself failed while it worked on this call of {params.name}; its log says how. "
                "Whether a run was started can be seen in Airflow.",
            )
        line.answered(outcome)
        return outcome

    async def _read_resource(self, ctx: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        asked = {"uri": params.uri}
        name = tool_of(params.uri)
        dag = tool.dag_id if name and (tool := self._catalog.snapshot.tools.get(name)) else None
        with (
            self._in_progress(),
            self._audit.request(Origin.of(ctx), "resources/read", asked, tool=name, dag=dag, about=params.uri),
        ):
            if self._is_stopping:
                message = "This dagcall is about to stop; read again in a moment."
                raise MCPError(code=INTERNAL_ERROR, message=message)
            await self._catalog.wait_until_read()
            return await self._resources.read(params.uri, caller=caller_of(ctx), revision=ctx.protocol_version)

    @contextmanager
    def _in_progress(self) -> Iterator[None]:
        self.calls_in_progress += 1
        self.idle.clear()
        try:
            yield
        finally:
            self.calls_in_progress -= 1
            if not self.calls_in_progress:
                self.idle.set()

    async def _answer(
        self, ctx: Context, params: CallToolRequestParams, origin: Origin, line: AuditRecord
    ) -> ToolOutcome:
        await self._catalog.wait_until_read()
        name, arguments = params.name, params.arguments or {}
        caller = origin.caller
        if name in self._own_tools:
            self._catalog.require_own(name)
        if name == CANCEL_TOOL_NAME:
            tool, run_id = self._named_run(name, arguments, caller)
            account = self._accounts.of(caller)
            return cancel_result(await self._runs.cancel(tool, run_id, caller=caller.id, account=account))
        if name == READ_TOOL_NAME:
            return await self._resources.call(arguments, caller=caller)
        if self._is_task(ctx, params):
            tool = self._catalog.tool(name, caller)
            return await self._tasks.create(
                ctx,
                tool,
                arguments,
                budget_seconds=self._budget(ctx, tool),
                key=_idempotency_key(ctx, name),
                note=origin.note(name),
            )
        wants_progress = (ctx.meta or {}).get("progress_token") is not None
        async with Progress(
            ctx.session, is_wanted=wants_progress, in_line=lambda: self._runs.in_line(caller.id)
        ) as progress:
            known: str | None = None
            if name == WAIT_TOOL_NAME:
                tool, known = self._named_run(name, arguments, caller)
            else:
                tool = self._catalog.tool(name, caller)
            deadline = _now() + self._budget(ctx, tool)

            async def resume(known_run_id: str, *, stops_for_questions: bool = True) -> Answer:
                return await self._runs.resume(
                    tool,
                    known_run_id,
                    caller=caller.id,
                    budget_seconds=deadline - _now(),
                    stops_for_questions=stops_for_questions,
                    on_stage=progress.entered,
                    on_view=progress.look_through if wants_progress else None,
                    on_outcome=self._carrier(ctx),
                )

            conversation = Elicitor(
                ctx.session,
                ctx.request_id,
                runs=self._runs,
                tool=tool,
                caller=caller.id,
                account=lambda: self._accounts.of(caller),
                who=origin.who,
                seconds_left=lambda: deadline - _now(),
                on_stage=progress.entered,
            )
            if (asked_about := await conversation.take_up(params)) is not None:
                answer = await resume(asked_about)
            elif known is not None:
                answer = await resume(known, stops_for_questions=can_ask(ctx.session))
            else:
                answer = await self._runs.call(
                    tool,
                    arguments,
                    caller=caller.id,
                    budget_seconds=deadline - _now(),
                    key=_idempotency_key(ctx, name),
                    note=origin.note(name),
                    account=self._accounts.of(caller),
                    on_stage=progress.entered,
                    on_view=progress.look_through if wants_progress else None,
                    on_outcome=self._carrier(ctx),
                )
            line.run_id = answer.run_id
            outcome = await conversation.conclude(answer, resume)
        if isinstance(outcome, InputRequiredResult):
            return outcome
        return self._result(ctx, tool, outcome)

    def _failure(self, ctx: Context, params: CallToolRequestParams, text: str) -> CallToolResult | dict[str, Json]:
        """Answer a call that came to nothing, as the client expects its answer."""
        return self._tasks.failed(ctx, params.name, text) if self._is_task(ctx, params) else error_result(text)

    def _is_task(self, ctx: Context, params: CallToolRequestParams) -> bool:
        """Say whether a call is answered with a task.

        Its client knows tasks, does not say how long it waits, and the call is not about a run that is there already.
        """
        is_about_a_run = params.name in self._own_tools or params.request_state is not None
        return are_declared(ctx) and not is_about_a_run and META_WAIT_SECONDS not in (ctx.meta or {})

    def _result(self, ctx: Context, tool: Tool, answer: Answer) -> CallToolResult:
        has_links = ctx.protocol_version >= LINKS_SINCE
        return call_result(
            tool,
            answer,
            max_bytes=self._max_result_bytes,
            has_links=has_links,
            on_mismatch=partial(self._mismatches.tell, tool, answer.run_id),
        )

    def _carrier(self, ctx: Context) -> Callable[[Entry], None]:
        """Return what takes an outcome to the caller; within one process, what is answered has arrived."""
        delivery = ctx.request.scope.get(DELIVERY_KEY) if ctx.request is not None else None
        if isinstance(delivery, Delivery):
            return delivery.carry
        if self.stdio_deliveries is not None and ctx.request_id is not None:
            return partial(self.stdio_deliveries.carry, ctx.request_id)
        return Entry.deliver

    def _budget(self, ctx: Context, tool: Tool) -> float:
        """Return how long this call waits: as the caller asks, within bounds, else as the tool or transport says."""
        asked = (ctx.meta or {}).get(META_WAIT_SECONDS)
        if asked is None:
            return tool.policy.wait_seconds or self._wait_seconds
        if isinstance(asked, bool) or not isinstance(asked, int | float) or not asked >= 0:
            raise InvalidArguments(tool.name, (f"{META_WAIT_SECONDS} in _meta is not a number of seconds",))
        return min(float(asked), self._max_wait_seconds)

    def _named_run(self, own_tool: str, arguments: Mapping[str, Json], caller: Caller) -> tuple[Tool, str]:
        known = self._own_tools[own_tool].input_schema["properties"]
        problems = [f"{name}: there is no such argument" for name in arguments if name not in known]
        problems += [
            f"{name}: required, and text" for name in sorted(known) if not isinstance(arguments.get(name), str)
        ]
        if problems:
            raise InvalidArguments(own_tool, tuple(problems))
        try:
            return self._catalog.tool(arguments["tool"], caller), arguments["dag_run_id"]
        except UnknownTool as error:
            raise InvalidArguments(own_tool, (f"tool: {error}",)) from error


class _Sdk(Server[Any]):
    """The SDK's server, which promises only what this one sends."""

    def get_capabilities(self, *args: Any, **kwargs: Any) -> ServerCapabilities:
        """Return the SDK's capabilities without changes of resources, which it derives from `subscriptions/listen`."""
        found = super().get_capabilities(*args, **kwargs)
        return found.model_copy(update={"resources": ResourcesCapability(subscribe=False, list_changed=False)})


def _require_first_page(params: PaginatedRequestParams | None) -> None:
    """Refuse a cursor: every list has one page, so that none was ever given out.

    Raises:
        MCPError: there is one.
    """
    if params is not None and params.cursor:
        message = f"There is no page {shortened(visible(params.cursor))!r}: the list has one page."
        raise MCPError(code=INVALID_PARAMS, message=message)


def _text(arguments: Mapping[str, Json], name: str, otherwise: str) -> str:
    value = arguments.get(name)
    return value if isinstance(value, str) else otherwise


def _idempotency_key(ctx: Context, tool: str) -> str | None:
    """Return the key that the caller's program gave: in `_meta`, or as an HTTP header."""
    key = (ctx.meta or {}).get(META_IDEMPOTENCY_KEY)
    if key is None and ctx.request is not None:
        key = ctx.request.headers.get("idempotency-key")
    if key is not None and not isinstance(key, str):
        raise InvalidArguments(tool, (f"{META_IDEMPOTENCY_KEY} in _meta is not text",))
    return key


def _now() -> float:
    return asyncio.get_running_loop().time()
