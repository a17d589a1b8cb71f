"""MCP clients that follow the schedule and record all answers."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, cast

from mcp import Client, MCPError
from mcp.client.context import ClientRequestContext
from mcp_types import CallToolResult, ElicitRequestParams, ElicitResult, RequestParamsMeta, TextContent

from dagcall.runs.run_ids import run_id_in
from dagcall.tools.tool import CANCEL_TOOL_NAME, WAIT_TOOL_NAME
from tests.chaos.history import Attempt, Call, Kind, Told
from tests.chaos.judge import is_over, meaning_of
from tests.chaos.replicas import Replica
from tests.chaos.schedule import Move, PlannedCall
from tests.faults.raw_call import raw_call
from tests.support.task_client import FINAL, task_client

SILENT_SECONDS = 6.0
"""How long the connection of a caller that says nothing stays open."""
LAST_SECONDS = 3.0
"""How long attempts may continue after the time is over; then all waiting callers disconnect and come back."""
GRACE_SECONDS = 5.0
"""How long after its caller's patience an attempt is cancelled in any case."""
REFUSED_PAUSE_SECONDS = 1.0
"""The pause after a broken connection, so that callers do not use up their moves while a server starts."""
NO_TASK = "There is no task "
"""The beginning of the protocol error for an unknown task."""
RAW = {"hangs up", "resets", "says nothing"}

Wire = dict[str, Any]


class Callers:
    """All callers.

    Args:
        replicas: the servers they call.
    """

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self._replicas = replicas
        self.calls: list[Call] = []
        self._count = 0
        self._lingering: set[asyncio.Task[None]] = set()

    async def live(self, caller: int, plan: Sequence[PlannedCall], until: float) -> None:
        """Make one call after another until `until`, by the loop's clock."""
        now = asyncio.get_running_loop().time
        for planned in plan:
            if now() >= until:
                return
            call = Call(caller, planned.tool, planned.x, planned.key)
            self.calls.append(call)
            moves = list(planned.moves)
            while not is_over(call) and now() < until:
                move = moves.pop(0) if moves else Move(len(call.attempts) % len(self._replicas))
                patience = min(move.patience, until + LAST_SECONDS - now())
                attempt = await self.attempt(call, replace(move, patience=patience))
                pause = move.pause + (REFUSED_PAUSE_SECONDS if attempt.broken else 0.0)
                await asyncio.sleep(0.3 if is_over(call) else pause)

    async def come_back(self, call: Call, seconds: float) -> None:
        """Repeat a call after all faults have ended.

        One attempt is enough, unless the machine is so slow that Airflow does not answer in time.
        """
        now = asyncio.get_running_loop().time
        ends_at = now() + seconds
        while not is_over(call) and now() < ends_at:
            replica = (call.caller + len(call.attempts)) % len(self._replicas)
            await self.attempt(call, Move(replica, patience=ends_at - now()), is_in_calm=True)
            await asyncio.sleep(1)

    async def aclose(self) -> None:
        """Wait until every connection is closed."""
        await asyncio.gather(*self._lingering)

    async def attempt(self, call: Call, move: Move, *, is_in_calm: bool = False) -> Attempt:
        """Make an attempt and record its outcome."""
        run_id = _known_run_id(call)
        kind: Kind = "call"
        if move.cancels and run_id:
            kind, call.is_cancelled = "cancel", True
        elif (move.looks or call.is_cancelled) and run_id:
            kind = "wait"
        elif move.is_task:
            kind = "task"
        replica = self._replicas[move.replica]
        self._count += 1
        attempt = Attempt(self._count, kind, replica.name, move.way, time.time(), is_in_calm=is_in_calm)
        call.attempts.append(attempt)
        try:
            if move.way in RAW:
                await self._ask_and_go(call, move, attempt, replica.url)
            else:
                async with asyncio.timeout(move.patience + (0 if move.way == "drops" else GRACE_SECONDS)):
                    attempt.told = await self._ask(call, move, attempt, replica.url, run_id)
        except TimeoutError:
            pass  # the caller gives up
        except Exception as error:  # noqa: BLE001 - the judge decides by the error's name
            attempt.broken = _broken(error)
            if NO_TASK in attempt.broken:
                told = attempt.broken[attempt.broken.index(NO_TASK) :]
                attempt.told, attempt.broken = Told(told, is_error=True, run_id=run_id_in(told) or ""), ""
            if "timed out" in attempt.broken.lower() and move.way in {"stays", "times out"}:
                attempt.broken = ""
        attempt.left_at = time.time()
        attempt.closed_at = attempt.closed_at or attempt.left_at
        return attempt

    async def _ask_and_go(self, call: Call, move: Move, attempt: Attempt, url: str) -> None:
        stack = AsyncExitStack()
        raw = await stack.enter_async_context(raw_call(url, call.tool, call.x, _meta(call, move, attempt)))
        await asyncio.sleep(move.patience)
        if move.way == "says nothing":
            attempt.closed_at = time.time() + SILENT_SECONDS
            task = asyncio.create_task(_closed_later(stack))
            self._lingering.add(task)
            task.add_done_callback(self._lingering.discard)
            return
        if move.way == "resets":
            raw.reset()
        await stack.aclose()

    async def _ask(self, call: Call, move: Move, attempt: Attempt, url: str, run_id: str) -> Told:
        meta = _meta(call, move, attempt)
        if attempt.kind == "task":
            return await _followed(url, call, meta)
        async with Client(url, mode=move.mode, elicitation_callback=_approve) as client:
            await client.list_tools()
            tool, arguments = call.tool, cast("Wire", {"x": call.x})
            if attempt.kind in {"wait", "cancel"}:
                tool = WAIT_TOOL_NAME if attempt.kind == "wait" else CANCEL_TOOL_NAME
                arguments = {"tool": call.tool, "dag_run_id": run_id}
            answer = await client.call_tool(
                tool, arguments, read_timeout_seconds=move.patience, meta=cast("RequestParamsMeta", meta)
            )
        return _told(answer)


