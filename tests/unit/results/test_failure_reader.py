"""Failed runs as callers see them, read from the fake Airflow."""

import asyncio
from typing import Any

import httpx
import pytest

from dagcall.airflow.overload import FIRST_LIMIT
from dagcall.airflow.rest import READ_ATTEMPTS
from dagcall.app import Dagcall
from dagcall.errors import RunDeleted
from dagcall.mcp.failure_text import failure_text
from dagcall.results.failure_report import MissingLog
from dagcall.runs import Answer, Call, Listener
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask, Fault, Version
from tests.fake_airflow.wire import Route
from tests.server.test_calls import VERSIONS
from tests.support.in_memory import Served

BUDGET_SECONDS = 5.0
RUN_ID = "mcp__run"


def explode(_: Any) -> None:
    raise ValueError("no such region; admin-password was refused")


@pytest.fixture
def airflow() -> FakeAirflow:
    return an_airflow()


def an_airflow(version: Version = "3.3.2") -> FakeAirflow:
    airflow = FakeAirflow(version)
    log = [f"line {number}" for number in range(20)]
    tasks = [FakeTask("prepare", downstream=["explode"]), FakeTask("explode", explode, log=log)]
    airflow.add_dag(FakeDag("d", tasks=tasks))
    return airflow


async def call(dagcall: Dagcall, caller: str = "someone") -> Answer:
    listener = Listener(asyncio.get_running_loop().time() + BUDGET_SECONDS)
    return await dagcall.runs.call(Call(dagcall.catalog.tool("d"), {}, caller, listener))


async def failure(dagcall: Dagcall) -> list[str]:
    answer = await call(dagcall)
    assert answer.failure is not None
    return failure_text(answer.failure).splitlines()


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"tools": [{"dag": "d"}]}, 15),
        ({"tools": [{"dag": "d"}], "server": {"log_lines": 2}}, 2),
        ({"tools": [{"dag": "d"}], "server": {"log_lines": 0}}, 0),
        ({"tools": [{"dag": "d", "log_lines": 3}], "server": {"log_lines": 0}}, 3),
        ({"tools": [{"dag": "d", "log_lines": 0}]}, 0),
    ],
)
async def test_settings_limit_the_log_lines_in_a_report(
    served: Served, airflow: FakeAirflow, settings: dict[str, Any], shown: int
) -> None:
    async with served(airflow, **settings) as dagcall:
        lines = await failure(dagcall)

    assert [line for line in lines if line.startswith("    ")] == [f"    line {n}" for n in range(20 - shown, 20)]


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("status", "why"),
    [
        (403, "dagcall's account in Airflow may not read task logs"),
        (404, "Airflow has no log of it"),
        (500, "Airflow could not return its log"),
    ],
)
async def test_failure_is_reported_if_its_log_is_unavailable(
    served: Served, airflow: FakeAirflow, status: int, why: str
) -> None:
    airflow.add_fault(Fault(route="log", status=status, times=None))
    async with served(airflow) as dagcall:
        lines = await failure(dagcall)

    assert lines[1:4] == [
        f"Task explode failed on try 1 of 1: the reason is unknown, because {why}",
        "Already succeeded, and is not undone: prepare.",
        "Calling again starts a new run.",
    ]


@pytest.mark.virtual_time
async def test_log_read_is_retried_while_there_is_time(served: Served, airflow: FakeAirflow) -> None:
    airflow.add_fault(Fault(route="log", status=503, times=READ_ATTEMPTS))
    async with served(airflow) as dagcall:
        lines = await failure(dagcall)

    assert lines[1] == "Task explode failed on try 1 of 1: ValueError: no such region; admin-password was refused"


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 503}, {"error": httpx.ReadTimeout}, {"error": httpx.RemoteProtocolError}]
)
async def test_logs_that_airflow_cannot_return_stop_no_other_request(
    served: Served, airflow: FakeAirflow, fault: dict[str, Any]
) -> None:
    airflow.add_fault(Fault(route="log", times=None, **fault))
    opened: list[str] = []
    async with served(airflow) as dagcall:
        gate = dagcall.waiter.api.rest.gate
        gate.on_open = lambda: opened.append("opened")
        answers = await asyncio.gather(*(call(dagcall, f"caller {number}") for number in range(10)))
        limit = gate.limit

    reports = [answer.failure for answer in answers if answer.failure]
    assert [report.groups[0].log.missing for report in reports] == [MissingLog.NOT_RETURNED] * 10
    assert opened == []
    assert limit >= FIRST_LIMIT


@pytest.mark.virtual_time
async def test_failure_is_reported_in_time_if_its_log_is_slow(served: Served, airflow: FakeAirflow) -> None:
    hold = airflow.hold("log", times=None)
    loop = asyncio.get_running_loop()
    async with served(airflow) as dagcall:
        began = loop.time()
        lines = await failure(dagcall)
        took = loop.time() - began
        hold.release()

    assert lines[1] == (
        "Task explode failed on try 1 of 1: the reason is unknown, because Airflow could not return its log"
    )
    assert took <= BUDGET_SECONDS


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("route", ["list_task_instances", "log"])
async def test_failed_run_deleted_while_it_is_read_is_reported_as_deleted(
    served: Served, version: Version, route: Route
) -> None:
    airflow = an_airflow(version)
    async with served(airflow) as dagcall:
        text = await deleted_at(airflow, route, dagcall)

    assert text == (
        f"Run {RUN_ID} of dag d failed, but was deleted in Airflow before dagcall had read its outcome. Its side "
        "effects are not undone. Calling again starts a new run."
    )


@pytest.mark.parametrize(("version", "route"), [("3.1.8", "list_task_instances"), ("3.3.2", "wait")])
async def test_successful_run_deleted_while_it_is_read_is_reported_as_deleted(
    served: Served, version: Version, route: Route
) -> None:
    airflow = FakeAirflow(version)
    airflow.add_dag(FakeDag("d", tasks=[FakeTask("a", lambda _: 1), FakeTask("b", lambda _: 2)]))
    async with served(airflow, airflow={"max_in_flight": 1}) as dagcall:  # one place: no streams
        text = await deleted_at(airflow, route, dagcall)

    assert " succeeded, but was deleted in Airflow before dagcall had read its outcome. " in text


async def deleted_at(airflow: FakeAirflow, route: Route, dagcall: Dagcall) -> str:
    """Call the tool, delete the ended run at the first request to this route, and return the error's text."""
    hold = airflow.hold(route)
    calling = asyncio.create_task(call(dagcall))
    await hold.arrived()
    (run,) = airflow.runs
    assert run.is_final
    airflow.delete(run)
    hold.release()
    with pytest.raises(RunDeleted) as caught:
        await calling
    return str(caught.value).replace(run.run_id, RUN_ID)
