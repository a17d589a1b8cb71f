"""A thousand dags: from dagcall's start until all are listed, and what they cost Airflow while nothing happens."""

import asyncio
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.counting_proxy import Counts, counting_proxy
from bench.mcp_client import McpConnection
from bench.servers import Servers
from bench.stock_airflow import DAGS, StockAirflow
from bench.table import DAGCALL, NotMeasured, Table
from dagcall.demo.stack import NotReady, until_async

DAGS_IN_FILE = 1000
PARSE_SECONDS = 240.0
LIST_SECONDS = 180.0
LOOK_SECONDS = 0.2
IDLE_SECONDS = 300.0
"""How long the idle catalog is watched at least, after its first refresh; always whole refreshes."""
LONGEST_IDLE_SECONDS = 1800.0
REFRESH_BEGINS = "/api/v2/version"
SECTION = "A thousand dags, stock Airflow"


async def measure(table: Table, servers: Servers, airflow: StockAirflow) -> None:
    """Put the dags into Airflow, and start dagcall."""
    shutil.copy(DAGS / "thousand.py.txt", airflow.dags / "thousand.py")
    what = "from dagcall's start until all are listed"
    try:
        await airflow.wait_for_dags("many", DAGS_IN_FILE, seconds=PARSE_SECONDS)
    except NotReady:
        table.put(SECTION, what, "s", DAGCALL, NotMeasured(f"Airflow had not read them after {PARSE_SECONDS:.0f} s"))
        return
    cache = servers.work / "cache-of-a-thousand"
    shutil.rmtree(cache, ignore_errors=True)
    account = airflow.account(f"http://127.0.0.1:{airflow.port}")
    config = servers.write_config(account, dags="many_*", cache=cache)
    serving, took = await seconds_until_listed(servers, config)
    table.put(SECTION, "from dagcall's start until it answers", "s", DAGCALL, serving)
    table.put(SECTION, what, "s", DAGCALL, took, at_most=60)
    _, took = await seconds_until_listed(servers, config)
    table.put(SECTION, f"{what}, started again, with the tools remembered", "s", DAGCALL, took)
    async with counting_proxy(airflow.port) as (url, counts):
        rates = await idle_rates(servers, servers.write_config(airflow.account(url), dags="many_*"), counts)
    what = "requests a minute of an idle catalog of 1,000 dags"
    table.put(SECTION, what, "1/min", DAGCALL, sum(rates.values()), at_most=20)
    for kind, rate in sorted(rates.items()):
        table.put(SECTION, f"of these, {kind}", "1/min", DAGCALL, rate)


async def seconds_until_listed(servers: Servers, config: Path) -> tuple[float, float | NotMeasured]:
    """Start dagcall; return how long it took to answer, and to list all dags."""
    began = time.perf_counter()
    async with servers.server("dagcall", _command(config)) as server:
        serving = time.perf_counter() - began
        listed = await _number_listed(server.port, until=began + LIST_SECONDS)
        took = time.perf_counter() - began
    if listed < DAGS_IN_FILE:
        return serving, NotMeasured(f"{listed:,} of {DAGS_IN_FILE:,} were listed after {LIST_SECONDS:.0f} s")
    return serving, took


async def idle_rates(servers: Servers, config: Path, counts: Counts) -> dict[str, float]:
    """Start dagcall, and watch how it reads the dags again and again; return the requests a minute of each kind."""

    async def are_enough() -> bool:
        begins = _begins(counts.seen)
        return len(begins) > 1 and counts.seen[begins[-1]][0] - counts.seen[begins[0]][0] >= IDLE_SECONDS

    async with servers.server("dagcall", _command(config)) as server:
        await _number_listed(server.port, until=time.perf_counter() + LIST_SECONDS)
        counts.reset()  # without the first refresh, which reads all dags
        await until_async(are_enough, "whole refreshes", LONGEST_IDLE_SECONDS)
        return rates_of(counts.seen)


def rates_of(seen: Sequence[tuple[float, str]]) -> dict[str, float]:
    """Return the requests a minute of each kind, from the beginning of the first refresh to that of the last."""
    begins = _begins(seen)
    first, last = begins[0], begins[-1]
    minutes = (seen[last][0] - seen[first][0]) / 60
    kinds = Counter(_kind(path) for _, path in seen[first:last])
    return {kind: number / minutes for kind, number in kinds.items()}


def _begins(seen: Sequence[tuple[float, str]]) -> list[int]:
    return [number for number, (_, path) in enumerate(seen) if path == REFRESH_BEGINS]


def _kind(path: str) -> str:
    return re.sub(r"(?<=/dags/)(?!~)[^/]+", "{dag_id}", path)


async def _number_listed(port: int, *, until: float) -> int:
    """Wait until all dags are listed, at most until then; return how many are."""
    listed = 0
    while listed < DAGS_IN_FILE and time.perf_counter() < until:
        async with await McpConnection.opened(port) as connection:
            tools = (await connection.list_tools())["tools"]
        listed = sum(tool["name"].startswith("many_") for tool in tools)
        await asyncio.sleep(LOOK_SECONDS)
    return listed


def _command(config: Path) -> Callable[[int], list[str]]:
    return lambda port: [sys.executable, "-m", "dagcall", "serve", "--config", str(config), "--port", str(port)]
