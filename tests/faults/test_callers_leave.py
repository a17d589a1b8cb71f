"""Callers that disconnect: the run continues, the server keeps nothing of the call, and a repeat gets the run."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.faults.conftest import Mode, Serve, call, call_on, leave
from tests.faults.matrix import fault
from tests.faults.record import Record, until
from tests.support.plain_http import PLAIN
from tests.support.serving_process import LEGACY, MODERN, STOP_SECONDS, HttpServer, headers, request

ENDS_THE_RUN = """
[[tools]]
dag = "held"
on_cancel = "fail"
"""
modes = pytest.mark.parametrize("mode", ["auto", "legacy"])


LONG = str(2 * STOP_SECONDS)
"""A drain time longer than the tests wait for the server to stop."""


async def require_no_waiting_call(server: HttpServer) -> None:
    """Check that no call is in progress: the server stops without waiting for the drain time."""
    code, _ = await asyncio.to_thread(server.stop)
    assert code == 0


@fault("the caller disconnects while the run continues, and repeats its call", seen="the result of the first run")
@modes
async def test_repeat_gets_the_run_after_a_disconnect(airflow: Record, serve: Serve, x: int, mode: Mode) -> None:
    server = serve(DAGCALL_SERVER_DRAIN_SECONDS=LONG)
    calling = asyncio.create_task(call(server.url, "held", x, mode))
    run = await airflow.the_run("held", x)
    await leave(calling)

    repeated = asyncio.create_task(call(server.url, "held", x, mode))
    await airflow.end(run)

    await airflow.require_one_run("held", x, [await repeated])
    await require_no_waiting_call(server)


@fault(
    "the caller's connection is dropped, and the call is repeated on another server",
    seen="the result of the first run",
    checked="one run, which was not cancelled; nothing waits on the first server",
)
@pytest.mark.parametrize("revision", [MODERN, LEGACY])
async def test_dropped_connection_leaves_nothing_waiting(airflow: Record, serve: Serve, x: int, revision: str) -> None:
    server = serve(DAGCALL_SERVER_DRAIN_SECONDS=LONG)
    message = request(revision, 1, "tools/call", {"name": "held", "arguments": {"x": x}})
    async with (
        httpx.AsyncClient(trust_env=False, verify=PLAIN, timeout=60) as http,
        http.stream("POST", server.url, json=message, headers=headers(revision, message)) as response,
    ):
        assert response.is_success
        run = await airflow.the_run("held", x)

    await require_no_waiting_call(server)
    assert (await airflow.the_run("held", x))["end_date"] is None
    answer = asyncio.create_task(call(serve().url, "held", x))
    await airflow.end(run)
    await airflow.require_one_run("held", x, [await answer])


@fault("a call over stdio is cancelled and repeated", seen="the result of the first run")
@modes
async def test_repeat_gets_the_run_of_a_call_cancelled_over_stdio(
    airflow: Record, settings: Callable[..., dict[str, str]], x: int, mode: Mode, tmp_path: Path
) -> None:
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "dagcall", "serve", "--stdio"], env=settings()
    )
    with (tmp_path / "errors").open("w") as errors:
        async with Client(stdio_client(parameters, errlog=errors), mode=mode) as client:
            calling = asyncio.create_task(call_on(client, "held", x))
            run = await airflow.the_run("held", x)
            await leave(calling)
            repeated = asyncio.create_task(call_on(client, "held", x))
            await airflow.end(run)
            await airflow.require_one_run("held", x, [await repeated])


@fault(
    'the caller disconnects, with `on_cancel = "fail"`', seen="nothing: it is gone", checked="the run is set to failed"
)
@modes
async def test_disconnect_fails_the_run_with_on_cancel_fail(airflow: Record, serve: Serve, x: int, mode: Mode) -> None:
    server = serve(ENDS_THE_RUN)
    calling = asyncio.create_task(call(server.url, "held", x, mode))
    await airflow.the_run("held", x)

    await leave(calling)

    assert await airflow.the_ended_run("held", x, "failed")


@fault(
    'one of two callers with the same key disconnects, with `on_cancel = "fail"`',
    seen="the other caller: the result",
    checked="the run continues; one run, and the answer is its result",
)
async def test_run_continues_while_another_caller_waits_for_it(airflow: Record, serve: Serve, x: int) -> None:
    server = serve(ENDS_THE_RUN)
    have_run = [asyncio.Event(), asyncio.Event()]
    leaving, staying = (
        asyncio.create_task(call(server.url, "held", x, idempotency_key=f"k{x}", has_run=has_run))
        for has_run in have_run
    )
    run = await airflow.the_run("held", x)
    await asyncio.gather(*(has_run.wait() for has_run in have_run))

    await leave(leaving)
    await asyncio.sleep(5)  # longer than the grace period
    assert (await airflow.the_run("held", x))["end_date"] is None
    await airflow.end(run)

    await airflow.require_one_run("held", x, [await staying])
    assert await until(lambda: airflow.runs_with("held", x))
