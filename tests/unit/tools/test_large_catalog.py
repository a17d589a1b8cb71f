"""A catalog of many dags: what it costs Airflow while nothing changes, and how soon a change is noticed."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dagcall.app import Dagcall
from dagcall.tools.pace import REQUESTS_A_MINUTE, SMALL
from tests.fake_airflow import FakeAirflow, FakeDag, FakeParam, FakeTask, Fault
from tests.fake_airflow.access import FakeUser
from tests.support.in_memory import Served

pytestmark = pytest.mark.virtual_time

EVERY_SECONDS = 30
LARGE = 200
"""A catalog that is large, yet listed every 30 s."""
IN_TURN_SECONDS = 18 * 60
"""How long it takes until each of its dags has been reread."""


def airflow_with(number: int) -> FakeAirflow:
    airflow = FakeAirflow()
    for n in range(number):
        airflow.add_dag(a_dag(n))
    return airflow


def a_dag(n: int, **more: Any) -> FakeDag:
    return FakeDag(f"dag_{n:04}", params={"n": FakeParam(1, type="integer")}, **more)


@asynccontextmanager
async def refreshing(served: Served, airflow: FakeAirflow, /, **settings: Any) -> AsyncIterator[Dagcall]:
    """Serve, and refresh as the server does; the first refreshes are over."""
    async with served(airflow, **settings) as dagcall:
        task = asyncio.create_task(dagcall.catalog.keep_fresh(EVERY_SECONDS))
        await asyncio.sleep(2 * EVERY_SECONDS)
        airflow.requests.clear()
        try:
            yield dagcall
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def minimum(dagcall: Dagcall, dag_id: str) -> int | None:
    schema = dagcall.catalog.tool(dag_id).wire.input_schema
    minimum: int | None = schema["properties"]["n"].get("minimum")
    return minimum


def rewrite(airflow: FakeAirflow, dag_id: str) -> None:
    """Change a param, which no list shows, and parse the file."""
    dag = airflow.dags[dag_id]
    dag.params = {"n": FakeParam(5, type="integer", minimum=3)}
    airflow.parse(dag)


async def seconds_until(is_so: Callable[[], bool], at_most: float) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not is_so():
        assert loop.time() - began < at_most
        await asyncio.sleep(1)
    return loop.time() - began


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("number", "allowed"),
    [
        pytest.param(1000, {"dags": ["*"]}, id="a pattern"),
        pytest.param(300, {"tools": [{"dag": f"dag_{n:04}"} for n in range(300)]}, id="named dags"),
        pytest.param(300, {"tools": [{"dags": "*", "results": ["work"]}]}, id="named results"),
    ],
)
async def test_idle_catalog_costs_little_although_airflow_parses_all_files_again_and_again(
    served: Served, number: int, allowed: dict[str, Any]
) -> None:
    airflow = airflow_with(number)
    async with refreshing(served, airflow, **allowed) as dagcall:
        await asyncio.sleep(900)
        routes = [request.route for request in airflow.requests]
        assert len(dagcall.catalog.snapshot.tools) == number
    begins = [place for place, route in enumerate(routes) if route == "version"]
    whole_refreshes = routes[begins[0] : begins[-1]]
    seconds = (len(begins) - 1) * dagcall.catalog.pause_seconds
    assert len(begins) > 9
    assert len(whole_refreshes) <= REQUESTS_A_MINUTE * seconds / 60


@pytest.mark.untraced
async def test_every_dag_of_a_large_catalog_is_reread_in_turn(served: Served) -> None:
    airflow = airflow_with(100)
    airflow.parses = False
    async with refreshing(served, airflow):
        await asyncio.sleep(110 * EVERY_SECONDS)
        reread = Counter(request.path for request in airflow.requests_to("dag_details"))
    assert len(reread) == 100
    assert max(reread.values()) - min(reread.values()) <= 1


async def pause(airflow: FakeAirflow) -> None:
    airflow.dags["dag_0150"].is_paused = True


async def delete(airflow: FakeAirflow) -> None:
    del airflow.dags["dag_0150"]


async def break_file(airflow: FakeAirflow) -> None:
    airflow.dags["dag_0150"].has_import_errors = True


@pytest.mark.parametrize("change", [pause, delete, break_file])
async def test_dag_that_is_gone_is_noticed_at_the_next_refresh(
    served: Served, change: Callable[[FakeAirflow], Awaitable[None]]
) -> None:
    airflow = airflow_with(LARGE)
    async with refreshing(served, airflow) as dagcall:
        await change(airflow)
        await asyncio.sleep(EVERY_SECONDS + 1)
        assert "dag_0150" not in dagcall.catalog.snapshot.tools


async def test_new_dag_is_noticed_at_the_next_refresh(served: Served) -> None:
    airflow = airflow_with(LARGE)
    async with refreshing(served, airflow) as dagcall:
        airflow.add_dag(a_dag(LARGE))
        await asyncio.sleep(EVERY_SECONDS + 1)
        assert f"dag_{LARGE:04}" in dagcall.catalog.snapshot.tools


async def test_unpaused_dag_is_read_at_once(served: Served) -> None:
    """It may have changed while it was paused."""
    airflow = airflow_with(LARGE)
    airflow.dags["dag_0150"].is_paused = True
    async with refreshing(served, airflow) as dagcall:
        rewrite(airflow, "dag_0150")
        airflow.dags["dag_0150"].is_paused = False
        await asyncio.sleep(EVERY_SECONDS + 1)
        assert minimum(dagcall, "dag_0150") == 3


async def test_new_version_of_a_dag_is_noticed_at_the_next_refresh(served: Served) -> None:
    airflow = airflow_with(LARGE)
    async with refreshing(served, airflow) as dagcall:
        for n in range(0, LARGE, 4):
            rewrite(airflow, f"dag_{n:04}")
            airflow.dags[f"dag_{n:04}"].version_number += 1
        await asyncio.sleep(EVERY_SECONDS + 1)
        assert [minimum(dagcall, f"dag_{n:04}") for n in range(LARGE)] == [3, None, None, None] * (LARGE // 4)


async def test_dag_rewritten_in_place_is_noticed_in_its_turn(served: Served) -> None:
    airflow = airflow_with(LARGE)
    async with refreshing(served, airflow) as dagcall:
        rewrite(airflow, "dag_0150")
        took = await seconds_until(lambda: minimum(dagcall, "dag_0150") == 3, at_most=IN_TURN_SECONDS)
        assert took > EVERY_SECONDS


async def test_dag_that_alone_was_parsed_is_reread_at_the_next_refresh(served: Served) -> None:
    airflow = airflow_with(LARGE)
    airflow.parses = False
    async with refreshing(served, airflow) as dagcall:
        rewrite(airflow, "dag_0150")
        await asyncio.sleep(EVERY_SECONDS + 1)
        assert minimum(dagcall, "dag_0150") == 3


async def test_dag_that_a_call_found_outdated_is_read_at_once(served: Served) -> None:
    airflow = airflow_with(LARGE)
    async with refreshing(served, airflow) as dagcall:
        rewrite(airflow, "dag_0150")
        dagcall.catalog.refresh_soon("dag_0150")
        await asyncio.sleep(1)
        assert minimum(dagcall, "dag_0150") == 3


async def test_dag_found_outdated_during_a_refresh_keeps_its_tool_and_is_read_in_the_next(served: Served) -> None:
    airflow = airflow_with(SMALL + 10)
    async with refreshing(served, airflow) as dagcall:
        held = airflow.hold("dag_details")
        await asyncio.sleep(EVERY_SECONDS + 1)
        rewrite(airflow, "dag_0040")
        dagcall.catalog.refresh_soon("dag_0040")
        held.release()
        await asyncio.sleep(1)
        assert dagcall.catalog.snapshot.withheld == ()
        assert minimum(dagcall, "dag_0040") == 3


async def test_hidden_details_of_dags_withhold_their_tools_until_they_are_shown_again(served: Served) -> None:
    airflow = airflow_with(LARGE)
    hidden = ("dag_0001", "dag_0150", "dag_0199")
    async with refreshing(served, airflow) as dagcall:
        airflow.add_fault(
            Fault(
                route="dag_details",
                status=403,
                body={"detail": "Forbidden"},
                times=None,
                when=lambda seen: any(f"/{dag_id}/" in seen.path for dag_id in hidden),
            )
        )
        for dag_id in hidden:
            dagcall.catalog.refresh_soon(dag_id)
        for _ in range(5):
            await asyncio.sleep(EVERY_SECONDS)
            assert {item.what for item in dagcall.catalog.snapshot.withheld} == set(hidden)
        airflow.clear_faults()
        await asyncio.sleep(EVERY_SECONDS + 1)
        assert dagcall.catalog.snapshot.withheld == ()


@pytest.mark.parametrize("status", [401, 500])
async def test_airflow_that_fails_while_versions_are_read_changes_no_tool(served: Served, status: int) -> None:
    airflow = airflow_with(SMALL + 10)
    async with refreshing(served, airflow) as dagcall:
        airflow.add_fault(Fault(route="dag_versions", status=status, body={"detail": "Not authenticated"}, times=None))
        await asyncio.sleep(EVERY_SECONDS + 1)
        assert (dagcall.catalog.snapshot.problem is not None) == (status == 401)
        assert len(dagcall.catalog.snapshot.tools) == SMALL + 10


async def test_changes_are_noticed_later_if_the_account_may_not_read_versions(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    airflow = airflow_with(LARGE)
    airflow.access.users["agent"] = FakeUser("agent", "p", may_read_versions=False)
    async with refreshing(served, airflow, dags=["*"], airflow={"username": "agent", "password": "p"}) as dagcall:
        rewrite(airflow, "dag_0150")
        airflow.dags["dag_0150"].version_number += 1
        await seconds_until(lambda: minimum(dagcall, "dag_0150") == 3, at_most=IN_TURN_SECONDS)
        assert len(airflow.requests) <= 18 * REQUESTS_A_MINUTE
    told = [message for message in caplog.messages if "new versions of dags" in message]
    assert len(told) == 1
    assert "only after 17 min: Airflow at http://airflow.test refused /api/v2/dags/~/dagVersions" in told[0]
    assert "(with FAB: can_read on DAG Versions)" in told[0]


async def test_failing_list_of_versions_costs_no_tool_and_no_change(served: Served) -> None:
    airflow = airflow_with(LARGE)
    async with refreshing(served, airflow) as dagcall:
        airflow.add_fault(Fault(route="dag_versions", status=500, times=None))
        rewrite(airflow, "dag_0150")
        airflow.dags["dag_0150"].version_number += 1
        await asyncio.sleep(EVERY_SECONDS + 1)
        assert len(dagcall.catalog.snapshot.tools) == LARGE
        airflow.clear_faults()
        await asyncio.sleep(2 * EVERY_SECONDS)
        assert minimum(dagcall, "dag_0150") == 3


async def test_small_catalog_needs_no_right_to_read_versions(served: Served) -> None:
    airflow = airflow_with(SMALL)
    async with refreshing(served, airflow) as dagcall:
        rewrite(airflow, "dag_0040")
        await asyncio.sleep(EVERY_SECONDS + 1)
        assert minimum(dagcall, "dag_0040") == 3
        assert airflow.requests_to("dag_versions") == []


@pytest.mark.parametrize(
    ("others", "fault", "one_by_one"),
    [
        pytest.param(0, None, False, id="few others"),
        pytest.param(2000, None, True, id="many others"),
        pytest.param(0, Fault(route="dags", status=403, body={"detail": "Forbidden"}, times=None), True, id="no list"),
    ],
)
async def test_named_dags_are_found_the_cheaper_way(
    served: Served, others: int, fault: Fault | None, *, one_by_one: bool
) -> None:
    airflow = airflow_with(10)
    for n in range(others):
        airflow.add_dag(FakeDag(f"other_{n}"))
    airflow.dags["dag_0003"].is_stale = True
    if fault is not None:
        airflow.add_fault(fault)
    tools = [{"dag": f"dag_{n:04}"} for n in range(11)]
    async with served(airflow, tools=tools) as dagcall:
        assert len(dagcall.catalog.snapshot.tools) == 9
        reasons = {item.what: item.reason for item in dagcall.catalog.snapshot.withheld}
    assert reasons == {
        "dag_0003": "it is no longer in Airflow's dag folders",
        "dag_0010": "there is no such dag in Airflow, or dagcall's account may not see it",
    }
    assert len(airflow.requests_to("dag")) == (11 if one_by_one else 2)


async def test_tasks_that_may_not_be_read_are_not_asked_for_at_each_refresh(served: Served) -> None:
    airflow = airflow_with(LARGE)
    airflow.add_fault(Fault(route="tasks", status=403, body={"detail": "Forbidden"}, times=None))
    async with refreshing(served, airflow) as dagcall:
        await asyncio.sleep(600)
        assert len(dagcall.catalog.snapshot.tools) == LARGE
    assert len(airflow.requests) <= 11 * REQUESTS_A_MINUTE


async def test_tasks_that_could_not_be_read_are_asked_for_again_if_results_are_named(served: Served) -> None:
    airflow = airflow_with(60)
    airflow.parses = False
    airflow.add_fault(Fault(route="tasks", status=500, times=None, when=lambda seen: "dag_0055" in seen.path))
    async with refreshing(served, airflow, tools=[{"dags": "*", "results": ["work"]}]) as dagcall:
        assert len(dagcall.catalog.snapshot.tools) == 59
        airflow.clear_faults()
        await asyncio.sleep(EVERY_SECONDS + 1)
        assert len(dagcall.catalog.snapshot.tools) == 60


async def test_result_task_that_is_gone_is_noticed_when_the_dag_is_reread(served: Served) -> None:
    airflow = airflow_with(60)
    async with refreshing(served, airflow, tools=[{"dags": "*", "results": ["work"]}]) as dagcall:
        airflow.dags["dag_0055"].tasks = [FakeTask("other")]
        await seconds_until(lambda: "dag_0055" not in dagcall.catalog.snapshot.tools, at_most=60 * EVERY_SECONDS)
