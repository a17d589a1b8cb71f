"""Calls that wait for runs that go on: what do they cost Airflow's api-server, and who else gets an answer from it?"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from bench.counting_proxy import Counts, counting_proxy
from bench.machine import NOT_LINUX, cpu_seconds, is_linux
from bench.mcp_client import McpConnection
from bench.servers import Servers
from bench.stock_airflow import StockAirflow, now
from bench.subjects import logged_in
from bench.table import DAGCALL, SCRIPT, NotMeasured, Table, Value, percentile

DAG = "bench_wait"
WAITING = (100, 400, 1000)
WAITING_OF_SCRIPT = (100, 400)
POSTS_OF_SCRIPT = 4
"""How many runs the script starts at a time: it is its waiting that is measured."""
SECONDS = 15.0
PROBE_PAUSE_SECONDS = 0.25
REACH_SECONDS = 150.0
LOOK_SECONDS = 0.5
SECTION = "Calls that wait, stock Airflow"
CPU = "CPU of the api-server"


@dataclass(frozen=True)
class Observed:
    """What Airflow's api-server did for a while."""

    cores: float
    """Its CPU."""
    latencies: list[float]
    """How long each small question to it took, in seconds."""


async def measure_idle(table: Table, airflow: StockAirflow) -> Observed:
    """Measure Airflow while nobody waits."""
    idle = await observed(airflow)
    latency = percentile(idle.latencies, 0.5)
    table.remark(
        f"While nobody waits, the api-server takes {idle.cores:.3f} cores with this bench's own questions in it, and "
        f"answers them in {latency * 1000:.0f} ms (p50); the CPU of waiting calls is what is added to that."
    )
    return idle


async def measure_dagcall(table: Table, servers: Servers, airflow: StockAirflow, idle: Observed) -> None:
    """Let calls of dagcall wait."""
    async with (
        counting_proxy(airflow.port) as (url, counts),
        servers.dagcall(airflow.account(url), dags=DAG, wait_seconds=3600) as server,
    ):

        async def wait(n: int) -> None:
            async with await McpConnection.opened(server.port) as connection:
                await connection.call_tool(DAG, {"n": n})

        await fill(Filling(table, DAGCALL, airflow, idle, counts), wait, WAITING)


async def measure_script(table: Table, airflow: StockAirflow, idle: Observed) -> None:
    """Let calls of the plain script wait."""
    posting = asyncio.Semaphore(POSTS_OF_SCRIPT)
    async with counting_proxy(airflow.port) as (url, counts), logged_in(airflow, url) as http:

        async def wait(n: int) -> None:
            async with posting:
                body = {"logical_date": None, "conf": {"n": n}}
                run = (await http.post(f"dags/{DAG}/dagRuns", json=body)).raise_for_status().json()
            path = f"dags/{DAG}/dagRuns/{run['dag_run_id']}/wait"
            async with http.stream("GET", path, params={"interval": 1}, timeout=None) as answer:
                async for _ in answer.aiter_bytes():
                    pass

        filling = Filling(table, SCRIPT, airflow, idle, counts)
        await fill(filling, wait, WAITING_OF_SCRIPT)
    for number in sorted({*WAITING} - {*WAITING_OF_SCRIPT}):
        filling.put(
            number, CPU, "cores", NotMeasured("left out, for so many streams bring a stock api-server to a halt")
        )


@dataclass(frozen=True)
class Filling:
    """Where the figures of one column come from, and go to."""

    table: Table
    column: str
    airflow: StockAirflow
    idle: Observed
    counts: Counts

    def put(self, number: int, what: str, unit: str, value: Value, *, at_most: float | None = None) -> None:
        """Enter one figure; the goals are for the largest number of waiting calls."""
        is_most = number == WAITING[-1]
        what = f"{number:,} waiting: {what}"
        self.table.put(SECTION, what, unit, self.column, value, at_most=at_most if is_most else None)


async def fill(filling: Filling, wait: Callable[[int], Awaitable[None]], numbers: tuple[int, ...]) -> None:
    """Measure at each number of waiting calls, the number rising."""
    calls: list[asyncio.Task[Any]] = []
    first, since = random.randrange(10**9), now()  # noqa: S311 - no secret
    idle = filling.idle
    try:
        for number in numbers:
            calls += [asyncio.ensure_future(wait(first + n)) for n in range(len(calls), number)]
            reached = await until_started(filling.airflow, since, number)
            if reached < number:
                late = NotMeasured(f"{reached} runs were started within {REACH_SECONDS:.0f} s")
                filling.put(number, CPU, "cores", late)
                return
            filling.counts.reset()
            seen = await observed(filling.airflow)
            if ended := sum(call.done() for call in calls):
                filling.put(number, CPU, "cores", NotMeasured(f"{ended} of the calls did not go on waiting"))
                return
            filling.put(number, "requests to Airflow", "per second", filling.counts.requests / SECONDS)
            cores = seen.cores - idle.cores if is_linux() else NOT_LINUX
            filling.put(number, CPU, "cores", cores, at_most=0.1)
            times = percentile(seen.latencies, 0.5) / percentile(idle.latencies, 0.5)
            filling.put(number, "another request, times its idle p50", "", times, at_most=2)
            filling.put(number, "another request, p95", "ms", percentile(seen.latencies, 0.95) * 1000)
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def until_started(airflow: StockAirflow, since: Any, number: int) -> int:
    """Return how many runs there are, once that is the number, or after a while."""
    deadline, reached = time.monotonic() + REACH_SECONDS, 0
    while reached < number and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            reached = await airflow.count_runs(DAG, since)
        except httpx.HTTPError:
            continue
    return reached


async def observed(airflow: StockAirflow) -> Observed:
    """Ask Airflow something small now and then, for a while."""
    latencies: list[float] = []
    pid = airflow.api_server_pid
    began, before = time.perf_counter(), cpu_seconds(pid) if is_linux() else 0.0
    while time.perf_counter() - began < SECONDS:
        asked = time.perf_counter()
        with contextlib.suppress(httpx.TimeoutException):
            await airflow.ask(f"dags/{DAG}")
        latencies.append(time.perf_counter() - asked)
        await asyncio.sleep(PROBE_PAUSE_SECONDS)
    used = cpu_seconds(pid) - before if is_linux() else 0.0
    return Observed(used / (time.perf_counter() - began), latencies)
