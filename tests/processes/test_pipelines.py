"""A program that makes a hundred identical calls, eight at a time, on the fake Airflow over a real socket."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.fake_airflow import NOTSET, FakeAirflow, FakeDag, FakeParam, FakeTask
from tests.fake_airflow.serving import WallClock, served
from tests.support.serving_process import HttpServer, environ_for, http_server

CALLS = 100
AT_ONCE = 8
RUN_SECONDS = 1.2
"""Longer than a call has to wait before a later call shares its run."""
APART_SECONDS = 0.1
"""The pause between the first calls, so that some runs end while others continue."""

READS_ONLY = """
[[tools]]
dag = "add"
annotations.read_only = true
"""
ANYTHING = """
[[tools]]
dag = "add"
"""


@pytest.fixture
def airflow() -> FakeAirflow:
    airflow = FakeAirflow(clock=WallClock())
    x = FakeParam(NOTSET, type="integer")
    add = FakeTask("total", lambda params: params["x"] + 1)
    airflow.add_dag(FakeDag("add", params={"x": x}, tasks=[add], seconds=RUN_SECONDS, max_active_runs=CALLS))
    return airflow


@pytest.fixture
def server(airflow: FakeAirflow, tmp_path: Path, tools: str) -> Iterator[HttpServer]:
    config = tmp_path / "dagcall.toml"
    with served(airflow) as url:
        environ = environ_for(url, DAGCALL_CONFIG=str(config))
        del environ["DAGCALL_DAGS"]
        config.write_text(tools)
        with http_server(environ) as running:
            yield running


async def answers_of(url: str, count: int, *, at_once: int, apart: float = 0.0) -> list[dict[str, Any]]:
    """Make identical calls and return their answers."""
    places = asyncio.Semaphore(at_once)
    async with asyncio.timeout(120), Client(url) as client:
        await client.list_tools()

        async def one(number: int) -> dict[str, Any]:
            async with places:
                await asyncio.sleep(apart * number if number < at_once else 0)
                answer = await client.call_tool("add", {"x": 1})
            assert not answer.is_error
            assert isinstance(answer.structured_content, dict)
            return answer.structured_content

        return await asyncio.gather(*(one(number) for number in range(count)))


def require_right(answers: list[dict[str, Any]], airflow: FakeAirflow) -> None:
    """Check that every answer is correct, and that each answer with another call's run is marked as shared."""
    runs = {run.run_id for run in airflow.runs}
    own = [answer["dag_run_id"] for answer in answers if not answer.get("shared")]
    assert sorted(own) == sorted(runs)
    for answer in answers:
        assert (answer["state"], answer["results"]) == ("success", {"total": 2})
        assert answer["dag_run_id"] in runs
        assert "replayed" not in answer
        assert ("shared" in answer) == ("an identical call of yours was already" in answer.get("message", "").lower())


@pytest.mark.parametrize("tools", [pytest.param(READS_ONLY, id="reads only")])
async def test_read_only_tool_starts_a_run_for_each_call(airflow: FakeAirflow, server: HttpServer) -> None:
    answers = await answers_of(server.url, CALLS, at_once=AT_ONCE, apart=APART_SECONDS)

    require_right(answers, airflow)
    assert len(airflow.runs) == CALLS


@pytest.mark.parametrize("tools", [pytest.param(ANYTHING, id="anything")])
async def test_shared_runs_of_another_tool_are_marked(airflow: FakeAirflow, server: HttpServer) -> None:
    answers = await answers_of(server.url, CALLS, at_once=AT_ONCE, apart=APART_SECONDS)

    require_right(answers, airflow)
    assert AT_ONCE <= len(airflow.runs) < CALLS


@pytest.mark.parametrize("tools", [pytest.param(ANYTHING, id="anything")])
async def test_simultaneous_identical_calls_each_get_their_own_run(airflow: FakeAirflow, server: HttpServer) -> None:
    answers = await answers_of(server.url, 20, at_once=20)

    require_right(answers, airflow)
    assert len(airflow.runs) == 20
