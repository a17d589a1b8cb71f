"""A hundred calls at once, while another client overloads Airflow."""

import asyncio

import pytest
from mcp import Client

from tests.faults.conftest import Serve, call_on
from tests.faults.matrix import fault
from tests.faults.record import Record

CALLS = 100
BURST = 30
"""The number of concurrent triggers that make a stock api-server stop answering for a while."""


@fault(
    "another client sends Airflow 30 triggers at once, during 100 calls",
    seen="each call: its own result",
    checked="100 successful runs; each answer is the result of its own run",
)
@pytest.mark.overload
async def test_hundred_parallel_calls_survive_a_burst_of_another_client(airflow: Record, serve: Serve, x: int) -> None:
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
