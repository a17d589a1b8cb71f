"""Every method of `dagcall.airflow`, on the fake and on the real Airflow."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dagcall.airflow.account import Account
from dagcall.airflow.auth_token import as_user, log_in
from dagcall.airflow.client import AirflowApi, DagQuery
from dagcall.airflow.credentials import Credentials, static_token
from dagcall.airflow.gate import Gate
from dagcall.airflow.health import count_running, fetch_durations, fetch_scheduler_silence
from dagcall.airflow.model import DagSummary, LogEvent, LoggedException, Param, RunState, Task, TaskInstance
from dagcall.airflow.rest import AirflowRest
from dagcall.airflow.versions import RESULTS_THROUGH_WAIT
from dagcall.airflow.xcoms import fetch_results, fetch_stored_map_indexes, fetch_xcom
from dagcall.errors import (
    AirflowConflict,
    AirflowNotFound,
    AirflowRefused,
    AirflowRejected,
    AirflowUnreachable,
)
from tests.contract.fake_side import ContractAirflow
from tests.support.plain_http import PLAIN

REQUIRED = Param("n", None, {"type": "integer", "minimum": 1}, None)


def rest_of(airflow: ContractAirflow, credentials: Credentials) -> AirflowRest:
    return AirflowRest(airflow.url, credentials, gate=Gate(), transport=airflow.transport, verify=PLAIN)


@pytest.fixture
async def api(airflow: ContractAirflow) -> AsyncIterator[AirflowApi]:
    rest = rest_of(airflow, Credentials(static_token(airflow.token()), now=time.time))
    yield AirflowApi(rest)
    await rest.aclose()


async def trigger(api: AirflowApi, dag_id: str, run_id: str, **conf: object) -> None:
    await api.trigger(dag_id, run_id=run_id, conf=conf, logical_date=None, note="")


async def test_version_is_parsed(airflow: ContractAirflow, api: AirflowApi) -> None:
    assert await api.version() == tuple(map(int, airflow.version.split(".")))


async def test_clock_follows_airflows_time(api: AirflowApi, run_id: str) -> None:
    """The clock derived from Airflow's answers is slightly behind Airflow's own time, never ahead of it."""
    await api.fetch_version()
    clock = api.rest.clock
    before = clock.now()
    run = await api.trigger("one_task", run_id=run_id, conf={}, logical_date=before, note="")
    assert timedelta() <= run.run_after - before < timedelta(seconds=3)
    assert clock.seconds_since(run.run_after - timedelta(hours=1)) == pytest.approx(3600, abs=3)


async def test_dags_are_found_by_tag_and_by_id(api: AirflowApi) -> None:
    assert [dag.dag_id for dag in await api.fetch_dags(DagQuery(tag="mcp"))] == ["one_task", "paused"]
    assert [dag.dag_id for dag in await api.fetch_dags(DagQuery(dag_id_like="ONE_T"))] == ["one_task"]
    many = await api.fetch_dags(DagQuery(tag="many"))
    assert [dag.dag_id for dag in many] == [f"many_{number:03}" for number in range(120)]
    assert len(await api.fetch_dags(DagQuery())) > 120
    assert await api.fetch_dags(DagQuery(tag="no such tag")) == ()


async def test_summary_of_a_dag(api: AirflowApi) -> None:
    paused = await api.fetch_summary("paused")
    assert paused == DagSummary(
        "paused",
        tags=frozenset({"shapes", "mcp"}),
        is_paused=True,
        is_stale=False,
        has_import_errors=False,
        allowed_run_types=None,
        max_active_runs=16,
        display_name="paused",
    )
    assert paused.parsed_at is not None
    with pytest.raises(AirflowNotFound):
        await api.fetch_summary("nosuch")


async def test_list_and_details_show_the_same_summary(api: AirflowApi) -> None:
    for listed in await api.fetch_dags(DagQuery(tag="shapes")):
        assert (await api.fetch_dag(listed.dag_id)).summary == listed
        assert await api.fetch_summary(listed.dag_id) == listed


async def test_dags_are_counted(api: AirflowApi) -> None:
    assert await api.count_dags() == len(await api.fetch_dags(DagQuery()))


async def test_versions_are_listed_newest_first_and_only_as_far_as_needed(api: AirflowApi) -> None:
    newest = await api.fetch_versions()
    assert len(newest) == 100
    ids = [version.version_id for version in newest]
    assert ids == sorted(ids, reverse=True)
    assert {version.number for version in newest} == {1}
    assert await api.fetch_versions(since=newest[0].version_id) == newest
    assert await api.fetch_versions(since=newest[-1].version_id) == newest
    every = await api.fetch_versions(since="")
    assert every[:100] == newest
    assert {version.dag_id for version in every} == {dag.dag_id for dag in await api.fetch_dags(DagQuery())}


@pytest.mark.parametrize("dag_id", ["team.north.report-v1.2", "long_" + "x" * 195])
async def test_unusual_dag_ids_are_supported(api: AirflowApi, run_id: str, dag_id: str) -> None:
    assert (await api.fetch_dag(dag_id)).dag_id == dag_id
    await trigger(api, dag_id, run_id)
    assert (await api.fetch_run(dag_id, run_id)).dag_id == dag_id


async def test_details_of_a_dag(api: AirflowApi) -> None:
    dag = await api.fetch_dag("one_task")
    assert (dag.display_name, dag.description) == ("Add one", "Adds one.")
    assert dag.doc_md == "Add one to `x`.\n\nThe second paragraph."
    assert dag.params == (Param("x", 1, {}, None),)
    assert (await api.fetch_dag("required_param")).params == (REQUIRED, Param("s", "x", {"type": "string"}, None))
    assert [param.name for param in (await api.fetch_dag("odd_param_names")).params] == [
        "a b",
        "ü",
        "x-mcp-header",
        "$ref",
        "",
        "class",
    ]


async def test_tasks_of_a_dag(api: AirflowApi) -> None:
    assert await api.fetch_tasks("grouped") == (
        Task("group.first", frozenset({"group.inner", "group.other"}), "all_success"),
        Task("group.inner", frozenset(), "all_success"),
        Task("group.other", frozenset(), "all_success"),
    )


async def test_trigger_starts_a_run_and_reports_conflicts(api: AirflowApi, run_id: str) -> None:
    date = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=time.time_ns() // 1000 % 10**12)
    run = await api.trigger("one_task", run_id=run_id, conf={"x": 2}, logical_date=date, note="a note")
    assert (run.run_id, run.state, run.conf, run.end_date) == (run_id, RunState.QUEUED, {"x": 2}, None)
    assert await api.fetch_run("one_task", run_id) == run
    with pytest.raises(AirflowConflict):
        await trigger(api, "one_task", run_id)
    with pytest.raises(AirflowConflict):
        await api.trigger("one_task", run_id=f"{run_id}.2", conf={}, logical_date=date, note="")
    with pytest.raises(AirflowNotFound):
        await api.fetch_run("one_task", f"{run_id}.2")


async def test_refused_trigger_reports_the_reason(api: AirflowApi, run_id: str) -> None:
    with pytest.raises(AirflowRejected) as rejected:
        await trigger(api, "required_param", run_id, n=0)
    assert rejected.value.reason == "Invalid input for param n: 0 is less than the minimum of 1"
    with pytest.raises(AirflowRejected):
        await trigger(api, "one_task", "a b")
    with pytest.raises(AirflowNotFound):
        await trigger(api, "nosuch", run_id)


async def test_run_ids_are_quoted(api: AirflowApi) -> None:
    run_id = f"manual__{datetime.fromtimestamp(time.time(), UTC).isoformat()}~x"
    await trigger(api, "one_task", run_id)
    assert (await api.fetch_run("one_task", run_id)).run_id == run_id


async def test_finished_runs_are_filtered_by_both_dates(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    for dag_id in ("declared_result", "no_tasks"):
        await trigger(api, dag_id, run_id)
        airflow.finish(dag_id, run_id, "success")
    await trigger(api, "no_tasks", f"{run_id}.2")
    first, second = [await api.fetch_run(dag_id, run_id) for dag_id in ("declared_result", "no_tasks")]
    assert first.end_date is not None
    assert second.end_date is not None

    async def found(since: datetime, triggered_since: datetime) -> list[tuple[str, str]]:
        runs = await api.fetch_finished_runs(
            ["declared_result", "no_tasks"], since=since, triggered_since=triggered_since
        )
        return [(run.dag_id, run.dag_run_id) for run in runs]

    both = [("declared_result", run_id), ("no_tasks", run_id)]
    assert await found(first.end_date, first.run_after) == both
    assert await found(second.end_date, first.run_after) == both[1:]
    assert await found(first.end_date, second.run_after) == both[1:]


async def test_states_are_streamed_until_the_end(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    await trigger(api, "one_task", run_id)
    airflow.start("one_task", run_id)
    async with (
        asyncio.timeout(60),
        aclosing(await api.stream_states("one_task", run_id, interval_seconds=0.1)) as states,
    ):
        assert await anext(states) == (RunState.RUNNING, None)
        airflow.finish("one_task", run_id, "failed")
        rest = [state async for state, _ in states]
    assert rest[-1] == RunState.FAILED
    assert set(rest[:-1]) <= {RunState.RUNNING}


async def test_stream_ends_with_the_results_since_3_3(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    await trigger(api, "declared_result", run_id)
    asked = ("afterwards", "answer")
    async with (
        asyncio.timeout(60),
        aclosing(
            await api.stream_states("declared_result", run_id, interval_seconds=0.1, result_task_ids=asked)
        ) as states,
    ):
        assert await anext(states) == (RunState.QUEUED, None)
        airflow.set_xcom("declared_result", run_id, "answer", 42, is_result=True)
        airflow.finish("declared_result", run_id, "success")
        *_, last = [line async for line in states]
    is_there = await api.version() >= RESULTS_THROUGH_WAIT
    assert last == (RunState.SUCCESS, {"answer": 42} if is_there else None)


async def test_stream_ends_when_its_run_is_deleted(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    await trigger(api, "one_task", run_id)
    seen = []
    async with (
        asyncio.timeout(60),
        aclosing(await api.stream_states("one_task", run_id, interval_seconds=0.1)) as states,
    ):
        seen.append((await anext(states))[0])
        airflow.delete("one_task", run_id)
        try:
            seen += [state async for state, _ in states]
        except AirflowUnreachable as error:  # some versions cut the connection instead
            assert not error.is_effect_possible  # noqa: PT017 - both outcomes are valid
    assert set(seen) == {RunState.QUEUED}
    with pytest.raises(AirflowNotFound):
        await api.fetch_run("one_task", run_id)


async def test_stream_of_an_unknown_run_is_not_found(api: AirflowApi) -> None:
    with pytest.raises(AirflowNotFound):
        await api.stream_states("one_task", "nosuch", interval_seconds=1)


async def test_results_and_xcoms_are_fetched(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    await trigger(api, "declared_result", run_id)
    airflow.set_xcom("declared_result", run_id, "answer", 42, is_result=True)
    airflow.set_xcom("declared_result", run_id, "afterwards", {"a": [None]})
    airflow.finish("declared_result", run_id, "success")
    assert await fetch_xcom(api.rest, "declared_result", run_id, "answer", -1) == 42
    assert await fetch_xcom(api.rest, "declared_result", run_id, "answer", 0) is None
    assert await fetch_stored_map_indexes(api.rest, "declared_result", run_id, "afterwards") == [-1]
    if airflow.version >= "3.3":
        assert await fetch_results(api.rest, "declared_result", run_id, None) == {"answer": 42}
        assert await fetch_results(api.rest, "declared_result", run_id, ("afterwards",)) == {
            "afterwards": {"a": [None]}
        }
        assert await fetch_results(api.rest, "declared_result", run_id, ("nosuch",)) == {}


async def test_results_of_a_mapped_task_are_fetched(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    await trigger(api, "mapped_leaf", run_id)
    for index in (2, 0):
        airflow.set_xcom("mapped_leaf", run_id, "double", 10 * index, map_index=index)
    airflow.finish("mapped_leaf", run_id, "success")
    assert await fetch_stored_map_indexes(api.rest, "mapped_leaf", run_id, "double") == [0, 2]
    assert await fetch_xcom(api.rest, "mapped_leaf", run_id, "double", 2) == 20
    if airflow.version >= "3.3":
        assert await fetch_results(api.rest, "mapped_leaf", run_id, ("double",)) == {"double": [0, 20]}


async def test_task_instances_and_logs_are_fetched(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    log: list[dict[str, Any]] = [
        {"timestamp": "2026-01-01T00:00:00Z", "event": "hello", "level": "info"},
        {
            "timestamp": "2026-01-01T00:00:01Z",
            "event": "Task failed with exception",
            "level": "error",
            "error_detail": [{"exc_type": "ValueError", "exc_value": "no"}],
        },
    ]
    await trigger(api, "grouped", run_id)
    airflow.set_task("grouped", run_id, "group.first", "failed", log=log)
    (failed,) = await api.fetch_task_instances("grouped", run_id, task_ids=("group.first",))
    assert failed == TaskInstance(
        "group.first", -1, "failed", 1, 0, start_date=failed.start_date, end_date=failed.end_date
    )
    assert failed.start_date is not None
    assert failed.end_date is not None
    others = [TaskInstance(task_id, -1, None, 0, 0) for task_id in ("group.inner", "group.other")]
    assert sorted(await api.fetch_task_instances("grouped", run_id), key=lambda i: i.task_id) == [failed, *others]
    events = await api.fetch_log("grouped", run_id, failed)
    assert events[-2:] == (
        LogEvent("info", "hello"),
        LogEvent("error", "Task failed with exception", exceptions=(LoggedException("ValueError", "no"),)),
    )
    with pytest.raises(AirflowNotFound):
        await api.fetch_log("grouped", run_id, replace(failed, try_number=2))


async def test_task_instances_of_several_runs_are_fetched(
    airflow: ContractAirflow, api: AirflowApi, run_id: str
) -> None:
    """One of the runs has no task instance in the requested states, and one does not exist."""
    for dag_id in ("grouped", "one_task"):
        await trigger(api, dag_id, run_id)
        airflow.start(dag_id, run_id)
    airflow.set_task("grouped", run_id, "group.first", "failed")
    runs = {("grouped", run_id), ("one_task", run_id), ("one_task", "nosuch")}

    insides = await api.fetch_insides(runs)
    assert insides.keys() == {("grouped", run_id), ("one_task", run_id)}
    assert {instance.task_id for instance in insides["grouped", run_id]} == {
        "group.first",
        "group.inner",
        "group.other",
    }

    stuck = await api.fetch_insides(runs, {"failed", "upstream_failed", "deferred", "awaiting_input"})
    assert {key: [instance.task_id for instance in found] for key, found in stuck.items()} == {
        ("grouped", run_id): ["group.first"]
    }


async def test_durations_and_running_runs_are_counted(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    before = await count_running(api.rest, "no_tasks")
    await trigger(api, "no_tasks", run_id)
    assert await count_running(api.rest, "no_tasks") == before
    airflow.start("no_tasks", run_id)
    assert await count_running(api.rest, "no_tasks") == before + 1
    taken = len(await fetch_durations(api.rest, "no_tasks"))
    airflow.finish("no_tasks", run_id, "success")
    durations = await fetch_durations(api.rest, "no_tasks")
    assert len(durations) == min(taken + 1, 20)
    assert all(seconds >= 0 for seconds in durations)
    assert (await api.fetch_summary("no_tasks")).max_active_runs == 16


async def test_scheduler_without_a_heartbeat_is_reported(api: AirflowApi) -> None:
    """The Airflows of these tests run without a scheduler."""
    assert await fetch_scheduler_silence(api.rest) == "never"


async def test_log_in_with_a_password(airflow: ContractAirflow) -> None:
    async def fetch() -> str:
        return await log_in(airflow.url, as_user("admin", "admin"), gate=Gate(), transport=airflow.transport)

    rest = rest_of(airflow, Credentials(fetch, now=time.time))
    assert (await AirflowApi(rest).fetch_summary("one_task")).dag_id == "one_task"
    await rest.aclose()
    with pytest.raises(AirflowRefused, match="wrong user name or password"):
        await log_in(airflow.url, as_user("admin", "wrong"), gate=Gate(), transport=airflow.transport, verify=PLAIN)


@pytest.mark.parametrize("old", ["expired", "bad"])
async def test_refused_token_is_replaced_once(airflow: ContractAirflow, old: str) -> None:
    tokens = [airflow.token(seconds=-60) if old == "expired" else "a.b.c", airflow.token()]

    async def fetch() -> str:
        return tokens.pop(0)

    rest = rest_of(airflow, Credentials(fetch, now=lambda: 0))
    assert (await AirflowApi(rest).fetch_summary("one_task")).dag_id == "one_task"
    assert tokens == []
    await rest.aclose()


async def test_viewer_cannot_trigger(airflow: ContractAirflow, run_id: str) -> None:
    rest = rest_of(airflow, Credentials(static_token(airflow.token("viewer")), now=time.time))
    with pytest.raises(AirflowRefused):
        await trigger(AirflowApi(rest), "one_task", run_id)
    await rest.aclose()


async def test_changes_are_made_with_the_given_account(airflow: ContractAirflow, run_id: str) -> None:
    """Reads use dagcall's own account."""
    admin, viewer = (
        Account(name, Credentials(static_token(airflow.token(name)), now=time.time)) for name in ("admin", "viewer")
    )
    rest = rest_of(airflow, viewer.credentials)
    api = AirflowApi(rest)

    run = await api.trigger("one_task", run_id=run_id, conf={}, logical_date=None, note="", account=admin)
    with pytest.raises(AirflowRefused):
        await api.trigger("one_task", run_id=f"{run_id}_1", conf={}, logical_date=None, note="", account=viewer)
    with pytest.raises(AirflowRefused):
        await api.set_run_failed("one_task", run_id)
    ended = await api.set_run_failed("one_task", run_id, account=admin)
    await rest.aclose()

    assert run.run_id == run_id
    assert ended.state is RunState.FAILED


