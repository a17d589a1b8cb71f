"""Callers, and how they ask."""

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
"""A task is waited for a little longer than its client asks."""


@dataclass(eq=False)
class Caller:
    """Somebody who wants one result, and asks again until it is there."""

    tool: str
    x: int
    key: str | None
    kind: Kind
    attempts: "list[Attempt]" = field(default_factory=list)
    run_id: str | None = None
    """The run that it was told of."""
    is_done: bool = False
    """Whether it has its outcome, or will never have one."""

    @property
    def asking(self) -> "Attempt | None":
        """How it asks now; it may have given up earlier attempts without a word."""
        return next((attempt for attempt in self.attempts if attempt.is_heard and attempt.is_pending), None)

    @property
    def is_of_family(self) -> bool:
        """Whether identical calls share a family of runs."""
        return self.key is None and POLICIES[self.tool].get("repeat", "adopt") == "adopt"

    @property
    def family(self) -> tuple[str, int]:
        return self.tool, self.x


@dataclass(eq=False)
class Attempt:
    """One request of a caller, or, for a task, all those from its creation to its end."""

    number: int
    caller: Caller
    process: Process
    kind: Kind
    budget: float
    asked_at: float
    is_process_away: bool
    """Whether the process takes Airflow to be away when the caller asks."""
    known_run_id: str | None
    """The run that it waits for by its id."""
    unheard: frozenset[FakeRun]
    """The runs of the family whose outcome nobody has had when the caller asks."""
    is_moving: bool
    """Whether a task is asked for on another process, too."""
    noted: frozenset[FakeRun]
    """The runs whose notes say by then that their outcome has arrived."""
    asking: "asyncio.Task[Wire]" = field(init=False)
    ended_at: float | None = None
    is_judged: bool = False
    is_heard: bool = True
    """False once the caller has given it up without a word."""
    nothing_started: str = ""
    """What it was told, if it was told that nothing was started."""
    created: list[FakeRun] = field(default_factory=list)

    @property
    def is_pending(self) -> bool:
        return not self.is_judged

    def may_hold_a_run_at(self, at: float) -> bool:
        """Say whether a run may be waited for on its behalf at this time, or later."""
        lingers = TASK_LINGERS_SECONDS if self.kind == "task" else 0.0
        return self.ended_at is None or self.ended_at + lingers >= at

    @property
    def traceparent(self) -> str:
        """What makes its number stand in the note of the run that it starts."""
        return f"00-{self.number:032x}-{1:016x}-01"

    async def ask(self, processes: Callable[[], list[Process]]) -> Wire:
        """Ask, and return the answer; for a task the last one.

        Args:
            processes: those that a task's requests are spread over.
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
        if run_id.startswith(PREFIX):  # else it came to nothing
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
    """Ask for a task.

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
