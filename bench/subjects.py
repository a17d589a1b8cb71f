"""The three ways to run a dag and wait for it, side by side: each makes one call and says what came of it."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from bench.counting_proxy import Counts, counting_proxy
from bench.mcp_client import McpConnection
from bench.servers import Servers, environ
from bench.stock_airflow import StockAirflow, now
from dagcall.demo.installation import find_uv, run

PACKAGE = "astro-airflow-mcp"
ASTRO_TIMEOUT = 240.0
"""It asks every 2 s then, as often as it ever does; with its default of an hour every 10 s."""
DAG = "bench_double"


@dataclass(frozen=True)
class Outcome:
    """What one call came to."""

    run_id: str | None
    answered_at: float
    """Seconds since the epoch."""
    is_right: bool


Call = Callable[[int], Coroutine[Any, Any, Outcome]]
"""Doubles a number by running the dag."""


@dataclass(frozen=True)
class Subject:
    """One way to call, through a proxy that counts its requests to Airflow."""

    call: Call
    counts: Counts


@asynccontextmanager
async def dagcall(servers: Servers, airflow: StockAirflow) -> AsyncIterator[Subject]:
    """Call through `dagcall serve`, over HTTP."""
    async with (
        counting_proxy(airflow.port) as (url, counts),
        servers.dagcall(airflow.account(url), dags="bench_*") as server,
    ):

        async def call(n: int) -> Outcome:
            async with await McpConnection.opened(server.port) as connection:
                result = await connection.call_tool(DAG, {"n": n})
            content = result.get("structuredContent") or {}
            is_right = content.get("results") == {"double": {"n": n, "double": 2 * n}}
            return Outcome(content.get("dag_run_id"), time.time(), is_right)

        yield Subject(call, counts)


@asynccontextmanager
async def script(airflow: StockAirflow) -> AsyncIterator[Subject]:
    """Call as a plain script does: POST, then `/wait` with the result."""
    async with counting_proxy(airflow.port) as (url, counts), logged_in(airflow, url) as http:

        async def call(n: int) -> Outcome:
            body = {"logical_date": now().isoformat(), "conf": {"n": n}}
            run = (await http.post(f"dags/{DAG}/dagRuns", json=body)).raise_for_status().json()
            run_id = run["dag_run_id"]
            last = ""
            path = f"dags/{DAG}/dagRuns/{run_id}/wait"
            query: dict[str, str | int] = {"interval": 1, "result": "double"}
            async with http.stream("GET", path, params=query, headers={"Accept-Encoding": "identity"}) as answer:
                answer.raise_for_status()
                async for line in answer.aiter_lines():
                    last = line or last
            is_right = json.loads(last or "{}").get("results") == {"double": {"n": n, "double": 2 * n}}
            return Outcome(run_id, time.time(), is_right)

        yield Subject(call, counts)


@asynccontextmanager
async def logged_in(airflow: StockAirflow, url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of Airflow's API, with as many connections as it takes."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    headers = {"Authorization": airflow.http.headers["Authorization"]}
    async with httpx.AsyncClient(
        base_url=f"{url}/api/v2/", headers=headers, timeout=60, limits=limits, trust_env=False
    ) as http:
        yield http


@asynccontextmanager
async def astro(work: Path, airflow: StockAirflow) -> AsyncIterator[Subject]:
    """Call the tool `trigger_dag_and_wait` of `astro-airflow-mcp`, in an environment of its own, over stdio.

    Raises:
        InstallationError: it cannot be installed.
    """
    program = await installed_astro(work)
    async with AsyncExitStack() as stack:
        url, counts = await stack.enter_async_context(counting_proxy(airflow.port))
        settings = {
            "AIRFLOW_API_URL": url,
            "AIRFLOW_USERNAME": "admin",
            "AIRFLOW_PASSWORD": airflow.stack.secrets.admin_password,
            "AF_TELEMETRY_DISABLED": "1",
            "HOME": str(work),
        }
        errors = stack.enter_context((work / "logs" / "astro-airflow-mcp.log").open("w"))
        process = StdioServerParameters(command=str(program), args=["--transport", "stdio"], env=environ() | settings)
        client = await stack.enter_async_context(Client(stdio_client(process, errlog=errors)))

        async def call(n: int) -> Outcome:
            arguments = {"dag_id": DAG, "conf": {"n": n}, "timeout": ASTRO_TIMEOUT}
            result = await client.call_tool("trigger_dag_and_wait", arguments, read_timeout_seconds=300)
            said = _json_in(result.content)
            ended = said.get("dag_run") or {}
            return Outcome(ended.get("dag_run_id"), time.time(), ended.get("state") == "success")

        yield Subject(call, counts)


async def installed_astro(work: Path) -> Path:
    """Install the package unless it is there; return its program."""
    folder = work / PACKAGE
    program = folder / "bin" / PACKAGE
    if not program.exists():
        own = environ()
        uv = find_uv(own) or "uv"
        await run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], work, own, _ignore)
        python = str(folder / "bin" / "python")
        await run([uv, "pip", "install", "--quiet", "--python", python, PACKAGE], work, own, _ignore)
    return program


def _ignore(_line: str) -> None:
    return


def _json_in(content: Any) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads(content[0].text)
    except (IndexError, AttributeError, ValueError):
        return {}
    return said


async def all_at_once(call: Call, numbers: range, *, seconds: float) -> list[Outcome]:
    """Make all calls at once; leave out those without an answer, and give up after so many seconds."""
    tasks = [asyncio.create_task(call(n)) for n in numbers]
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    return [outcome for outcome in outcomes if isinstance(outcome, Outcome)]
