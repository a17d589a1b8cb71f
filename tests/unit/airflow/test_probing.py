"""Probes notice soon that Airflow has recovered, and do not load it."""

import asyncio
from typing import Any

import httpx
import pytest

from dagcall.airflow.gate import Gate
from dagcall.airflow.overload import FAILURES_TO_OPEN
from dagcall.app import Dagcall
from tests.fake_airflow import FakeAirflow, Fault
from tests.server.test_calls import add, answer, call
from tests.support.in_memory import Served

pytestmark = pytest.mark.virtual_time


def gate_of(dagcall: Dagcall) -> Gate:
    return dagcall.waiter.api.rest.gate


async def lose(dagcall: Dagcall) -> None:
    """Open the breaker."""
    for _ in range(FAILURES_TO_OPEN):
        gate_of(dagcall).failed(is_overload=False)
    assert gate_of(dagcall).breaker.is_open


def an_airflow() -> FakeAirflow:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    return airflow


@pytest.mark.parametrize("fault", [{"error": httpx.ConnectError}, {"status": 502}, {"error": httpx.ConnectTimeout}])
async def test_calls_succeed_soon_after_a_long_outage(served: Served, fault: dict[str, Any]) -> None:
    airflow = an_airflow()
    async with served(airflow) as dagcall:
        assert dagcall.is_ready
        airflow.add_fault(Fault(times=None, **fault))
        while not gate_of(dagcall).breaker.is_open:
            assert (await call(dagcall, "add", x=1)).is_error
        assert not dagcall.is_ready
        for _ in range(100):
            await asyncio.sleep(3)
            assert (await call(dagcall, "add", x=1)).is_error  # each may be the attempt that extends the pause
        airflow.clear_faults()

        await asyncio.sleep(11)
        assert dagcall.is_ready
        assert (await answer(dagcall, "add", x=1))["results"] == {"total": 3}


async def test_probe_is_anonymous_and_requests_only_the_version(served: Served) -> None:
    airflow = an_airflow()
    async with served(airflow) as dagcall:
        await lose(dagcall)
        airflow.add_fault(Fault(error=httpx.ConnectError, times=None))
        before = len(airflow.requests)
        await asyncio.sleep(60)
        probes = airflow.requests[before:]
        assert 60 / 2.5 - 2 < len(probes) < 60 / 1.5 + 2
        assert {seen.route for seen in probes} == {"version"}
        assert not any("authorization" in seen.headers for seen in probes)


async def test_probes_that_time_out_are_sent_less_often(served: Served) -> None:
    airflow = an_airflow()
    async with served(airflow) as dagcall:
        await lose(dagcall)
        airflow.add_fault(Fault(error=httpx.ReadTimeout, times=None))
        before = len(airflow.requests)
        await asyncio.sleep(600)
        assert len(airflow.requests) - before < 600 / 6 + 5


@pytest.mark.parametrize(
    ("health", "is_back"),
    [
        ({"status": 200, "body": {"metadatabase": {"status": "unhealthy"}}}, False),
        ({"status": 503}, False),
        ({"status": 429}, False),
        ({"status": 403, "body": "<html>not from here</html>"}, True),
        ({"status": 200, "body": []}, True),
    ],
)
async def test_unhealthy_airflow_has_not_recovered(served: Served, health: dict[str, Any], *, is_back: bool) -> None:
    airflow = an_airflow()
    async with served(airflow) as dagcall:
        await lose(dagcall)
        airflow.add_fault(Fault(route="health", times=None, **health))
        await asyncio.sleep(10)
        assert dagcall.is_ready is is_back


async def test_oversized_probe_answer_does_not_count(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagcall.airflow.rest.MAX_ANSWER_BYTES", 10)
    airflow = an_airflow()
    async with served(airflow) as dagcall:
        await lose(dagcall)
        await asyncio.sleep(10)
        assert not dagcall.is_ready


async def test_probes_end_when_a_call_closes_the_breaker(served: Served) -> None:
    airflow = an_airflow()
    async with served(airflow) as dagcall:
        await lose(dagcall)
        gate_of(dagcall).answered()
        before = len(airflow.requests)
        await asyncio.sleep(60)
        assert len(airflow.requests) == before


async def test_process_is_not_ready_while_the_refresh_loop_fails(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: object) -> None:
        raise ZeroDivisionError

    async with served(an_airflow()) as dagcall:
        monkeypatch.setattr("dagcall.airflow.client.AirflowApi.fetch_version", fail)
        refreshing = asyncio.create_task(dagcall.catalog.keep_fresh(30))
        await asyncio.sleep(1)
        assert not dagcall.is_ready
        refreshing.cancel()
        await asyncio.gather(refreshing, return_exceptions=True)
