"""What is usual for the latest runs, read from the fake Airflow."""

from typing import Any

import pytest

from dagcall.lint import RecentRuns, read_recent_runs
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask, Fault
from tests.fake_airflow.questions import Version
from tests.server.test_calls import VERSIONS, answer, call
from tests.support.in_memory import Served


async def recent_of(dagcall: Any, **more: Any) -> dict[str, RecentRuns]:
    tools = dagcall.catalog.snapshot.tools.values()
    return await read_recent_runs(dagcall.waiter.api, tools, **{"max_answer_bytes": 1_000_000} | more)


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_median_of_the_latest_results_counts(served: Served, version: Version) -> None:
    airflow, texts = FakeAirflow(version), iter(["a" * 5_000, "b" * 100, "c" * 200, "d" * 300])
    airflow.add_dag(FakeDag("letters", tasks=[FakeTask("it", lambda _: next(texts))]))
    async with served(airflow, tools=[{"dag": "letters", "repeat": "new"}]) as dagcall:
        for _ in range(4):
            await answer(dagcall, "letters")
        recent = (await recent_of(dagcall))["letters"]

    assert recent.result_bytes == len('{"it":""}') + 200
    assert recent.seconds is not None


async def test_a_dag_without_successful_runs_has_nothing_usual(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("never"))
    async with served(airflow) as dagcall:
        assert await recent_of(dagcall) == {"never": RecentRuns()}


async def test_runs_that_cannot_be_read_are_reported_and_left_out(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("hidden"))
    async with served(airflow) as dagcall:
        airflow.add_fault(Fault(route="list_runs", status=403, times=None))
        assert await recent_of(dagcall) == {"hidden": RecentRuns()}
    assert "the recent runs of dag hidden could not be read: " in caplog.text


async def test_results_that_are_too_large_to_read_count_with_the_limit(served: Served) -> None:
    airflow, limit = FakeAirflow(), 1_048_576
    airflow.add_dag(FakeDag("large", tasks=[FakeTask("it", lambda _: "x" * 2 * limit)]))
    async with served(airflow, airflow={"max_answer_bytes": limit}, dags=["large"]) as dagcall:
        await call(dagcall, "large")
        recent = await recent_of(dagcall, max_answer_bytes=limit)

    assert recent["large"].result_bytes == limit
