"""`tools/call`: handlers for dagcall's own tools, for dags' tools, and for calls that become tasks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from mcp import MCPError
from mcp_types import INVALID_PARAMS, CallToolRequestParams, CallToolResult, InputRequiredResult

from dagcall.auth import Accounts, Caller
from dagcall.errors import DagcallError, InvalidArguments, ShuttingDown, StartingUp, UnknownTool
from dagcall.mcp.answers import cancel_result, error_result
from dagcall.mcp.audit import Audit, AuditRecord
from dagcall.mcp.delivery import Deliveries
from dagcall.mcp.elicitation import Elicitor, can_ask
from dagcall.mcp.intake import Intake
from dagcall.mcp.progress import Progress
from dagcall.mcp.renderer import Renderer
from dagcall.mcp.request import Context, Origin
from dagcall.mcp.resources import Resources
from dagcall.mcp.task_guard import are_declared
from dagcall.mcp.tasks import Tasks
from dagcall.plain_json import Json
from dagcall.runs import META_IDEMPOTENCY_KEY, Answer, Call, Listener, Runs
from dagcall.text import visible
from dagcall.tools import CANCEL_TOOL_NAME, READ_TOOL_NAME, WAIT_TOOL_NAME, Catalog, Tool, own_tools

logger = logging.getLogger(__name__)

FIRST_READ_SECONDS = 30.0
"""How long a call waits for the first reading of the dags. Clients wait longer for a call than for the list."""

META_WAIT_SECONDS = "dagcall/wait_seconds"

ToolOutcome = CallToolResult | InputRequiredResult | dict[str, Json]
"""The answer to a call; a dict is a task."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One `tools/call`."""

    ctx: Context
    params: CallToolRequestParams
    origin: Origin
    record: AuditRecord

    @property
    def name(self) -> str:
        """The called tool."""
        return self.params.name

    @property
    def arguments(self) -> Mapping[str, Json]:
        """Its arguments."""
        return self.params.arguments or {}

    @property
    def caller(self) -> Caller:
        """Who calls."""
        return self.origin.caller

    @property
    def idempotency_key(self) -> str | None:
        """The caller's idempotency key: in `_meta`, or as an HTTP header.

        Raises:
            InvalidArguments: the key is not text.
        """
        key = (self.ctx.meta or {}).get(META_IDEMPOTENCY_KEY)
        if key is None and self.ctx.request is not None:
            key = self.ctx.request.headers.get("idempotency-key")
        if key is not None and not isinstance(key, str):
            raise InvalidArguments(self.name, (f"{META_IDEMPOTENCY_KEY} in _meta is not text",))
        return key


