"""A thousand dags: from dagcall's start until all are listed."""

import asyncio
import shutil
import sys
import time
from pathlib import Path

from bench.mcp_client import McpConnection
from bench.servers import Servers
from bench.stock_airflow import DAGS, StockAirflow
from bench.table import DAGCALL, NotMeasured, Table
from dagcall.demo.stack import NotReady

DAGS_IN_FILE = 1000
PARSE_SECONDS = 240.0
LIST_SECONDS = 180.0
LOOK_SECONDS = 0.2
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


async def seconds_until_listed(servers: Servers, config: Path) -> tuple[float, float | NotMeasured]:
    """Start dagcall; return how long it took to answer, and to list all dags."""
    words = [sys.executable, "-m", "dagcall", "serve", "--config", str(config)]
    began = time.perf_counter()
    async with servers.server("dagcall", lambda port: [*words, "--port", str(port)]) as server:
        serving = time.perf_counter() - began
        listed = 0
        while listed < DAGS_IN_FILE and time.perf_counter() - began < LIST_SECONDS:
            async with await McpConnection.opened(server.port) as connection:
                tools = (await connection.list_tools())["tools"]
            listed = sum(tool["name"].startswith("many_") for tool in tools)
            await asyncio.sleep(LOOK_SECONDS)
        took = time.perf_counter() - began
    if listed < DAGS_IN_FILE:
        return serving, NotMeasured(f"{listed:,} of {DAGS_IN_FILE:,} were listed after {LIST_SECONDS:.0f} s")
    return serving, took