def _known_run_id(call: Call) -> str:
    """Return the run id that a caller got last; an empty string if the run is gone."""
    for attempt in reversed(call.attempts):
        if attempt.told and meaning_of(attempt.told) == "unknown run":
            return ""
        if attempt.told and attempt.told.run_id:
            return attempt.told.run_id
    return ""


def _meta(call: Call, move: Move, attempt: Attempt) -> Wire:
    meta: Wire = {"traceparent": attempt.traceparent}
    if attempt.kind in {"call", "task"} and call.key is not None:
        meta["dagcall/idempotency_key"] = call.key
    if move.wait_seconds is not None:
        meta["dagcall/wait_seconds"] = move.wait_seconds
    return meta


async def _approve(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:  # noqa: ARG001 - the SDK passes them by name
    return ElicitResult(action="accept", content={"answer": "Approve"})


async def _closed_later(stack: AsyncExitStack) -> None:
    await asyncio.sleep(SILENT_SECONDS)
    await stack.aclose()


async def _followed(url: str, call: Call, meta: Wire) -> Told:
    """Call as a client of the tasks extension does, and poll the task until it has ended."""
    async with task_client(url) as client:
        task = await client.call(call.tool, {"x": call.x}, meta)
        if task.get("resultType") != "task":
            return _told(CallToolResult.model_validate(task))
        while task.get("status", "working") not in FINAL:
            await asyncio.sleep(task["pollIntervalMs"] / 1000)
            task = await client.get(task["taskId"])
    if task["status"] == "cancelled":
        text = task["statusMessage"]
        return Told(text, is_error=True, run_id=run_id_in(text) or "")
    return _told(CallToolResult.model_validate(task["result"]))


def _told(answer: CallToolResult) -> Told:
    text = "\n".join(block.text for block in answer.content if isinstance(block, TextContent))
    if answer.is_error:
        return Told(text, is_error=True, run_id=run_id_in(text) or "")
    content = answer.structured_content if isinstance(answer.structured_content, dict) else {}
    return Told(
        str(content.get("message", "")),
        state=str(content.get("state")),
        run_id=str(content.get("dag_run_id")),
        results=content.get("results"),
    )


def _broken(error: BaseException) -> str:
    """Return the errors without the exception groups that the SDK wraps around them."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(_broken(one) for one in error.exceptions))
    said = error.error.message if isinstance(error, MCPError) else str(error)
    return f"{type(error).__name__}: {said}"