class ToolCalls:
    """Answers calls.

    Args:
        catalog: the published tools.
        runs: starts runs and waits for them.
        intake: counts requests, and knows whether new ones are accepted.
        tasks: takes calls whose clients poll for the outcome.
        resources: reads results in parts.
        accounts: the Airflow accounts for callers.
        audit: logs every call.
        renderer: renders answers.
        deliveries: deliver outcomes to callers.
        wait_seconds: how long a call waits if its tool does not set it.
        max_wait_seconds: the longest wait that a caller may request.
    """

    def __init__(
        self,
        catalog: Catalog,
        runs: Runs,
        *,
        intake: Intake,
        tasks: Tasks,
        resources: Resources,
        accounts: Accounts,
        audit: Audit,
        renderer: Renderer,
        deliveries: Deliveries,
        wait_seconds: float,
        max_wait_seconds: float,
    ) -> None:
        self._catalog = catalog
        self._runs = runs
        self._intake = intake
        self._tasks = tasks
        self._resources = resources
        self._accounts = accounts
        self._audit = audit
        self._renderer = renderer
        self._deliveries = deliveries
        self._wait_seconds = wait_seconds
        self._max_wait_seconds = max_wait_seconds
        self._own_tools = {tool.name: tool for tool in own_tools()}
        self._handlers: Mapping[str, Callable[[ToolCall], Awaitable[ToolOutcome]]] = {
            CANCEL_TOOL_NAME: self._cancel_dag_run,
            READ_TOOL_NAME: self._read_dag_result,
            WAIT_TOOL_NAME: self._wait_for_dag_run,
        }

    async def answer(self, ctx: Context, params: CallToolRequestParams) -> ToolOutcome:
        """Answer a call, and write its audit record.

        Raises:
            MCPError: the caller has no such tool.
        """
        arguments = params.arguments or {}
        name, about = params.name, ""
        if name in self._own_tools:
            name, about = _text(arguments, "tool", params.name), _text(arguments, "dag_run_id", "")
        origin = Origin.of(ctx)
        with self._audit.request(origin, f"tools/call {params.name}", arguments, tool=name, about=about) as record:
            self._recognise(call := ToolCall(ctx, params, origin, record))
            outcome = await self._guarded(call)
            if record.error is None:
                record.answered(outcome)
            return outcome

    def _recognise(self, call: ToolCall) -> None:
        """Let the record say which dag a call is about, and whether the called tool is published."""
        tools, record = self._catalog.snapshot.tools, call.record
        tool = tools.get(record.tool or "")
        record.dag = None if tool is None else tool.dag_id
        record.published = call.name if call.name in tools or call.name in self._own_tools else ""

    async def _guarded(self, call: ToolCall) -> ToolOutcome:
        """Answer a call; turn errors into answers."""
        try:
            with self._intake.request():
                return await self._handled(call)
        except UnknownTool as error:
            call.record.failed(error)
            raise MCPError(code=INVALID_PARAMS, message=visible(str(error))) from error
        except DagcallError as error:
            call.record.failed(error)
            text = str(error)
        except Exception as error:
            call.record.failed(error)
            logger.exception("internal error in a call of %s", call.name)
            text = (
                f"dagcall failed during this call of {call.name}; see its log. Airflow shows whether a run was started."
            )
        return self._tasks.failed(call.ctx, call.name, text) if self._is_task(call) else error_result(text)

    async def _handled(self, call: ToolCall) -> ToolOutcome:
        if self._intake.is_closed:
            raise ShuttingDown("Nothing was started: dagcall is shutting down. Call again in a moment.")
        if not await self._catalog.wait_until_read(FIRST_READ_SECONDS):
            raise StartingUp(
                "Nothing was started: dagcall has started a moment ago and still reads the dags from Airflow. Call "
                "again in a few seconds."
            )
        self._recognise(call)  # the dags may have been read meanwhile
        if handler := self._handlers.get(call.name):
            self._catalog.require_own(call.name)
            return await handler(call)
        if self._is_task(call):
            return await self._create_task(call)
        return await self._run_dag(call)

    def _is_task(self, call: ToolCall) -> bool:
        """Return whether a call is answered with a task.

        That is so if its client supports tasks, sets no wait, and the call is not about an existing run.
        """
        is_about_a_run = call.name in self._own_tools or call.params.request_state is not None
        return are_declared(call.ctx) and not is_about_a_run and META_WAIT_SECONDS not in (call.ctx.meta or {})

    # Handlers

    async def _cancel_dag_run(self, call: ToolCall) -> ToolOutcome:
        tool, run_id = self._named_run(call)
        account = self._accounts.of(call.caller)
        return cancel_result(await self._runs.cancel(tool, run_id, caller=call.caller.id, account=account))

    async def _read_dag_result(self, call: ToolCall) -> ToolOutcome:
        return await self._resources.call(call.arguments, caller=call.caller)

    async def _wait_for_dag_run(self, call: ToolCall) -> ToolOutcome:
        tool, run_id = self._named_run(call)

        async def wait(listener: Listener) -> Answer:
            patient = replace(listener, stops_for_questions=can_ask(call.ctx.session))
            return await self._runs.resume(tool, run_id, patient, caller=call.caller.id)

        return await self._concluded(call, tool, wait)

    async def _run_dag(self, call: ToolCall) -> ToolOutcome:
        tool = self._catalog.tool(call.name, call.caller)

        async def run(listener: Listener) -> Answer:
            return await self._runs.call(self._dag_call(call, tool, listener))

        return await self._concluded(call, tool, run)

    async def _create_task(self, call: ToolCall) -> ToolOutcome:
        tool = self._catalog.tool(call.name, call.caller)
        listener = Listener(_now() + self._seconds(call, tool), on_run=call.record.got, times=call.record.times)
        return await self._tasks.create(call.ctx, self._dag_call(call, tool, listener))

    # Shared by handlers

    def _dag_call(self, call: ToolCall, tool: Tool, listener: Listener) -> Call:
        return Call(
            tool,
            call.arguments,
            call.caller.id,
            listener,
            key=call.idempotency_key,
            note=call.origin.note(call.name),
            account=self._accounts.of(call.caller),
        )

    async def _concluded(
        self, call: ToolCall, tool: Tool, begin: Callable[[Listener], Awaitable[Answer]]
    ) -> CallToolResult | InputRequiredResult:
        """Wait for a run, report progress, ask the person if the run has questions, and render the outcome.

        Args:
            call: the call.
            tool: the tool of the run.
            begin: starts the first wait; a call that carries a person's answers waits for the run that asked instead.
        """
        ctx, caller = call.ctx, call.caller
        wants_progress = (ctx.meta or {}).get("progress_token") is not None
        async with Progress(
            ctx.session, is_wanted=wants_progress, in_line=partial(self._runs.in_line, caller.id)
        ) as progress:
            listener = Listener(
                _now() + self._seconds(call, tool),
                on_stage=progress.entered,
                on_observer=progress.look_through if wants_progress else None,
                on_outcome=self._deliveries.of(ctx),
                on_run=call.record.got,
                times=call.record.times,
            )
            elicitor = Elicitor(
                ctx.session,
                ctx.request_id,
                runs=self._runs,
                tool=tool,
                caller=caller.id,
                account=partial(self._accounts.of, caller),
                who=call.origin.who,
                seconds_left=lambda: listener.deadline - _now(),
                on_stage=progress.entered,
            )

            async def resume(run_id: str) -> Answer:
                return await self._runs.resume(tool, run_id, listener, caller=caller.id)

            asked_about = await elicitor.adopt(call.params)
            answer = await (begin(listener) if asked_about is None else resume(asked_about))
            call.record.run_id = answer.run_id
            outcome = await elicitor.conclude(answer, resume)
        if isinstance(outcome, InputRequiredResult):
            return outcome
        return self._renderer.result(ctx, tool, outcome)

    def _seconds(self, call: ToolCall, tool: Tool) -> float:
        """Return how long a call waits: the caller's wish within limits, otherwise the tool's or transport's default.

        Raises:
            InvalidArguments: the caller's wish is not a number of seconds.
        """
        asked = (call.ctx.meta or {}).get(META_WAIT_SECONDS)
        if asked is None:
            return tool.policy.wait_seconds or self._wait_seconds
        if isinstance(asked, bool) or not isinstance(asked, int | float) or not asked >= 0:
            raise InvalidArguments(tool.name, (f"{META_WAIT_SECONDS} in _meta is not a number of seconds",))
        return min(float(asked), self._max_wait_seconds)

    def _named_run(self, call: ToolCall) -> tuple[Tool, str]:
        """Return the tool and the run that a call of one of dagcall's own tools names.

        Raises:
            InvalidArguments: the call does not name them.
        """
        arguments = call.arguments
        known = self._own_tools[call.name].input_schema["properties"]
        problems = [f"{name}: there is no such argument" for name in arguments if name not in known]
        problems += [
            f"{name}: required, must be text" for name in sorted(known) if not isinstance(arguments.get(name), str)
        ]
        if problems:
            raise InvalidArguments(call.name, tuple(problems))
        try:
            return self._catalog.tool(arguments["tool"], call.caller), arguments["dag_run_id"]
        except UnknownTool as error:
            raise InvalidArguments(call.name, (f"tool: {error}",)) from error


def _text(arguments: Mapping[str, Json], name: str, otherwise: str) -> str:
    value = arguments.get(name)
    return value if isinstance(value, str) else otherwise


def _now() -> float:
    return asyncio.get_running_loop().time()
