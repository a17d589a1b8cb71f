"""One call, one run: retries, repeats, restarts and replicas, on the fake Airflow."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import httpx
import pytest
from mcp import Client
from mcp_types import CallToolResult, RequestParamsMeta

from dagcall.app import Dagcall
from dagcall.errors import UnknownRun
from dagcall.runs import Listener
from tests.fake_airflow import NOTSET, FakeAirflow, FakeDag, FakeParam, FakeTask, Fault
from tests.fake_airflow.questions import Version
from tests.fake_airflow.serving import WallClock
from tests.server.test_calls import text_of, until
from tests.support.in_memory import Served


def add(**more: Any) -> FakeDag:
    return FakeDag(
        "add",
        params={"x": FakeParam(NOTSET, type="integer")},
        tasks=[FakeTask("total", lambda params: params["x"] + 1)],
        **more,
    )


def an_airflow(**more: Any) -> FakeAirflow:
    airflow = FakeAirflow(clock=WallClock())
    airflow.add_dag(add(**more))
    return airflow


async def call(dagcall: Dagcall, x: int = 1, tool: str = "add", **meta: Any) -> CallToolResult:
    async with asyncio.timeout(60), Client(dagcall.mcp.sdk) as client:
        named = cast("RequestParamsMeta", {f"dagcall/{name}": value for name, value in meta.items()})
        return await client.call_tool(tool, {"x": x}, meta=named or None)


def content(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error, text_of(result)
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def test_retry_with_same_key_returns_the_same_run(served: Served) -> None:
    airflow = an_airflow()

    async with served(airflow) as dagcall:
        first = content(await call(dagcall, idempotency_key="order-7"))
        again = content(await call(dagcall, idempotency_key="order-7"))
    async with served(airflow) as other_process:
        later = content(await call(other_process, idempotency_key="order-7"))

    assert len(airflow.runs) == 1
    assert again == later == {**first, "replayed": True}


async def test_key_reused_with_other_arguments_is_refused(served: Served) -> None:
    airflow = an_airflow()

    async with served(airflow) as dagcall:
        await call(dagcall, x=1, idempotency_key="k")
        refused = await call(dagcall, x=2, idempotency_key="k")

    assert refused.is_error
    assert "this idempotency key belongs to run mcp__" in text_of(refused)
    assert len(airflow.runs) == 1


@pytest.mark.parametrize(
    ("key", "problem"),
    [("", "must have 1 to 255 characters"), ("x" * 256, "must have 1 to 255 characters"), (3, "in _meta is not text")],
)
async def test_invalid_key_is_refused(served: Served, key: Any, problem: str) -> None:
    airflow = an_airflow()

    async with served(airflow) as dagcall:
        refused = await call(dagcall, idempotency_key=key)

    assert problem in text_of(refused)
    assert airflow.runs == []


async def test_simultaneous_calls_with_one_key_start_one_run(served: Served) -> None:
    airflow = an_airflow()
    airflow.latency_seconds = 0.001

    async with served(airflow) as one, served(airflow) as other:
        results = await asyncio.gather(
            *(call(dagcall, idempotency_key="k") for dagcall in (one, other) for _ in range(10))
        )

    assert len(airflow.runs) == 1
    assert [content(result)["results"] for result in results] == [{"total": 2}] * 20


async def test_simultaneous_identical_calls_start_two_runs(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        calls = [asyncio.create_task(call(dagcall)) for _ in range(2)]
        await until(lambda: len(airflow.runs) == 2)
        for run in airflow.runs:
            airflow.finish(run)
        results = [content(result) for result in await asyncio.gather(*calls)]

    assert {result["dag_run_id"] for result in results} == {run.run_id for run in airflow.runs}


async def test_identical_call_after_a_delivered_answer_starts_a_new_run(served: Served) -> None:
    airflow = an_airflow()

    async with served(airflow) as dagcall:
        results = [content(await call(dagcall)) for _ in range(3)]

    assert len(airflow.runs) == 3
    assert not any("replayed" in result for result in results)
    assert [run.run_id[-2:] for run in airflow.runs] == ["_0", "_1", "_2"]


async def left(dagcall: Dagcall, airflow: FakeAirflow) -> None:
    """Make a call and disconnect while its run continues."""
    runs = len(airflow.runs)
    calling = asyncio.create_task(call(dagcall))
    await until(lambda: len(airflow.runs) > runs and dagcall.waiter.watched > 0)
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    await until(lambda: dagcall.mcp.intake.in_progress == 0)


async def test_repeat_adopts_the_run_after_a_disconnect(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        await left(dagcall, airflow)
        again = asyncio.create_task(call(dagcall))
        await until(lambda: dagcall.mcp.intake.in_progress == 1)
        airflow.finish(airflow.runs[0])
        assert content(await again)["results"] == {"total": 2}

    assert len(airflow.runs) == 1


async def test_undelivered_outcome_is_replayed_to_the_next_identical_call(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        await left(dagcall, airflow)
        airflow.finish(airflow.runs[0])
        replayed = content(await call(dagcall))
        new = asyncio.create_task(call(dagcall))
        await until(lambda: len(airflow.runs) == 2)
        airflow.finish(airflow.runs[1])
        await new

    assert (replayed["results"], replayed["replayed"]) == ({"total": 2}, True)


async def test_repeat_after_a_timeout_waits_for_the_same_run(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        first = content(await call(dagcall, wait_seconds=0.05))
        second = content(await call(dagcall, wait_seconds=0))
        airflow.finish(airflow.runs[0])
        third = content(await call(dagcall))

    assert (first["state"], second["state"], third["state"]) == ("running", "running", "success")
    assert len(airflow.runs) == 1


async def test_another_process_adopts_a_running_run(served: Served) -> None:
    """The other process cannot know whether the first caller still waits, so it does not start a second run."""
    airflow = an_airflow(checks=None)

    async with served(airflow) as one, served(airflow) as other:
        calls = [asyncio.create_task(call(dagcall)) for dagcall in (one, other)]
        await until(lambda: one.mcp.intake.in_progress + other.mcp.intake.in_progress == 2)
        await until(lambda: other.waiter.watched == 1 and one.waiter.watched == 1)
        airflow.finish(airflow.runs[0])
        results = [content(result) for result in await asyncio.gather(*calls)]

    assert len(airflow.runs) == 1
    assert results[0] == results[1]


async def test_two_repeats_after_a_restart_adopt_both_runs(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as killed:
        calls = [asyncio.create_task(call(killed)) for _ in range(2)]
        await until(lambda: len(airflow.runs) == 2)
        for calling in calls:
            calling.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    async with served(airflow) as restarted:
        again = [asyncio.create_task(call(restarted)) for _ in range(2)]
        await until(lambda: restarted.waiter.watched == 2)
        for run in airflow.runs:
            airflow.finish(run)
        results = [content(result) for result in await asyncio.gather(*again)]

    assert len(airflow.runs) == 2
    assert {result["dag_run_id"] for result in results} == {run.run_id for run in airflow.runs}


@pytest.mark.parametrize("version", ["3.1.8", "3.3.2"])
async def test_outcome_with_a_delivery_mark_is_not_replayed_after_a_restart(served: Served, version: Version) -> None:
    airflow = FakeAirflow(version, clock=WallClock())
    airflow.add_dag(add())

    async with served(airflow) as dagcall:
        await call(dagcall)
    async with served(airflow) as restarted:
        assert "replayed" not in content(await call(restarted))

    assert len(airflow.runs) == 2
    assert [(run.note or "").endswith("] (answered)") for run in airflow.runs] == [True, True]


async def test_marks_take_two_requests_for_all_runs_even_if_others_have_ended_since(served: Served) -> None:
    airflow = an_airflow()

    async with served(airflow) as dagcall:
        for x in range(3):
            await call(dagcall, x)
        for number in range(30):
            await dagcall.waiter.api.trigger("add", run_id=f"later_{number}", conf={"x": 1}, logical_date=None, note="")
            airflow.finish(airflow.runs[-1])
        before = len(airflow.requests)

    assert [request.route for request in airflow.requests[before:]] == ["list_runs", "patch_runs"]
    assert [(run.note or "").endswith("(answered)") for run in airflow.runs[:4]] == [True, True, True, False]


@pytest.mark.parametrize(("minutes_ago", "runs"), [(5, 1), (15, 2)])
async def test_outcome_without_a_delivery_mark_is_replayed_for_a_limited_time(
    served: Served, minutes_ago: int, runs: int
) -> None:
    airflow = an_airflow()
    airflow.add_fault(Fault(route="patch_run", status=500, times=None))

    async with served(airflow) as dagcall:
        await call(dagcall)
    airflow.clear_faults()
    airflow.runs[0].end_date = airflow.clock.now() - timedelta(minutes=minutes_ago)
    async with served(airflow) as restarted:
        result = content(await call(restarted))

    assert len(airflow.runs) == runs
    assert result.get("replayed", False) == (runs == 1)


async def test_old_run_is_not_mistaken_for_the_result_of_a_lost_request(served: Served) -> None:
    airflow = an_airflow()
    async with served(airflow) as dagcall:
        await call(dagcall)
    airflow.runs[0].end_date = airflow.clock.now() - timedelta(days=1)
    airflow.add_fault(Fault(route="trigger", error=httpx.ReadTimeout))

    async with served(airflow) as restarted:
        result = content(await call(restarted))

    assert result["dag_run_id"] == airflow.runs[1].run_id
    assert len(airflow.runs) == 2


async def test_repeat_resolves_an_unknown_outcome(served: Served) -> None:
    airflow = an_airflow()
    airflow.add_fault(Fault(route="trigger", error=httpx.ReadTimeout, after_effect=True, times=None))
    airflow.add_fault(Fault(route="run", error=httpx.ReadTimeout, times=None))

    async with served(airflow) as dagcall:
        unsure = await call(dagcall)
        airflow.clear_faults()
        dagcall.waiter.api.rest.gate.breaker.success()
        settled = content(await call(dagcall))

    assert unsure.is_error
    assert settled["results"] == {"total": 2}
    assert len(airflow.runs) == 1


@pytest.mark.virtual_time
async def test_unread_outcome_is_returned_to_the_repeat(served: Served) -> None:
    airflow = an_airflow()
    airflow.add_fault(Fault(route="wait", status=403, times=None))

    async with served(airflow) as dagcall:
        unread = await call(dagcall)
        airflow.clear_faults()
        read = content(await call(dagcall))

    assert unread.is_error
    assert read["results"] == {"total": 2}
    assert len(airflow.runs) == 1


async def test_number_of_a_refused_run_is_used_by_the_next_call(served: Served) -> None:
    airflow = an_airflow()
    airflow.add_fault(Fault(route="trigger", status=400, body={"detail": "not now"}))

    async with served(airflow) as dagcall:
        assert (await call(dagcall)).is_error
        content(await call(dagcall))

    assert [run.run_id[-2:] for run in airflow.runs] == ["_0"]


async def test_repeat_new_starts_a_run_for_each_call_without_a_key(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow, tools=[{"dag": "add", "repeat": "new"}]) as dagcall:
        for _ in range(2):
            assert content(await call(dagcall, wait_seconds=0))["state"] == "running"
        keyed = [content(await call(dagcall, idempotency_key="k", wait_seconds=0)) for _ in range(2)]

    assert len(airflow.runs) == 3
    assert keyed[0] == keyed[1]


async def test_repeat_key_only_requires_a_key(served: Served) -> None:
    airflow = an_airflow()

    async with served(airflow, tools=[{"dag": "add", "repeat": "key_only"}]) as dagcall:
        refused = await call(dagcall)
        content(await call(dagcall, idempotency_key="k"))

    assert "this tool needs an idempotency key: set dagcall/idempotency_key in _meta" in text_of(refused)
    assert len(airflow.runs) == 1


async def test_reuse_seconds_answers_with_a_recent_run(served: Served) -> None:
    airflow = an_airflow()

    async with served(airflow, tools=[{"dag": "add", "reuse_seconds": 60}]) as dagcall:
        first = content(await call(dagcall, x=1))
        reused = content(await call(dagcall, x=1))
        content(await call(dagcall, x=2))
        airflow.runs[0].end_date = airflow.clock.now() - timedelta(seconds=61)
        fresh = content(await call(dagcall, x=1))

    assert reused == {**first, "reused": True}
    assert not {"replayed", "reused"} & fresh.keys()
    assert len(airflow.runs) == 3


async def test_run_of_another_caller_is_unknown(served: Served) -> None:
    airflow = an_airflow()

    async with served(airflow) as dagcall:
        handle = content(await call(dagcall))["dag_run_id"]
        tool = dagcall.catalog.tool("add")
        with pytest.raises(UnknownRun, match="there is no run"):
            await dagcall.runs.resume(tool, handle, Listener(0.0), caller="somebody else")
        with pytest.raises(UnknownRun, match="there is no run"):
            await dagcall.runs.cancel(tool, handle, caller="somebody else")


async def test_cancelling_a_run_twice_fails_it_once(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        handle = content(await call(dagcall, wait_seconds=0))["dag_run_id"]
        async with Client(dagcall.mcp.sdk) as client:
            arguments = {"tool": "add", "dag_run_id": handle}
            cancelled = content(await client.call_tool("cancel_dag_run", arguments))
            again = content(await client.call_tool("cancel_dag_run", arguments))
            told = await client.call_tool("wait_for_dag_run", arguments)

    assert cancelled == again == {"state": "failed", "dag_run_id": handle, "url": cancelled["url"]}
    assert len(airflow.requests_to("patch_run")) == 1
    assert told.is_error
    assert "someone set the run to failed" in text_of(told)


async def test_cancellation_overwritten_by_the_scheduler_is_repeated(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagcall.runs.cancel.LOOK_SECONDS", 0.5)
    airflow = an_airflow(checks=None)
    airflow.runs_in_hand = 1

    async with served(airflow) as dagcall:
        handle = content(await call(dagcall, wait_seconds=0))["dag_run_id"]
        arguments = {"tool": "add", "dag_run_id": handle}
        async with Client(dagcall.mcp.sdk) as waiting, Client(dagcall.mcp.sdk) as cancelling:
            told, cancelled = await asyncio.gather(
                waiting.call_tool("wait_for_dag_run", arguments), cancelling.call_tool("cancel_dag_run", arguments)
            )

    assert content(cancelled)["state"] == airflow.run(handle).state == "failed"
    assert told.is_error
    assert f"The run {handle} of dag add was cancelled by its caller." in text_of(told)


@pytest.mark.parametrize("trouble", [Fault(error=httpx.ReadError), Fault(status=404, body="404 page not found")])
@pytest.mark.parametrize(
    ("tool", "told"),
    [
        ("cancel_dag_run", "It is not known whether run {} of dag add was cancelled: "),
        ("wait_for_dag_run", "The state of run {} of dag add cannot be read now: "),
        ("read_dag_result", "The results of run {} of dag add cannot be read now: "),
    ],
)
async def test_error_names_the_run_while_airflow_is_unreachable(
    served: Served, tool: str, told: str, trouble: Fault
) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        handle = content(await call(dagcall, wait_seconds=0))["dag_run_id"]
        airflow.add_fault(replace(trouble, times=None))
        async with Client(dagcall.mcp.sdk) as client:
            answer = await client.call_tool(tool, {"tool": "add", "dag_run_id": handle})

    assert answer.is_error
    assert text_of(answer).startswith(told.format(handle))
    assert f"/dags/add/runs/{handle}" in text_of(answer)


async def test_disconnect_leaves_the_run_alone_by_default(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagcall.runs.cancel.GRACE_SECONDS", 0.0)
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        await left(dagcall, airflow)
        await asyncio.sleep(0.05)

    assert airflow.requests_to("patch_run") == []


async def test_disconnect_fails_the_run_with_on_cancel_fail(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagcall.runs.cancel.GRACE_SECONDS", 0.0)
    airflow = an_airflow(checks=None)

    async with served(airflow, tools=[{"dag": "add", "on_cancel": "fail"}]) as dagcall:
        await left(dagcall, airflow)
        await until(lambda: airflow.runs[0].state == "failed")

    assert len(airflow.requests_to("patch_run")) == 1


@pytest.mark.virtual_time
async def test_run_adopted_within_the_grace_period_continues(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagcall.runs.cancel.GRACE_SECONDS", 0.2)
    airflow = an_airflow(checks=None)

    async with served(airflow, tools=[{"dag": "add", "on_cancel": "fail"}]) as dagcall:
        await left(dagcall, airflow)
        again = asyncio.create_task(call(dagcall))
        await until(lambda: dagcall.mcp.intake.in_progress == 1)
        await asyncio.sleep(0.3)
        airflow.finish(airflow.runs[0])
        assert content(await again)["results"] == {"total": 2}

    assert airflow.runs[0].state == "success"


@pytest.mark.virtual_time
async def test_open_circuit_refuses_new_calls_and_keeps_waiting_ones(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow, wait_seconds=60) as dagcall:
        waiting = asyncio.create_task(call(dagcall, x=1))
        await until(lambda: dagcall.waiter.watched == 1)
        airflow.add_fault(Fault(error=httpx.ConnectError, times=None))
        for x in range(2, 5):
            assert (await call(dagcall, x=x, wait_seconds=0.1)).is_error
        asked = len(airflow.requests)
        told = text_of(await call(dagcall, x=9))
        assert len(airflow.requests) == asked
        airflow.clear_faults()
        airflow.finish(airflow.runs[0])
        dagcall.waiter.api.rest.gate.breaker.success()
        assert content(await waiting)["results"] == {"total": 2}

    assert told.startswith("Nothing was started: Airflow has not answered for ")
    assert len(airflow.runs) == 1


@pytest.mark.virtual_time
async def test_call_made_before_an_outage_waits_until_airflow_is_back(served: Served) -> None:
    airflow = an_airflow()

    async with served(airflow, wait_seconds=60) as dagcall:
        content(await call(dagcall, x=1))
        airflow.add_fault(Fault(route="trigger", error=httpx.ConnectError, times=None))
        calling = [asyncio.create_task(call(dagcall, x=x)) for x in range(2, 8)]
        await until(lambda: dagcall.waiter.api.rest.gate.breaker.is_open)
        airflow.clear_faults()
        dagcall.waiter.api.rest.gate.breaker.success()
        results = [content(result)["results"] for result in await asyncio.gather(*calling)]

    assert results == [{"total": x + 1} for x in range(2, 8)]
    assert len(airflow.runs) == 7


@pytest.mark.virtual_time
async def test_full_queue_refuses_calls_at_once(served: Served) -> None:
    airflow = an_airflow()

    async with served(airflow, airflow={"max_in_flight": 1, "max_in_line": 1}) as dagcall:
        hold = airflow.hold("trigger")
        first = asyncio.create_task(call(dagcall, x=1))
        await hold.arrived()
        second = asyncio.create_task(call(dagcall, x=2))
        await until(lambda: dagcall.runs.in_line("local") == 1)
        turned_away = text_of(await call(dagcall, x=3))
        hold.release()
        await asyncio.gather(first, second)

    assert turned_away.startswith("Nothing was started: too many calls are queued; try again in ")
    assert len(airflow.runs) == 2


@pytest.mark.parametrize("seconds", ["soon", -1, True])
async def test_invalid_wait_seconds_is_refused(served: Served, seconds: Any) -> None:
    airflow = an_airflow()

    async with served(airflow) as dagcall:
        assert "dagcall/wait_seconds in _meta is not a number of seconds" in text_of(
            await call(dagcall, wait_seconds=seconds)
        )

    assert airflow.runs == []


@pytest.mark.virtual_time
async def test_call_of_a_one_task_dag_needs_at_most_three_requests(served: Served) -> None:
    airflow = an_airflow(checks=3, max_active_runs=100)

    async with served(airflow) as dagcall:
        await call(dagcall, x=1000)  # fetches what dagcall fetches once per dag version
        before = len(airflow.requests)
        await asyncio.gather(*(call(dagcall, x=x) for x in range(50)))

    assert (len(airflow.requests) - before) / 50 <= 3
