"""Results of every shape, from a call to its answer, against the fake Airflow in three versions."""

from typing import Any

import pytest

from tests.fake_airflow import FakeAirflow, FakeDag, FakeParam, FakeTask, SkipTask
from tests.fake_airflow.questions import Version
from tests.unit.conftest import Served
from tests.unit.test_calls import VERSIONS, answer, refusal

every_version = pytest.mark.parametrize("version", VERSIONS)
READING = frozenset({"tasks", "wait", "xcom", "xcoms", "list_task_instances"})


def skips(_: Any) -> Any:
    raise SkipTask


def fails(_: Any) -> Any:
    raise ValueError("no")


def reading(airflow: FakeAirflow) -> list[str]:
    """Return the routes of the requests that only reading results makes."""
    return [request.route for request in airflow.requests if request.route in READING]


MAPPED = FakeTask("it", lambda _: ["a", SkipTask(), None, "d"], mapped=True, downstream=["end"])
END = FakeTask("end", lambda _: None, trigger_rule="all_done")


@every_version
@pytest.mark.parametrize(
    ("tasks", "content"),
    [
        pytest.param([FakeTask("it", lambda _: None)], {"results": {"it": None}}, id="nothing"),
        pytest.param(
            [FakeTask("it", skips, downstream=["end"]), END],
            {"results": {"it": None}, "skipped": ["it"]},
            id="skipped",
        ),
        pytest.param(
            [MAPPED, END], {"results": {"it": ["a", None, None, "d"]}, "skipped": ["it[1]"]}, id="mapped, with gaps"
        ),
        pytest.param([FakeTask("it", lambda _: [None, None], mapped=True)], {"results": {"it": [None, None]}}),
        pytest.param([FakeTask("it", lambda _: [], mapped=True)], {"results": {"it": []}}, id="mapped over nothing"),
        pytest.param(
            [
                FakeTask("first", lambda _: [], mapped=True, downstream=["it"]),
                FakeTask("it", lambda _: [1], mapped=True),
            ],
            {"results": {"it": []}},
            id="mapped over a task that was mapped over nothing",
        ),
        pytest.param(
            [FakeTask("first", skips, downstream=["it"]), FakeTask("it", lambda _: [1], mapped=True)],
            {"results": {"it": None}, "skipped": ["it"]},
            id="mapped, and skipped",
        ),
        pytest.param(
            [FakeTask("group.it", lambda _: 1), FakeTask("it", skips)],
            {"results": {"group.it": 1, "it": None}, "skipped": ["it"]},
            id="leaves, one in a group",
        ),
    ],
)
async def test_shapes(served: Served, version: Version, tasks: list[FakeTask], content: dict[str, Any]) -> None:
    airflow = FakeAirflow(version)
    airflow.add_dag(FakeDag("d", tasks=tasks))
    results = sorted(content["results"])

    async with served(airflow, tools=[{"dag": "d", "results": results}]) as dagcall:
        for _ in range(2):
            given = await answer(dagcall, "d")
            assert {key: given[key] for key in ("results", "skipped") if key in given} == content


@every_version
async def test_a_result_task_that_failed_fails_the_call(served: Served, version: Version) -> None:
    """As it does when that is noticed while the run goes on."""
    airflow = FakeAirflow(version)
    airflow.add_dag(FakeDag("d", tasks=[FakeTask("it", fails, downstream=["end"]), END]))

    async with served(airflow, tools=[{"dag": "d", "results": ["it"]}]) as dagcall:
        assert "ValueError: no" in await refusal(dagcall, "d")


@every_version
async def test_the_operator_hears_of_result_tasks_that_are_gone(
    served: Served, version: Version, caplog: pytest.LogCaptureFixture
) -> None:
    airflow = FakeAirflow(version)
    dag = FakeDag("d", tasks=[FakeTask("total", lambda _: 1), FakeTask("other", lambda _: 2)])
    airflow.add_dag(dag)

    async with served(airflow, tools=[{"dag": "d", "results": ["total", "other"]}]) as dagcall:
        dag.tasks = [FakeTask("sum", lambda _: 1), FakeTask("other", lambda _: 2)]
        assert (await answer(dagcall, "d"))["results"] == {"other": 2}

    assert (
        f"run {airflow.runs[0].run_id} of dag d has no task 'total', which is to be a result of tool d; the answer "
        "does without it"
    ) in caplog.messages


async def test_one_task_needs_no_request_of_its_own_once_it_is_known(served: Served) -> None:
    airflow = FakeAirflow("3.3.2")
    airflow.add_dag(FakeDag("d", tasks=[FakeTask("it", lambda _: 1)]))

    async with served(airflow) as dagcall:
        await answer(dagcall, "d")
        seen = len(reading(airflow))
        assert (await answer(dagcall, "d"))["results"] == {"it": 1}

    assert reading(airflow)[seen:] == ["wait"]


async def test_a_declared_result_comes_with_the_end_of_the_run(served: Served) -> None:
    airflow = FakeAirflow("3.3.2")
    tasks = [FakeTask("first", lambda _: 1, downstream=["last"], is_result=True), FakeTask("last", lambda _: 2)]
    airflow.add_dag(FakeDag("d", tasks=tasks))

    async with served(airflow) as dagcall:
        for _ in range(2):
            assert (await answer(dagcall, "d"))["results"] == {"first": 1}

    assert set(reading(airflow)) == {"wait"}
    assert len(reading(airflow)) == 2


async def test_all_that_was_ever_declared_is_the_result(served: Served) -> None:
    """A declared task that returned nothing is in no answer of Airflow's; the next run may show it."""
    airflow = FakeAirflow("3.3.2")
    tasks = [
        FakeTask("a", lambda params: params["a"], is_result=True),
        FakeTask("b", lambda params: params["b"], is_result=True),
        FakeTask("c", lambda _: 3),
    ]
    optional: Any = {"type": ["integer", "null"]}
    airflow.add_dag(FakeDag("d", params={"a": FakeParam(1, **optional), "b": FakeParam(None, **optional)}, tasks=tasks))

    async with served(airflow) as dagcall:
        assert (await answer(dagcall, "d"))["results"] == {"a": 1}
        assert (await answer(dagcall, "d", a=None, b=2))["results"] == {"a": None, "b": 2}
        assert (await answer(dagcall, "d", a=None))["results"] == {"a": None, "b": None}


@every_version
async def test_a_new_version_of_the_dag_is_read_anew(served: Served, version: Version) -> None:
    """The tool is the same, for nothing of the dag changed that it shows; its tasks are others."""
    airflow = FakeAirflow(version)
    dag = FakeDag("d", tasks=[FakeTask("old", lambda _: 1)])
    airflow.add_dag(dag)

    async with served(airflow) as dagcall:
        assert (await answer(dagcall, "d"))["results"] == {"old": 1}
        dag.tasks, dag.version_number = [FakeTask("new", lambda _: 2), FakeTask("more", lambda _: 3)], 2
        assert (await answer(dagcall, "d"))["results"] == {"new": 2, "more": 3}


@every_version
async def test_a_value_in_object_storage(served: Served, version: Version) -> None:
    airflow = FakeAirflow(version)

    def store(_: Any) -> str:
        return f"s3://bucket/xcom/d/{airflow.runs[-1].run_id}/it/0b2e1c5c-7d52-4b0e-9d57-6a8f4f3b2a10"

    airflow.add_dag(FakeDag("d", tasks=[FakeTask("it", store)]))

    async with served(airflow) as dagcall:
        assert (await answer(dagcall, "d"))["results"]["it"]["stored_at"].startswith("s3://bucket/xcom/d/mcp__")