async def test_notes_of_several_runs_are_replaced(api: AirflowApi, run_id: str) -> None:
    await trigger(api, "one_task", run_id)
    await trigger(api, "one_task", f"{run_id}_1")

    await api.set_notes({("one_task", run_id): "first", ("one_task", f"{run_id}_1"): "second"})

    assert (await api.fetch_run("one_task", run_id)).note == "first"
    assert (await api.fetch_run("one_task", f"{run_id}_1")).note == "second"


async def test_notes_of_ended_unfinished_and_deleted_runs_are_read_at_once(
    airflow: ContractAirflow, api: AirflowApi, run_id: str
) -> None:
    runs = []
    for number in range(4):
        name = f"{run_id}_{number}"
        await trigger(api, "one_task", name)
        await api.set_notes({("one_task", name): f"note of {name}"})
        runs.append(await api.fetch_run("one_task", name))
    for run in runs[:2]:
        await api.set_run_failed("one_task", run.run_id)
    airflow.delete("one_task", runs[3].run_id)

    notes = await api.fetch_notes(runs)

    assert notes == {("one_task", run.run_id): f"note of {run.run_id}" for run in runs[:3]}
    assert await api.fetch_notes(runs[:1]) == {("one_task", runs[0].run_id): f"note of {run_id}_0"}


