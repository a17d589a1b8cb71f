"""Memory of the server per waiting call, and how fast it answers others meanwhile, up to 10,000 waiting calls."""

import asyncio
import contextlib
import gc
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from bench.machine import NOT_LINUX, is_linux, resident_kib
from bench.mcp_client import McpConnection
from bench.servers import HOST, Server, Servers
from bench.table import BARE, DAGCALL, NotMeasured, Table, percentile
from dagcall.demo.stack import NotReady, until_async

WAITING = (1000, 10_000)
SPARE_FILES = 500
AT_A_TIME = 250
"""What is measured are calls that wait, not how many can arrive in one moment."""
PROBES = 200
PROBE_PAUSE_SECONDS = 0.02
REACH_SECONDS = 240.0
LIMITS = httpx.Limits(keepalive_expiry=1.0)
"""Else httpx keeps a connection for as long as uvicorn does, and may use it in the moment in which that lets it go."""
SECTION = "Calls that wait, Airflow in memory"

CountWaiting = Callable[[], Awaitable[int]]


async def measure(table: Table, servers: Servers) -> None:
    """Let more and more calls wait, on dagcall and on the bare server."""
    async with (
        servers.fake_airflow(dags=1) as account,
        servers.dagcall(account, dags="*", wait_seconds=3600) as server,
        runs_of(account) as count,
    ):
        await fill(table, DAGCALL, server, count)
    async with servers.bare() as server, httpx.AsyncClient(trust_env=False, timeout=60, limits=LIMITS) as http:

        async def waiting() -> int:
            return int((await http.get(f"http://{HOST}:{server.port}/health")).json()["waiting"])

        await fill(table, BARE, server, waiting)


async def fill(table: Table, column: str, server: Server, count: CountWaiting) -> None:
    """Measure at each number of waiting calls, the number rising."""
    for _ in range(20):  # what a first call loads, no later one does
        async with await McpConnection.opened(server.port) as connection:
            await connection.list_tools()
    before = resident_kib(server.pid) if is_linux() else 0.0
    calls: list[asyncio.Task[dict[str, Any]]] = []
    try:
        for number in WAITING:
            if reason := too_few_files(number):
                put(table, column, number, NotMeasured(reason), NotMeasured(reason))
                continue
            if reason := await fill_up(server, calls, number, count):
                put(table, column, number, NotMeasured(reason), NotMeasured(reason))
                return
            latencies = await probe(server.port)
            used = (resident_kib(server.pid) - before) / number if is_linux() else NOT_LINUX
            put(table, column, number, used, percentile(latencies, 0.99) * 1000)
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


def put(table: Table, column: str, number: int, kib: float | NotMeasured, p99: float | NotMeasured) -> None:
    """Enter the two figures."""
    is_most = number == WAITING[-1]
    table.put(SECTION, f"{number:,} waiting: memory each", "KiB", column, kib, at_most=64 if is_most else None)
    table.put(SECTION, f"{number:,} waiting: tools/list, p99", "ms", column, p99, at_most=20 if is_most else None)


async def fill_up(
    server: Server, calls: list[asyncio.Task[dict[str, Any]]], number: int, count: CountWaiting
) -> str | None:
    """Make calls, some at a time, until so many wait; return why not, if that is so."""
    deadline = time.monotonic() + REACH_SECONDS
    while len(calls) < number:
        first = len(calls)
        calls += [asyncio.create_task(wait(server.port, n)) for n in range(first, min(first + AT_A_TIME, number))]
        reached = await until(count, len(calls), seconds=deadline - time.monotonic())
        if ended := [call for call in calls if call.done()]:
            return f"{len(ended):,} of {len(calls):,} calls did not wait: {_said(ended[0])}"
        if reached < len(calls):
            return f"{reached:,} calls waited after {REACH_SECONDS:.0f} s"
    return None


def _said(call: asyncio.Task[dict[str, Any]]) -> str:
    error = call.exception()
    return repr(error) if error else str(call.result().get("content"))


async def wait(port: int, n: int) -> dict[str, Any]:
    """Make one call that waits."""
    async with await McpConnection.opened(port) as connection:
        return await connection.call_tool("wait", {"n": n})


async def until(count: CountWaiting, number: int, *, seconds: float) -> int:
    """Return how many wait, once that is the number, or after a while."""

    async def is_reached() -> bool:
        return await count() >= number

    with contextlib.suppress(NotReady):
        await until_async(is_reached, "the calls", max(seconds, 0.0))
    return await count()


async def probe(port: int) -> list[float]:
    """Return how long `tools/list` takes, many times, in seconds."""
    latencies = []
    gc.disable()  # this process holds 10,000 connections too; its own pauses are nobody's latency
    async with await McpConnection.opened(port) as connection:
        for _ in range(PROBES):
            began = time.perf_counter()
            await connection.list_tools()
            latencies.append(time.perf_counter() - began)
            await asyncio.sleep(PROBE_PAUSE_SECONDS)
    gc.enable()
    return latencies


def too_few_files(number: int) -> str | None:
    """Let this process, and those it starts, open so many sockets; say why not, if that is so."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < number + SPARE_FILES:
        return f"this system lets a process open {most:,} files"
    return None


def raise_file_limit() -> None:
    """Raise the number of open files as far as this user may; processes started later inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WAITING[-1] + 2 * SPARE_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


@asynccontextmanager
async def runs_of(account: dict[str, Any]) -> AsyncIterator[CountWaiting]:
    """Give what counts the runs in an Airflow."""
    async with httpx.AsyncClient(base_url=account["url"], trust_env=False, timeout=60, limits=LIMITS) as http:
        user = {"username": account["username"], "password": account["password"]}
        token = (await http.post("/auth/token", json=user)).raise_for_status().json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"

        async def count() -> int:
            answer = await http.get("/api/v2/dags/~/dagRuns", params={"limit": 1})
            return int(answer.raise_for_status().json()["total_entries"])

        yield count
