"""CPU of the server alone for one call, where Airflow answers at once: what dagcall itself costs."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import count
from statistics import median
from typing import Any

from bench.instant_server import own_ms_per_call
from bench.machine import NOT_LINUX, cpu_seconds, is_linux
from bench.mcp_client import McpConnection
from bench.servers import Server, Servers
from bench.table import BARE, DAGCALL, Table

WARM_UP = 160
CALLS = 160
ROUNDS = 16
STARTS = 5
"""How often each server is started: how fast a process is depends on where its memory happens to lie, too."""
AT_ONCE = (1, 16)
GOAL = 2.2
"""Times what a bare server takes. Simpler code was worth the last tenth: docs/design.md says where."""
TOOLS = (1, 500)
SECTION = "CPU of the server per call, Airflow at once"


async def measure(table: Table, servers: Servers) -> None:
    """Measure dagcall at 1 and at 500 tools, in front of two Airflows, and the bare server."""
    if not is_linux():
        table.put(SECTION, "one call after another", "ms", DAGCALL, NOT_LINUX)
        return
    rounds: dict[int, list[list[float]]] = {at_once: [] for at_once in AT_ONCE}
    for _ in range(STARTS):
        async with AsyncExitStack() as stack:
            subjects = [(await stack.enter_async_context(servers.bare()), "double")]
            subjects += [(await stack.enter_async_context(servers.instant(dags=tools)), "double_0") for tools in TOOLS]
            for at_once in AT_ONCE:
                rounds[at_once] += await ms_per_call(subjects, at_once)
    for at_once in AT_ONCE:
        base, *own = _middle(rounds[at_once])
        for tools, figure in zip(TOOLS, own, strict=True):
            what = _what(tools, at_once)
            table.put(SECTION, what, "ms", DAGCALL, figure, at_most=GOAL * base)
            table.put(SECTION, what, "ms", BARE, base)
    for tools in TOOLS:
        async with servers.fake_airflow(dags=tools) as account, servers.dagcall(account, dags="double_*") as server:
            for at_once in AT_ONCE:
                (figure,) = _middle(await ms_per_call([(server, "double_0")], at_once))
                table.put(SECTION, f"{_what(tools, at_once)}, over HTTP to another process", "ms", DAGCALL, figure)
    table.remark(
        "CPU of the server per call: Airflow answers at once, from the memory of the process that is measured, and "
        f"takes {await own_ms_per_call():.3f} ms of each figure; or, where it says so, over HTTP, in another process. "
        "The bare server asks nobody."
    )


def _what(tools: int, at_once: int) -> str:
    how = "one call after another" if at_once == 1 else f"{at_once} at once"
    return f"{tools} tool{'s' if tools > 1 else ''}, {how}"


def _doubles(content: dict[str, Any]) -> list[Any]:
    """Return what a call came to: of the bare server itself, of dagcall by task."""
    return [content, *content.get("results", {}).values()]


def _middle(rounds: Sequence[Sequence[float]]) -> list[float]:
    """Return what each server takes: as in its middle round.

    Not the least: the bare server's rounds are shorter, and so more often meet a moment in which nobody else takes the
    caches away.
    """
    return [median(figures) for figures in zip(*rounds, strict=True)]


async def ms_per_call(subjects: Sequence[tuple[Server, str]], at_once: int) -> list[list[float]]:
    """Call a tool of each server many times, never with the same arguments; return the CPU per call, by round.

    A round is one figure for each server: they take turns, for how fast a machine is changes by the minute.
    """
    numbers = count(random.randrange(10**12))  # noqa: S311 - no secret

    async def some(server: Server, tool: str, calls: int) -> None:
        async with await McpConnection.opened(server.port) as connection:
            for _ in range(calls):
                n = next(numbers)
                result = await connection.call_tool(tool, {"n": n})
                if {"double": 2 * n} not in _doubles(result.get("structuredContent", {})):
                    raise RuntimeError(f"a call failed: {result}")

    async def ms(server: Server, tool: str, calls: int) -> float:
        before = cpu_seconds(server.pid)
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(some(server, tool, calls // at_once))
        return (cpu_seconds(server.pid) - before) * 1000 / (calls // at_once * at_once)

    for subject in subjects:
        await ms(*subject, WARM_UP)
    return [[await ms(*subject, CALLS) for subject in subjects] for _ in range(ROUNDS)]
