"""A hundred calls at once."""

import asyncio

from mcp import Client

from tests.faults.conftest import Serve, call_on
from tests.faults.fault_proxy import FaultProxy
from tests.faults.matrix import fault
from tests.faults.record import Record

CALLS = 100
REQUESTS_PER_CALL = 3


@fault(
    "a hundred calls at once",
    seen="each its own result",
    checked="100 runs, each answer is its own run's, at most three requests to Airflow a call",
)
async def test_a_hundred_parallel_calls_are_answered_rightly_with_few_requests(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int
) -> None:
    async with Client(serve().url) as client:
        await client.list_tools()
        answers = await asyncio.gather(*(call_on(client, "add", x + n, seconds=200) for n in range(CALLS)))

    runs = await airflow.runs_from("add", x)
    assert [run["state"] for run in runs.values()] == ["success"] * CALLS
    for number, answer in enumerate(answers):
        airflow.require_answer(answer, runs[x + number])
    assert len(proxy.passed) <= REQUESTS_PER_CALL * CALLS
