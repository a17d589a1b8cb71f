"""A hundred calls at once, alone and while somebody else overruns Airflow."""

import asyncio, collections, re
from tests.e2e.clients import text_of

import pytest
from mcp import Client

from tests.faults.conftest import Serve, call_on
from tests.faults.fault_proxy import FaultProxy
from tests.faults.record import Record

CALLS = 100
BURST = 30
"""Concurrent triggers that leave a stock api-server without an answer for anybody for a while."""


@pytest.mark.parametrize("burst", [0, BURST])
async def test_a_hundred_parallel_calls_are_answered_rightly(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int, burst: int
) -> None:
    server = serve()
    async with Client(server.url) as client:
        calls = [asyncio.create_task(call_on(client, "add", x + number, seconds=200)) for number in range(CALLS)]
        while len([run for run in await airflow.runs("add") if run["conf"]["x"] >= x]) < CALLS // 4:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        async with airflow.burst("add", burst):
            answers = await asyncio.gather(*calls)

    texts = collections.Counter(re.sub(r"mcp__\S+", "RUN", text_of(a))[:260] for a in answers if a.is_error)
    print(texts, len(proxy.passed), collections.Counter((q.method, re.sub(r"mcp__[^/]*", "RUN", q.path), q.status) for q in proxy.passed), proxy.most_in_flight)  # noqa
    runs = {run["conf"]["x"]: run for run in await airflow.runs("add") if run["conf"]["x"] >= x}
    assert len([run for run in await airflow.runs("add") if run["conf"]["x"] >= x]) == CALLS
    assert [run["dag_run_id"] for run in await airflow.runs("add") if run["state"] == "failed"] == []
    for number, answer in enumerate(answers):
        airflow.require_answer(answer, runs[x + number])
    assert len(proxy.passed) / CALLS <= 10
