"""Results of every shape, from a call to its answer, against the fake Airflow in three versions."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.fake_airflow import FakeAirflow, FakeDag, FakeParam, FakeTask, SkipTask
from tests.fake_airflow.questions import Version
from tests.server.test_calls import VERSIONS, answer, call, refusal, text_of, until
from tests.support.in_memory import Served

every_version = pytest.mark.parametrize("version", VERSIONS)
FAR_FUTURE = datetime(2099, 1, 1, tzinfo=UTC)
LONG_PAST = datetime(2020, 1, 1, tzinfo=UTC)
READING = frozenset({"tasks", "wait", "xcom", "xcoms", "list_task_instances"})


def skips(_: Any) -> Any:
    raise SkipTask


def fails(_: Any) -> Any:
    raise ValueError("no")


def reading(airflow: FakeAirflow) -> list[str]:
    """Return the routes of the requests that are sent only to read results."""
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
async def test_results_of_every_shape_are_returned(
    served: Served, version: Version, tasks: list[FakeTask], content: dict[str, Any]
) -> None:
    airflow = FakeAirflow(version)
    airflow.add_dag(FakeDag("d", tasks=tasks))
    results = sorted(content["results"])

    async with served(airflow, tools=[{"dag": "d", "results": results}]) as dagcall:
        for _ in range(2):
            given = await answer(dagcall, "d")
            assert {key: given[key] for key in ("results", "skipped") if key in given} == content


@every_version
async def test_failed_result_task_fails_the_call(served: Served, version: Version) -> None:
    """As it does if the failure is noticed while the run continues."""
    airflow = FakeAirflow(version)
    airflow.add_dag(FakeDag("d", tasks=[FakeTask("it", fails, downstream=["end"]), END]))

    async with served(airflow, tools=[{"dag": "d", "results": ["it"]}]) as dagcall:
        assert "ValueError: no" in await refusal(dagcall, "d")


@every_version
async def test_missing_result_task_fails_the_call(
    served: Served, version: Version, caplog: pytest.LogCaptureFixture
) -> None:
    airflow = FakeAirflow(version)
    dag = FakeDag("d", tasks=[FakeTask("total", lambda _: 1), FakeTask("other", lambda _: 2)])
    airflow.add_dag(dag)

    async with served(airflow, tools=[{"dag": "d", "results": ["total", "other"]}]) as dagcall:
        dag.tasks = [FakeTask("sum", lambda _: 1), FakeTask("other", lambda _: 2)]
        text = await refusal(dagcall, "d")

    assert "Task total did not run: the dag no longer has this task." in text
    assert (
        f"run {airflow.runs[0].run_id} of dag d is a success in Airflow, but did not run the result tasks of tool "
        "d: total"
    ) in caplog.messages


@every_version
@pytest.mark.parametrize(
    ("late", "tasks", "lines"),
    [
        pytest.param(
            FakeDag("d", start_date=FAR_FUTURE),
            None,
            [
                " of dag d did nothing: Airflow created no task instance for it, but reports success.",
                "Task work did not run: its start_date is 2099-01-01T00:00:00+00:00, and the run's logical date is ",
                "Calling again has the same outcome until the dates in the dag are changed",
            ],
            id="outside the dag's dates",
        ),
        pytest.param(
            FakeDag("d", tasks=[FakeTask("a", downstream=["b"]), FakeTask("b", end_date=LONG_PAST)]),
            None,
            [
                " of dag d succeeded, but without its result.",
                "Task b did not run: its end_date was 2020-01-01T00:00:00+00:00, and the run's logical date is ",
                "Already succeeded, and is not undone: a.",
            ],
            id="outside a task's dates",
        ),
        pytest.param(
            FakeDag("d", tasks=()),
            None,
            [
                " of dag d did nothing: Airflow created no task instance for it, but reports success.",
                "The dag has no tasks.",
                "Calling again with the same arguments starts a new run, which will probably fail in the same way.",
            ],
            id="no tasks",
        ),
        pytest.param(
            FakeDag("d", checks=None),
            [FakeTask("work", downstream=["check"]), FakeTask("check")],
            ["Task check did not run: the run has no instance of it; the dag has probably changed since."],
            id="a task that is newer than the run",
        ),
    ],
)
async def test_successful_run_without_its_result_tasks_is_a_failure(
    served: Served, version: Version, late: FakeDag, tasks: list[FakeTask] | None, lines: list[str]
) -> None:
    airflow = FakeAirflow(version)
    airflow.add_dag(FakeDag("d"))
    async with served(airflow) as dagcall:
        airflow.add_dag(late)  # after the tool was published
        if tasks is None:
            text = await refusal(dagcall, "d")
        else:
            calling = asyncio.create_task(refusal(dagcall, "d"))
            await until(lambda: bool(airflow.runs))
            airflow.add_dag(replace(late, tasks=tasks))
            airflow.finish(airflow.runs[0])
            text = await calling
        (run,) = airflow.runs
        assert run.state == "success"
        for line in lines:
            assert line in text
        read = await call(dagcall, "read_dag_result", tool="d", dag_run_id=run.run_id, path="")
        assert text_of(read).startswith(f"Run {run.run_id} of dag d did not run the tasks that produce its result.")


@every_version
async def test_dag_changed_without_a_new_version_is_reread_if_a_task_is_missing(
    served: Served, version: Version
) -> None:
    airflow = FakeAirflow(version)
    dag = airflow.add_dag(FakeDag("d", tasks=[FakeTask("old", lambda _: 1)]))
    async with served(airflow) as dagcall:
        assert (await answer(dagcall, "d"))["results"] == {"old": 1}
        dag.tasks = [FakeTask("new", lambda _: 2)]
        assert (await answer(dagcall, "d"))["results"] == {"new": 2}


async def test_result_of_a_known_single_task_needs_one_request(served: Served) -> None:
    airflow = FakeAirflow("3.3.2")
    airflow.add_dag(FakeDag("d", tasks=[FakeTask("it", lambda _: 1)]))

    async with served(airflow) as dagcall:
        await answer(dagcall, "d")
        seen = len(reading(airflow))
        assert (await answer(dagcall, "d"))["results"] == {"it": 1}

    assert reading(airflow)[seen:] == ["wait"]


async def test_declared_result_is_read_with_the_end_of_the_run(served: Served) -> None:
    airflow = FakeAirflow("3.3.2")
    tasks = [FakeTask("first", lambda _: 1, downstream=["last"], is_result=True), FakeTask("last", lambda _: 2)]
    airflow.add_dag(FakeDag("d", tasks=tasks))

    async with served(airflow) as dagcall:
        for _ in range(2):
            assert (await answer(dagcall, "d"))["results"] == {"first": 1}

    assert reading(airflow) == ["tasks", "wait", "wait"]  # "tasks" is for the catalog


async def test_result_does_not_depend_on_what_the_process_has_seen(served: Served) -> None:
    """Airflow names the tasks that the dag declares as its result only if they have returned something."""
    airflow = FakeAirflow("3.3.2")
    tasks = [
        FakeTask("a", lambda params: params["a"], is_result=True, downstream=["c"]),
        FakeTask("b", lambda params: params["b"], is_result=True, downstream=["c"]),
        FakeTask("c", lambda _: 3),
    ]
    optional: Any = {"type": ["integer", "null"]}
    params = {"a": FakeParam(None, **optional), "b": FakeParam(None, **optional)}
    airflow.add_dag(FakeDag("d", params=params, tasks=tasks))
    calls: list[tuple[dict[str, Any], dict[str, int]]] = [
        ({"a": 1}, {"a": 1}),
        ({"b": 2}, {"b": 2}),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}),
        ({}, {"c": 3}),
    ]

    async with served(airflow) as experienced:
        for arguments, results in [*calls, *calls]:
            assert (await answer(experienced, "d", **arguments))["results"] == results
            async with served(airflow) as fresh:
                assert (await answer(fresh, "d", **arguments))["results"] == results
                run_id = airflow.runs[-1].run_id
                again = await answer(experienced, "wait_for_dag_run", tool="d", dag_run_id=run_id)
                assert again["results"] == results


async def test_results_are_ready_early_only_if_the_settings_name_their_tasks(served: Served) -> None:
    """From 3.3, a dag can declare its result, but Airflow names it only at the end of the run."""
    airflow = FakeAirflow("3.3.2")
    tasks = [FakeTask("a", lambda _: 1, downstream=["b"], is_result=True), FakeTask("b", lambda _: 2)]
    tidy = FakeTask("tidy", trigger_rule="all_done_setup_success")
    airflow.add_dag(FakeDag("d", tasks=[*tasks, tidy], checks=None))

    async with served(airflow, tools=[{"dag": "d", "return_when": "results_ready"}]) as dagcall:
        calling = asyncio.create_task(answer(dagcall, "d"))
        await until(lambda: bool(airflow.runs))
        (run,) = airflow.runs
        for instance in run.task_instances[:2]:
            instance.start(airflow.clock.now())
            instance.end("success", airflow.clock.now())
        run.set_xcom("a", 1, airflow.clock.now())
        read = await call(dagcall, "read_dag_result", tool="d", dag_run_id=run.run_id, path="")
        assert "so there are no results to read" in text_of(read)
        airflow.finish(run)
        content = await calling

    assert (content["state"], content["results"]) == ("success", {"a": 1})


async def test_older_run_keeps_the_result_of_its_own_dag_version(served: Served) -> None:
    airflow = FakeAirflow("3.3.2")
    before = [FakeTask("a", lambda _: 1, downstream=["b"], is_result=True), FakeTask("b", lambda _: 2)]
    dag = airflow.add_dag(FakeDag("d", tasks=before))

    async with served(airflow) as dagcall:
        assert (await answer(dagcall, "d"))["results"] == {"a": 1}
        old = airflow.runs[0].run_id
        dag.tasks = [FakeTask("b", lambda _: 3)]
        airflow.dags["d"] = replace(dag, version_number=2)
        assert (await answer(dagcall, "d"))["results"] == {"b": 3}
        again = await answer(dagcall, "wait_for_dag_run", tool="d", dag_run_id=old)

    assert again["results"] == {"a": 1}


@every_version
async def test_a_new_version_of_the_dag_is_reread(served: Served, version: Version) -> None:
    """The tool stays the same, because only the dag's tasks have changed."""
    airflow = FakeAirflow(version)
    dag = FakeDag("d", tasks=[FakeTask("old", lambda _: 1)])
    airflow.add_dag(dag)

    async with served(airflow) as dagcall:
        assert (await answer(dagcall, "d"))["results"] == {"old": 1}
        dag.tasks, dag.version_number = [FakeTask("new", lambda _: 2), FakeTask("more", lambda _: 3)], 2
        assert (await answer(dagcall, "d"))["results"] == {"new": 2, "more": 3}


@every_version
async def test_value_in_object_storage_is_returned_as_a_reference(served: Served, version: Version) -> None:
    airflow = FakeAirflow(version)

    def store(_: Any) -> str:
        return f"s3://bucket/xcom/d/{airflow.runs[-1].run_id}/it/0b2e1c5c-7d52-4b0e-9d57-6a8f4f3b2a10"

    airflow.add_dag(FakeDag("d", tasks=[FakeTask("it", store)]))

    async with served(airflow) as dagcall:
        assert (await answer(dagcall, "d"))["results"]["it"]["stored_at"].startswith("s3://bucket/xcom/d/mcp__")
