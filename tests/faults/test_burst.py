"""A hundred calls at once, and somebody else who overruns Airflow."""

import asyncio

import pytest
from mcp import Client

from tests.faults.conftest import Serve, call_on
from tests.faults.matrix import fault
from tests.faults.record import Record

CALLS = 100
BURST = 30
"""Concurrent triggers that leave a stock api-server without an answer for anybody for a while."""


@fault(
    "somebody else sends Airflow 30 triggers at once, in the middle of 100 calls",
    seen="each its own result",
    checked="100 runs, all of them successful, and each answer is its own run's",
)
@pytest.mark.overload
async def test_a_hundred_parallel_calls_outlive_a_burst_of_somebody_else(airflow: Record, serve: Serve, x: int) -> None:
    async with Client(serve().url) as client:
        await client.list_tools()
        calls = [
            asyncio.create_task(call_on(client, "add", x + n, seconds=500, wait_seconds=480)) for n in range(CALLS)
        ]
        await asyncio.wait(calls, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        async with airflow.burst("add", BURST):
            answers = await asyncio.gather(*calls)

    runs = await airflow.runs_from("add", x)
    assert [run["state"] for run in runs.values()] == ["success"] * CALLS
    for number, answer in enumerate(answers):
        airflow.require_answer(answer, runs[x + number])
