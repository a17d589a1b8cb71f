"""Callers and the requests they make."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from mcp import MCPError

from dagcall.runs.run_ids import PREFIX
from tests.fake_airflow import FakeRun
from tests.server.life.world import POLICIES, Process, Wire
from tests.support.task_client import FINAL

Kind = Literal["call", "task", "wait"]
TASK_LINGERS_SECONDS = 10.0
"""dagcall keeps waiting for a task's run this long after the client's last request."""


@dataclass(eq=False)
class Caller:
    """A client that wants one result and repeats its call until it has it."""

    tool: str
    x: int
    key: str | None
    kind: Kind
    attempts: "list[Attempt]" = field(default_factory=list)
    run_id: str | None = None
    """The run id from dagcall's last answer."""
    is_done: bool = False
    """Whether it has its outcome, or never gets one."""

    @property
    def asking(self) -> "Attempt | None":
        """The attempt it waits for; it may have abandoned earlier ones without cancelling them."""
        return next((attempt for attempt in self.attempts if attempt.is_heard and attempt.is_pending), None)

    @property
    def is_of_family(self) -> bool:
        """Whether identical calls share a run id prefix."""
        return self.key is None and POLICIES[self.tool].get("repeat", "adopt") == "adopt"

    @property
    def family(self) -> tuple[str, int]:
        return self.tool, self.x


@dataclass(eq=False)
class Attempt:
    """One request of a caller; for a task, all requests from its creation to its end."""

    number: int
    caller: Caller
    process: Process
    kind: Kind
    budget: float
    asked_at: float
    is_process_away: bool
    """Whether the process's circuit breaker was open when the caller asked."""
    known_run_id: str | None
    """The run it waits for with `wait_for_dag_run`."""
    unheard: frozenset[FakeRun]
    """The runs with the same run id prefix whose outcome was not delivered when the caller asked."""
    is_moving: bool
    """Whether the client also polls its task on another process."""
    noted: frozenset[FakeRun]
    """The runs that had a delivery mark when the caller asked."""
    asking: "asyncio.Task[Wire]" = field(init=False)
    ended_at: float | None = None
    is_judged: bool = False
    is_heard: bool = True
    """False once the caller has abandoned it without cancelling it."""
    nothing_started: str = ""
    """The error message, if it said "Nothing was started"."""
    created: list[FakeRun] = field(default_factory=list)

    @property
    def is_pending(self) -> bool:
        return not self.is_judged

    def may_hold_a_run_at(self, at: float) -> bool:
        """Return whether dagcall may be waiting for a run on its behalf at this time or later."""
        lingers = TASK_LINGERS_SECONDS if self.kind == "task" else 0.0
        return self.ended_at is None or self.ended_at + lingers >= at

    @property
    def traceparent(self) -> str:
        """The trace header that puts the attempt's number into the note of its run."""
        return f"00-{self.number:032x}-{1:016x}-01"

    async def ask(self, processes: Callable[[], list[Process]]) -> Wire:
        """Make the request and return the answer; for a task, the last answer.

        Args:
            processes: the processes that a task's requests are spread over.
        """
        caller, client = self.caller, self.process.client
        meta: Wire = {"traceparent": self.traceparent}
        if caller.key is not None:
            meta["dagcall/idempotency_key"] = caller.key
        if self.kind == "wait":
            meta["dagcall/wait_seconds"] = self.budget
            return await client.call("wait_for_dag_run", {"tool": caller.tool, "dag_run_id": self.known_run_id}, meta)
        if self.kind == "call":
            meta["dagcall/wait_seconds"] = self.budget
            return await client.call(caller.tool, {"x": caller.x}, meta)
        try:
            return await self._follow(await client.call(caller.tool, {"x": caller.x}, meta), processes)
        except MCPError as error:
            return {"isError": True, "content": [{"type": "text", "text": error.error.message}]}

    async def _follow(self, task: Wire, processes: Callable[[], list[Process]]) -> Wire:
        if task.get("resultType") != "task":
            return task
        run_id = task["taskId"].split(".")[1]
        if run_id.startswith(PREFIX):  # otherwise nothing was started
            self.caller.run_id = run_id
        while task["status"] not in FINAL:
            await asyncio.sleep(task["pollIntervalMs"] / 1000)
            for process in processes():
                with suppress(ConnectionError):
                    task = await _looked_at(process, task["taskId"])
                if task["status"] in FINAL:
                    break
        if task["status"] == "cancelled":
            return {"isError": True, "content": [{"type": "text", "text": task["statusMessage"]}]}
        result: Wire = task["result"]
        return result


async def _looked_at(process: Process, task_id: str) -> Wire:
    """Poll a task.

    Raises:
        ConnectionError: the process has ended.
    """
    if process.is_over:
        raise ConnectionError
    try:
        return await process.client.get(task_id)
    except MCPError as error:
        if error.error.message == "Connection closed":
            raise ConnectionError from error
        raise
