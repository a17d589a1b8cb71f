"""A hundred calls at once."""

import asyncio
import time

from mcp import Client

from tests.faults.conftest import Serve, call_on
from tests.faults.fault_proxy import FaultProxy
from tests.faults.matrix import fault
from tests.faults.record import Record

CALLS = 100
REQUESTS_PER_CALL = 3
REQUESTS_PER_SECOND = 2
"""Requests that do not depend on the number of calls: whether the dag can run, and which runs are active or ended."""


@fault(
    "a hundred calls at once",
    seen="each call: its own result",
    checked="100 runs; each answer is the result of its own run; at most three requests per call plus two per second",
)
async def test_hundred_parallel_calls_get_their_results_with_few_requests(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int
) -> None:
    async with Client(serve().url) as client:
        await client.list_tools()
        began = time.monotonic()
        answers = await asyncio.gather(*(call_on(client, "add", x + n, seconds=200) for n in range(CALLS)))

    seconds = time.monotonic() - began
    runs = await airflow.runs_from("add", x)
    assert [run["state"] for run in runs.values()] == ["success"] * CALLS
    for number, answer in enumerate(answers):
        airflow.require_answer(answer, runs[x + number])
    assert len(proxy.passed) <= REQUESTS_PER_CALL * CALLS + REQUESTS_PER_SECOND * seconds
