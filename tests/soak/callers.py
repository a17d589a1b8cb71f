"""Callers that perform random actions one after another."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from mcp import Client, MCPError
from mcp_types import CallToolResult

from tests.faults.record import Json, Record

Mode = Literal["auto", "legacy"]
CALL_SECONDS = 180.0
PATIENCE_SECONDS = 3.0
"""Well above the second within which identical calls are separate calls, even on a busy machine."""
AGAIN_SECONDS = 20.0
numbers = itertools.count(1)


@dataclass
class Count:
    """The actions performed and the errors."""

    tell: Callable[[str], None]
    """Called with each error."""
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    started: int = 0
    """How many runs Airflow must have."""


class Caller:
    """One caller.

    Args:
        url: the server's URL.
        airflow: Airflow's API, for ending runs of `held`.
        chance: chooses the next action.
        count: records the actions.
    """

    def __init__(self, url: str, airflow: Record, chance: random.Random, count: Count) -> None:
        self._url = url
        self._airflow = airflow
        self._chance = chance
        self._count = count
        self._actions = {
            self._add: 5,
            self._held: 3,
            self._broken: 1,
            self._rows: 1,
            self._given_up: 1,
            self._cancelled: 1,
            self._nothing: 2,
        }

    async def go_on(self, until: float) -> None:
        """Connect, perform some actions, disconnect; repeat until the time is over."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            mode: Mode = self._chance.choice(["auto", "legacy"])
            async with Client(self._url, mode=mode) as client:
                await client.list_tools()
                for _ in range(self._chance.randint(1, 8)):
                    if loop.time() < until:
                        await self._one(client)

    async def _one(self, client: Client) -> None:
        (action,) = self._chance.choices(list(self._actions), list(self._actions.values()))
        name = action.__name__.removeprefix("_")
        try:
            await action(client, next(numbers))
        except (AssertionError, MCPError, TimeoutError, KeyError) as error:
            self._count.wrong.append(f"{name}: {type(error).__name__}: {error}")
            self._count.tell(self._count.wrong[-1])
        self._count.done[name] += 1

    async def _call(self, client: Client, tool: str, x: int) -> CallToolResult:
        self._count.started += 1
        async with asyncio.timeout(CALL_SECONDS):
            return await client.call_tool(tool, {"x": x})

    async def _add(self, client: Client, x: int) -> None:
        answer = await self._call(client, "add", x)
        assert results_of(answer) == {"total": x + 1}

    async def _held(self, client: Client, x: int) -> None:
        calling = asyncio.create_task(self._call(client, "held", x))
        run = await self._airflow.the_new_run("held", x)
        assert results_of(await self._ended(run, calling)) == {"total": x + 1}

    async def _ended(self, run: Json, calling: asyncio.Task[CallToolResult]) -> CallToolResult:
        """End a run and return its caller's answer.

        If the scheduler is processing the run, it may set it back to running; then end it again.
        """
        await self._airflow.end(run)
        await asyncio.wait({calling}, timeout=AGAIN_SECONDS)
        if not calling.done() and (await self._airflow.same(run))["state"] not in {"success", "failed"}:
            await self._airflow.set_state(run, "success")
        return await calling

    async def _broken(self, client: Client, x: int) -> None:
        answer = await self._call(client, "broken", x)
        assert answer.is_error
        assert f"{x} is no good" in str(answer.content)

    async def _rows(self, client: Client, x: int) -> None:
        content = content_of(await self._call(client, "rows", x))
        place = {"tool": "rows", "dag_run_id": content["dag_run_id"], "path": "/total/7999"}
        answer = await client.call_tool("read_dag_result", place)
        assert content_of(answer)["value"] == {"x": x, "number": 7999}

    async def _given_up(self, client: Client, x: int) -> None:
        """Call, time out, call again: one run."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._call(client, "held", x)
        except TimeoutError:
            pass
        calling = asyncio.create_task(client.call_tool("held", {"x": x}))
        run = await self._airflow.the_new_run("held", x)
        assert results_of(await self._ended(run, calling)) == {"total": x + 1}

    async def _cancelled(self, client: Client, x: int) -> None:
        calling = asyncio.create_task(self._call(client, "held", x))
        run = await self._airflow.the_new_run("held", x)
        answer = await client.call_tool("cancel_dag_run", {"tool": "held", "dag_run_id": run["dag_run_id"]})
        assert content_of(answer)["state"] == "failed", answer
        assert (await calling).is_error

    async def _nothing(self, client: Client, x: int) -> None:
        """Requests that start no run: a list, invalid arguments, an unknown run."""
        await client.list_tools()
        assert (await client.call_tool("add", {"x": str(x) + "?"})).is_error
        assert (await client.call_tool("wait_for_dag_run", {"tool": "add", "dag_run_id": f"mcp__{x}"})).is_error


def content_of(answer: CallToolResult) -> dict[str, Any]:
    assert not answer.is_error, answer.content
    assert isinstance(answer.structured_content, dict)
    return answer.structured_content


def results_of(answer: CallToolResult) -> dict[str, Any]:
    content = content_of(answer)
    assert isinstance(content.get("results"), dict), content
    results: dict[str, Any] = content["results"]
    return results
