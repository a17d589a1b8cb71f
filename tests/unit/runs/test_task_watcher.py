"""What dagcall sees inside a run during a wait, and how that affects the call."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal, cast

import pytest
from mcp import Client

from dagcall.airflow.client import AirflowApi
from dagcall.airflow.model import RunState
from tests.fake_airflow import FakeAirflow, FakeDag, FakeQuestion, FakeTask, Fault
from tests.fake_airflow.runs import FakeRun
from tests.fake_airflow.wire import Route, SeenRequest
from tests.server.test_calls import VERSIONS, add, answer, call, refusal, text_of, until
from tests.support.in_memory import Served


@pytest.fixture(autouse=True)
def look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagcall.runs.task_watcher.FIRST_LOOK_SECONDS", 0.01)


def steps(**more: Any) -> FakeDag:
    """Return a dag that first computes and then tidies up, and whose runs end only when a test ends them."""
    tasks = [FakeTask("compute", lambda _: 42, downstream=["tidy"]), FakeTask("tidy"), FakeTask("log")]
    return FakeDag("steps", tasks=tasks, checks=None, **more)


def set_task(airflow: FakeAirflow, run: FakeRun, task_id: str, state: str) -> None:
    (instance,) = run.instances_of(task_id)
    instance.start(airflow.clock.now())
    instance.end(state, airflow.clock.now())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("state", ["failed", "upstream_failed"])
async def test_call_fails_as_soon_as_its_result_is_lost(
    served: Served, version: Literal["3.1.8", "3.2.2", "3.3.2"], state: str
) -> None:
    airflow = FakeAirflow(version)
    airflow.add_dag(steps())

    async with served(airflow) as dagcall:
        calling = asyncio.create_task(refusal(dagcall, "steps"))
        await until(lambda: dagcall.waiter.watched == 1)
        (run,) = airflow.runs
        airflow.start(run)
        set_task(airflow, run, "tidy", state)
        text = await calling

    assert run.state == "running"
    assert run.run_id in text


async def test_run_that_lost_its_result_still_counts_as_unfinished(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(steps())

    async with served(airflow, dags=["*"], limits={"max_concurrent": 1}) as dagcall:
        calling = asyncio.create_task(refusal(dagcall, "steps"))
        await until(lambda: dagcall.waiter.watched == 1)
        (run,) = airflow.runs
        airflow.start(run)
        set_task(airflow, run, "tidy", "failed")
        await calling
        async with Client(dagcall.mcp.sdk) as client:
            second = await client.call_tool("steps", {}, meta=cast("Any", {"dagcall/idempotency_key": "another"}))

    assert text_of(second).startswith("Nothing was started: you may have at most 1 unfinished run of steps")
    assert run.run_id in text_of(second)


async def test_failure_of_an_irrelevant_task_does_not_end_the_call(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(steps())

    async with served(airflow) as dagcall:
        calling = asyncio.create_task(call(dagcall, "steps"))
        await until(lambda: dagcall.waiter.watched == 1)
        (run,) = airflow.runs
        airflow.start(run)
        set_task(airflow, run, "compute", "failed")  # neither a leaf nor a result task: a trigger rule may save the run
        await until(lambda: len(airflow.requests_to("list_task_instances")) >= 2)
        assert not calling.done()
        set_task(airflow, run, "compute", "success")
        airflow.finish(run)
        result = await calling

    assert not result.is_error, text_of(result)


@pytest.mark.parametrize("version", VERSIONS)
async def test_results_ready_call_returns_before_the_run_ends(
    served: Served, version: Literal["3.1.8", "3.2.2", "3.3.2"]
) -> None:
    airflow = FakeAirflow(version)
    airflow.add_dag(steps())
    tool = {"dag": "steps", "results": ["compute"], "return_when": "results_ready"}

    async with served(airflow, tools=[tool]) as dagcall:
        calling = asyncio.create_task(answer(dagcall, "steps"))
        await until(lambda: dagcall.waiter.watched == 1)
        (run,) = airflow.runs
        airflow.start(run)
        run.set_xcom("compute", 42, airflow.clock.now())
        set_task(airflow, run, "compute", "success")
        content = await calling
        assert (content["state"], content["results"]) == ("results_ready", {"compute": 42})
        assert run.state == "running"

        again = asyncio.create_task(answer(dagcall, "steps"))  # the first call has its answer, so this is a new one
        await until(lambda: len(airflow.runs) == 2)
        airflow.finish(airflow.runs[1])
        assert (await again)["state"] == "success"


async def test_progress_counts_the_finished_tasks(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagcall.mcp.progress.PROGRESS_SECONDS", 0.01)
    airflow = FakeAirflow()
    dag = airflow.add_dag(steps())
    seen: list[tuple[float, float | None, str]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message or ""))
        (run,) = airflow.runs
        if "0 of 3 tasks done; running: compute, log" in seen[-1][2]:
            set_task(airflow, run, "compute", "success")
        elif "1 of 3 tasks done" in seen[-1][2]:
            airflow.finish(run)

    async with served(airflow) as dagcall, asyncio.timeout(60):
        async with Client(dagcall.mcp.sdk) as client:
            for _ in range(3):  # to learn how long a run usually takes
                calling = asyncio.create_task(client.call_tool("steps", {}))
                await until(lambda: bool(airflow.runs) and airflow.runs[-1].state == "queued")
                airflow.start(airflow.runs[-1])
                airflow.finish(airflow.runs[-1])
                await calling
        airflow.runs.clear()
        dag.checks = None
        async with Client(dagcall.mcp.sdk, mode="legacy") as client:
            calling = asyncio.create_task(client.call_tool("steps", {}, progress_callback=on_progress))
            await until(lambda: dagcall.waiter.watched == 1)
            airflow.start(airflow.runs[-1])
            await calling

    numbers = [progress for progress, _, _ in seen]
    assert numbers == sorted(set(numbers))
    assert {total for _, total, message in seen if "of 3" in message} == {3.0}
    assert all(total is None or progress <= total for progress, total, _ in seen)


@pytest.mark.parametrize("why", ["paused", "max_active_runs", "scheduler", "nothing"])
async def test_message_explains_why_a_run_stays_queued(
    served: Served, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr("dagcall.runs.answering.QUEUED_SECONDS", 0.0)
    airflow = FakeAirflow()
    dag = airflow.add_dag(steps(max_active_runs=1))

    async with served(airflow, wait_seconds=0.1) as dagcall:
        if why == "max_active_runs":
            first = asyncio.create_task(answer(dagcall, "steps"))
            await until(lambda: dagcall.waiter.watched == 1)
            airflow.start(airflow.runs[0])
        calling = asyncio.create_task(answer(dagcall, "steps"))
        await until(lambda: dagcall.waiter.watched == 1 + (why == "max_active_runs"))
        dag.is_paused = why == "paused"
        airflow.is_scheduler_silent = why == "scheduler"
        content = await calling
        if why == "max_active_runs":
            assert (await first)["state"] == "running"

    expected = {
        "paused": "queued: dag steps is paused in Airflow",
        "max_active_runs": "queued: dag steps has reached its max_active_runs (1 of 1 running)",
        "scheduler": "queued: Airflow's scheduler sends no heartbeats",
        "nothing": "(queued). Call wait_for_dag_run",
    }
    assert expected[why] in content["message"]


@pytest.mark.virtual_time
async def test_short_run_causes_no_task_instance_requests(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow) as dagcall:
        await answer(dagcall, "add", x=1)
        assert not airflow.requests_to("list_task_instances")


async def test_many_calls_share_one_task_instance_request(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(steps())

    async with served(airflow) as dagcall, Client(dagcall.mcp.sdk) as client:
        calls = [asyncio.create_task(client.call_tool("steps", {})) for _ in range(30)]
        await until(lambda: dagcall.waiter.watched == 30)
        looks = partial(airflow.requests_to, "list_task_instances")
        await until(lambda: any(len(look.json["dag_run_ids"]) == 30 for look in looks()))
        for run in airflow.runs:
            airflow.finish(run)
        await asyncio.gather(*calls)


async def test_failed_task_instance_request_is_followed_by_another(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(steps())

    async with served(airflow) as dagcall:
        airflow.add_fault(Fault(route="list_task_instances", status=503))
        airflow.add_fault(Fault(route="list_task_instances", body=b'{"task_instances": [{}]}'))
        calling = asyncio.create_task(refusal(dagcall, "steps"))
        await until(lambda: dagcall.waiter.watched == 1)
        (run,) = airflow.runs
        airflow.start(run)
        set_task(airflow, run, "log", "failed")
        await calling

    assert run.state == RunState.RUNNING
    assert "tried again" not in caplog.text


async def test_polled_run_that_has_started_is_not_reported_as_queued(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagcall.runs.answering.QUEUED_SECONDS", 0.0)
    airflow = FakeAirflow()
    airflow.add_dag(steps())

    async with served(airflow, wait_seconds=0.1, airflow={"max_in_flight": 1}) as dagcall:  # one place: no streams
        calling = asyncio.create_task(answer(dagcall, "steps"))
        await until(lambda: dagcall.waiter.watched == 1)
        airflow.start(airflow.runs[0])
        content = await calling

    assert content["message"].startswith("The run goes on (running: 0 of 3 tasks done; running: compute, log). ")


def mentions(dag_id: str) -> Callable[[SeenRequest], bool]:
    return lambda seen: f"/{dag_id}/" in seen.path or dag_id in (seen.json or {}).get("dag_ids", ())


@pytest.mark.parametrize("route", ["list_task_instances", "tasks", "list_runs"])
@pytest.mark.parametrize(
    "answer", [{"status": 403, "body": {"detail": "Forbidden"}}, {"status": 200, "body": "<html>"}]
)
async def test_unreadable_dag_does_not_hide_others(served: Served, route: Route, answer: dict[str, Any]) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(replace(steps(), dag_id="a_bad_one"))
    airflow.add_dag(steps())

    async with served(airflow) as dagcall:
        airflow.add_fault(Fault(route=route, times=None, when=mentions("a_bad_one"), **answer))
        bad = asyncio.create_task(call(dagcall, "a_bad_one"))
        await until(lambda: dagcall.waiter.watched == 1)
        airflow.start(airflow.runs[0])
        set_task(airflow, airflow.runs[0], "tidy", "failed")
        good = asyncio.create_task(refusal(dagcall, "steps"))
        await until(lambda: len(airflow.runs) == 2)
        airflow.start(airflow.runs[1])
        set_task(airflow, airflow.runs[1], "tidy", "failed")
        assert airflow.runs[1].run_id in await good

        airflow.clear_faults()
        airflow.finish(airflow.runs[0])
        await bad


def asks(dag_id: str) -> FakeDag:
    return FakeDag(dag_id, tasks=[FakeTask("ask", question=FakeQuestion("Refund?"))], max_active_runs=30)


async def asked_about(api: AirflowApi, airflow: FakeAirflow, runs: list[FakeRun]) -> tuple[set[str], list[str]]:
    """Fetch the questions of these runs; return the ids of the runs that ask and the requested paths."""
    before = len(airflow.requests_to("hitl_details"))
    questions = await api.fetch_questions({(run.dag_id, run.run_id) for run in runs})
    paths = [seen.path.partition("/dags/")[2] for seen in airflow.requests_to("hitl_details")[before:]]
    return {question.run_id for question in questions}, paths


async def test_only_questions_of_the_given_runs_are_read(served: Served) -> None:
    """Not all open questions in this Airflow."""
    airflow = FakeAirflow()
    for dag_id in ("one", "two", "other"):
        airflow.add_dag(asks(dag_id))
    async with served(airflow) as dagcall:
        api = dagcall.waiter.api
        for number in range(30):
            for dag_id in ("one", "two", "other"):
                await api.trigger(dag_id, run_id=f"{dag_id}_{number}", conf={}, logical_date=None, note="")
        for run in airflow.runs:
            airflow.finish(run)
        one, two, _ = ([run for run in airflow.runs if run.dag_id == dag_id] for dag_id in ("one", "two", "other"))

        found, paths = await asked_about(api, airflow, [one[0], two[3], two[4]])
        assert found == {"one_0", "two_3", "two_4"}
        assert paths == [
            "one/dagRuns/one_0/hitlDetails",
            "two/dagRuns/two_3/hitlDetails",
            "two/dagRuns/two_4/hitlDetails",
        ]

        found, paths = await asked_about(api, airflow, two[:20])
        assert found == {f"two_{number}" for number in range(20)}
        assert paths == ["two/dagRuns/~/hitlDetails"]


DEPENDS_ON_PAST = (
    "Previous Dagrun State",
    "depends_on_past is true for this task, but 1 previous task instance(s) are not in a successful state.",
)
NO_SLOT = ("Pool Slots Available", "Not scheduling since there are 0 open slots in pool tiny and require 1 pool slots")
STUCK = (
    "task load cannot start: depends_on_past is true for this task, but 1 previous task instance(s) are not in a "
    "successful state"
)


def stuck(*hindrances: tuple[str, str]) -> FakeDag:
    """Return a dag whose first task does not start, and whose last one waits for it."""
    tasks = [FakeTask("load", hindrances=hindrances, downstream=["report"]), FakeTask("report")]
    return FakeDag("stuck", tasks=tasks, checks=None)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("places", [1, 8])
async def test_message_explains_why_no_task_starts(
    served: Served, monkeypatch: pytest.MonkeyPatch, version: Literal["3.1.8", "3.2.2", "3.3.2"], places: int
) -> None:
    """With one place in the gate, there are no streams."""
    monkeypatch.setattr("dagcall.runs.answering.QUEUED_SECONDS", 0.0)
    airflow = FakeAirflow(version)
    airflow.add_dag(stuck(DEPENDS_ON_PAST))

    async with served(airflow, wait_seconds=0.1, airflow={"max_in_flight": places}) as dagcall:
        calling = asyncio.create_task(answer(dagcall, "stuck"))
        await until(lambda: dagcall.waiter.watched == 1)
        airflow.start(airflow.runs[0])
        content = await calling

    assert content["message"].startswith(f"The run goes on (running: 0 of 2 tasks done; {STUCK}). ")
    assert len(airflow.requests_to("dependencies")) == 1


async def test_progress_explains_why_no_task_starts_and_asks_airflow_rarely(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagcall.runs.task_watcher.QUEUED_SECONDS", 0.0)
    monkeypatch.setattr("dagcall.mcp.progress.PROGRESS_SECONDS", 0.01)
    airflow = FakeAirflow()
    airflow.add_dag(stuck(NO_SLOT))
    seen: list[str] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        assert total is None or progress <= total
        seen.append(message or "")
        if "cannot start" in seen[-1] and len(airflow.requests_to("list_task_instances")) > 3:
            airflow.finish(airflow.runs[-1])

    async with served(airflow) as dagcall, asyncio.timeout(10), Client(dagcall.mcp.sdk, mode="legacy") as client:
        calling = asyncio.create_task(client.call_tool("stuck", {}, progress_callback=on_progress))
        await until(lambda: dagcall.waiter.watched == 1)
        airflow.start(airflow.runs[-1])
        await calling

    why = "; task load cannot start: Not scheduling since there are 0 open slots in pool tiny and require 1 pool slots;"
    assert any(f"0 of 2 tasks done{why}" in message for message in seen)
    assert len(airflow.requests_to("dependencies")) == 1


@pytest.mark.parametrize("is_silent", [True, False])
async def test_message_names_a_silent_scheduler_if_no_task_starts(
    served: Served, monkeypatch: pytest.MonkeyPatch, *, is_silent: bool
) -> None:
    monkeypatch.setattr("dagcall.runs.answering.QUEUED_SECONDS", 0.0)
    airflow = FakeAirflow()
    airflow.is_scheduler_silent = is_silent
    airflow.add_dag(stuck(("Trigger Rule", "of no interest")))

    async with served(airflow, wait_seconds=0.1) as dagcall:
        calling = asyncio.create_task(answer(dagcall, "stuck"))
        await until(lambda: dagcall.waiter.watched == 1)
        airflow.start(airflow.runs[0])
        content = await calling

    silence = "; Airflow's scheduler sends no heartbeats (last one: never)" if is_silent else ""
    assert content["message"].startswith(f"The run goes on (running: 0 of 2 tasks done{silence}). ")


async def test_message_names_running_tasks_without_asking_why_others_wait(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagcall.runs.answering.QUEUED_SECONDS", 0.0)
    airflow = FakeAirflow()
    dag = stuck(NO_SLOT)
    dag.tasks = [*dag.tasks, FakeTask("other")]
    airflow.add_dag(dag)

    async with served(airflow, wait_seconds=0.1) as dagcall:
        calling = asyncio.create_task(answer(dagcall, "stuck"))
        await until(lambda: dagcall.waiter.watched == 1)
        airflow.start(airflow.runs[0])
        content = await calling

    assert content["message"].startswith("The run goes on (running: 0 of 3 tasks done; running: other). ")
    assert not airflow.requests_to("dependencies")


async def test_message_reports_progress_if_dependencies_are_forbidden(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagcall.runs.answering.QUEUED_SECONDS", 0.0)
    airflow = FakeAirflow()
    airflow.add_dag(stuck(NO_SLOT))
    airflow.add_fault(Fault(route="dependencies", status=403, body={"detail": "Forbidden"}, times=None))

    async with served(airflow, wait_seconds=0.1) as dagcall:
        calling = asyncio.create_task(answer(dagcall, "stuck"))
        await until(lambda: dagcall.waiter.watched == 1)
        airflow.start(airflow.runs[0])
        content = await calling

    assert content["message"].startswith("The run goes on (running: 0 of 2 tasks done). ")


async def test_dependencies_of_a_mapped_task_are_requested_by_map_index(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagcall.runs.answering.QUEUED_SECONDS", 0.0)
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("stuck", tasks=[FakeTask("load", mapped=2, hindrances=[NO_SLOT])], checks=None))

    async with served(airflow, wait_seconds=0.1) as dagcall:
        calling = asyncio.create_task(answer(dagcall, "stuck"))
        await until(lambda: dagcall.waiter.watched == 1)
        airflow.start(airflow.runs[0])
        content = await calling

    assert content["message"].startswith(
        f"The run goes on (running: 0 of 2 tasks done; task load[0] cannot start: {NO_SLOT[1]}). "
    )
    assert [request.path.rpartition("/load")[2] for request in airflow.requests_to("dependencies")] == [
        "/0/dependencies"
    ]


async def test_final_look_is_skipped_while_many_runs_are_waited_for(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagcall.runs.answering.QUEUED_SECONDS", 0.0)
    monkeypatch.setattr("dagcall.runs.task_watcher.FULL_LOOKS", 0)
    airflow = FakeAirflow()
    airflow.add_dag(stuck(NO_SLOT))

    async with served(airflow, wait_seconds=0.1) as dagcall, Client(dagcall.mcp.sdk) as client:
        calls = [asyncio.create_task(client.call_tool("stuck", {})) for _ in range(2)]
        await until(lambda: dagcall.waiter.watched == 2)
        for run in airflow.runs:
            airflow.start(run)
        results = await asyncio.gather(*calls)

    reported = ["cannot start" in text_of(result) for result in results]
    assert sorted(reported) == [False, True]  # when the last call times out, it is the only one left
