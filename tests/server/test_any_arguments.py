"""Any arguments either start a run that Airflow accepts, or are refused with an explanation."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from dagcall.app import Dagcall
from dagcall.errors import InvalidArguments
from dagcall.runs import Call, Listener
from tests.fake_airflow import NOTSET, FakeAirflow, FakeDag, FakeParam, FakeTask
from tests.support.any_arguments import Large, any_arguments, grown
from tests.support.in_memory import Served

PARAMS = {
    "whole": FakeParam(NOTSET, type="integer"),
    "number": FakeParam(1.5, type="number", exclusiveMinimum=-10),
    "text": FakeParam("x", type="string", maxLength=100_000),
    "moment": FakeParam(None, type=["string", "null"], format="date-time"),
    "day": FakeParam("2026-01-01", type="string", format="date"),
    "choice": FakeParam("one", enum=["one", "two", 3]),
    "rows": FakeParam([], type="array"),
    "table": FakeParam({}, type="object"),
    "match": FakeParam("aa", type="string", pattern="^a+$"),
    "either": FakeParam(1, anyOf=[{"type": "integer"}, {"type": "array", "items": {"$ref": "#"}}]),
    "plain": 3,
    "anything": None,
    "odd name\u200b": "x",
}


@pytest.fixture
def airflow() -> FakeAirflow:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("takes", params=PARAMS, tasks=[FakeTask("back", list)]))
    return airflow


def names_of(dagcall: Dagcall) -> list[str]:
    return list(dagcall.catalog.tool("takes").input.properties)


async def try_to_call(dagcall: Dagcall, arguments: dict[str, Any]) -> None:
    async with asyncio.timeout(60):
        with suppress(InvalidArguments):
            listener = Listener(asyncio.get_running_loop().time() + 5)
            await dagcall.runs.call(Call(dagcall.catalog.tool("takes"), arguments, "local", listener))


async def test_any_arguments_start_a_run_or_are_refused(served: Served, airflow: FakeAirflow) -> None:
    async with served(airflow) as dagcall:
        loop = asyncio.get_running_loop()

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(any_arguments(names_of(dagcall)))
        @example({"whole": Large(digits=5000)})
        @example({"whole": 1, "rows": Large(levels=3000)})
        @example({"whole": 1, "table": {"\ud800": "\ud800"}})
        @example({"whole": 1, "either": Large(levels=98)})
        def try_it(arguments: dict[str, Any]) -> None:
            asyncio.run_coroutine_threadsafe(try_to_call(dagcall, grown(arguments)), loop).result(20)

        await asyncio.to_thread(try_it)

    triggers = [request for request in airflow.requests if request.route == "trigger"]
    assert triggers
    assert {request.status for request in triggers} == {200}
