"""CPU of the server alone for one call, where Airflow answers at once: what dagcall itself costs."""

import asyncio
import random
from itertools import count

from bench.machine import NO_PROC, cpu_seconds, has_proc
from bench.mcp_client import McpConnection
from bench.servers import Server, Servers
from bench.table import BARE, DAGCALL, Table

WARM_UP = 100
CALLS = 640
AT_ONCE = (1, 16)
TOOLS = (1, 500)
SECTION = "CPU of the server per call, Airflow in memory"


async def measure(table: Table, servers: Servers) -> None:
    """Measure dagcall at 1 and at 500 tools, and the bare server."""
    if not has_proc():
        table.put(SECTION, "one call after another", "ms", DAGCALL, NO_PROC)
        return
    base: dict[int, float] = {}
    async with servers.bare() as server:
        for at_once in AT_ONCE:
            base[at_once] = await cpu_ms_per_call(server, "double", at_once)
    for tools in TOOLS:
        async with (
            servers.fake_airflow(dags=tools) as account,
            servers.dagcall(account, dags="double_*") as server,
        ):
            for at_once in AT_ONCE:
                own = await cpu_ms_per_call(server, "double_0", at_once)
                how = "one call after another" if at_once == 1 else f"{at_once} at once"
                what = f"{tools} tool{'s' if tools > 1 else ''}, {how}"
                table.put(SECTION, what, "ms", DAGCALL, own, at_most=2 * base[at_once])
                table.put(SECTION, what, "ms", BARE, base[at_once])
    table.remark(
        "The bare server makes no request; a call of dagcall makes two or three, over HTTP, to another process."
    )


async def cpu_ms_per_call(server: Server, tool: str, at_once: int) -> float:
    """Call a tool many times, never with the same arguments."""
    numbers = count(random.randrange(10**12))  # noqa: S311 - no secret

    async def some(calls: int) -> None:
        async with await McpConnection.opened(server.port) as connection:
            for _ in range(calls):
                n = next(numbers)
                result = await connection.call_tool(tool, {"n": n})
                if result.get("isError"):
                    raise RuntimeError(f"a call failed: {result}")

    async def calls(total: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(some(total // at_once))

    await calls(WARM_UP)
    before = cpu_seconds(server.pid)
    await calls(CALLS)
    return (cpu_seconds(server.pid) - before) * 1000 / (CALLS // at_once * at_once)