async def test_runs_with_a_run_id_prefix_are_listed_newest_first(api: AirflowApi, run_id: str) -> None:
    for number in range(3):
        await trigger(api, "one_task", f"{run_id}_{number}")
    await trigger(api, "one_task", f"x{run_id}_3")

    assert [run.run_id for run in await api.fetch_runs_with_prefix("one_task", f"{run_id}_")] == [
        f"{run_id}_{number}" for number in (2, 1, 0)
    ]
    assert await api.fetch_runs_with_prefix("paused", f"{run_id}_") == ()
    newest = await api.fetch_runs_with_prefix(None, f"{run_id}_", limit=1)
    assert [run.run_id for run in newest] in ([], [f"{run_id}_2"])  # none: the other run's id contains the text, too


async def test_runs_with_a_run_id_prefix_are_read_in_pages(
    api: AirflowApi, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagcall.airflow.client.PAGE", 2)
    for number in range(5):
        await trigger(api, "one_task", f"{run_id}_{number}")

    found = await api.fetch_runs_with_prefix(None, f"{run_id}_", limit=5)

    assert [run.run_id for run in found] == [f"{run_id}_{number}" for number in (4, 3, 2, 1, 0)]
    assert len(await api.fetch_runs_with_prefix(None, f"{run_id}_", limit=3)) == 3


async def test_run_set_to_failed_is_no_longer_unfinished(api: AirflowApi, run_id: str) -> None:
    await trigger(api, "one_task", run_id)
    assert ("one_task", run_id) in await api.fetch_unfinished_run_ids(["one_task"])

    assert run_id in await api.fetch_newest_unfinished("one_task")

    assert (await api.set_run_failed("one_task", run_id)).state is RunState.FAILED

    assert run_id not in await api.fetch_newest_unfinished("one_task")
    assert ("one_task", run_id) not in await api.fetch_unfinished_run_ids(["one_task"])


async def test_run_can_be_set_to_failed_with_a_note(api: AirflowApi, run_id: str) -> None:
    await trigger(api, "one_task", run_id)
    run = await api.set_run_failed("one_task", run_id, note="asked for by curl (cancelled)")
    assert (run.state, run.note) == (RunState.FAILED, "asked for by curl (cancelled)")
    assert (await api.fetch_run("one_task", run_id)).note == run.note
