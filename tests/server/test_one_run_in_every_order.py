"""One call, one run, with overlapping calls, lost answers, and replicas without any knowledge of earlier calls."""

import asyncio
import logging
from typing import Any, cast

import httpx
import pytest
from mcp import Client
from mcp_types import CallToolResult, RequestParamsMeta

from dagcall.app import Dagcall
from dagcall.runs.ledger import SHARE_AFTER_SECONDS
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask, Fault
from tests.fake_airflow.wire import Route
from tests.server.test_calls import call as call_of
from tests.server.test_calls import text_of, until
from tests.server.test_one_run import an_airflow, call, content, left
from tests.support.in_memory import Served

PROXY_404: dict[str, Any] = {"status": 404, "body": "<h1>404 page not found</h1>"}


async def abandon(*callings: asyncio.Task[Any]) -> None:
    for calling in callings:
        calling.cancel()
    await asyncio.gather(*callings, return_exceptions=True)


async def settled(dagcall: Dagcall) -> None:
    await until(lambda: dagcall.mcp.intake.in_progress == 0)


# Runs with the same run id prefix


async def test_identical_call_is_held_until_the_first_run_is_known_to_exist(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as one, served(airflow) as other:
        hold = airflow.hold("trigger")
        first = asyncio.create_task(call(one))
        await hold.arrived()
        second = asyncio.create_task(call(one))
        await until(lambda: one.mcp.intake.in_progress == 2)
        await asyncio.sleep(0.01)
        sent_meanwhile = len(airflow.requests_to("trigger"))
        await abandon(first)
        hold.release()
        await until(lambda: len(airflow.runs) == 1 and one.waiter.watched == 1)
        await abandon(second)
        await settled(one)
        third = asyncio.create_task(call(other))
        await until(lambda: other.waiter.watched == 1)
        airflow.finish(airflow.runs[0])
        result = content(await third)

    assert sent_meanwhile == 1
    assert len(airflow.runs) == 1
    assert result["dag_run_id"].endswith("_0")


@pytest.mark.virtual_time
async def test_hundred_simultaneous_identical_calls_start_a_hundred_runs(served: Served) -> None:
    airflow = an_airflow(max_active_runs=200)
    airflow.latency_seconds = 0.001

    async with served(airflow) as dagcall:
        results = [content(result) for result in await asyncio.gather(*(call(dagcall) for _ in range(100)))]

    assert len({result["dag_run_id"] for result in results}) == len(airflow.runs) == 100
    assert not any("shared" in result or "replayed" in result for result in results)


async def test_taken_number_stays_taken_if_the_look_up_fails(served: Served) -> None:
    """The run of another replica exists, but the answer to the look-up is truncated."""
    airflow = an_airflow(checks=None)

    async with served(airflow) as one, served(airflow) as other:
        await left(one, airflow)
        garbled = airflow.add_fault(Fault(route="run", status=200, body='{"dag_id": "add", "dag_run', times=None))
        unsure = text_of(await call(other, wait_seconds=0.1))
        garbled.times = 0
        again = asyncio.create_task(call(other))
        await until(lambda: other.waiter.watched == 1)
        airflow.finish(airflow.runs[0])
        result = content(await again)

    assert "Nothing was started" not in unsure
    assert len(airflow.runs) == 1
    assert result["results"] == {"total": 2}


async def test_no_run_starts_before_the_earlier_runs_are_read(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as one, served(airflow) as other:
        await left(one, airflow)
        unread = airflow.add_fault(Fault(route="runs", status=500, times=None))
        assert (await call(other, wait_seconds=0.1)).is_error
        unread.times = 0
        other.waiter.api.rest.gate.breaker.success()
        again = asyncio.create_task(call(other))
        await until(lambda: other.waiter.watched == 1)
        airflow.finish(airflow.runs[0])
        content(await again)

    assert len(airflow.runs) == 1


async def test_running_run_is_adopted_although_run_0_was_deleted(served: Served) -> None:
    """`airflow db clean` may delete it weeks after the first call."""
    airflow = an_airflow(checks=None)

    async with served(airflow) as one, served(airflow) as other:
        for _ in range(2):
            calling = asyncio.create_task(call(one))
            await until(lambda: one.waiter.watched == 1)
            run = airflow.runs[-1]
            if run.run_id.endswith("_0"):
                airflow.finish(run)
                await calling
        await abandon(calling)
        airflow.delete(airflow.runs[0])
        again = asyncio.create_task(call(other))
        await until(lambda: other.waiter.watched == 1)
        airflow.finish(airflow.runs[0])
        result = content(await again)

    assert [run.run_id for run in airflow.runs] == [result["dag_run_id"]]


# Starts with an unknown outcome


@pytest.mark.virtual_time
@pytest.mark.parametrize("meta", [{}, {"idempotency_key": "k"}])
@pytest.mark.parametrize(
    "then",
    [
        PROXY_404,
        {"status": 200, "body": "<form>log in</form>"},
        {"status": 403, "body": {"detail": "Forbidden"}},
        {"status": 503},
        {"error": httpx.ConnectError},
    ],
)
async def test_run_that_may_exist_is_never_reported_as_not_started(
    served: Served, then: dict[str, Any], meta: dict[str, Any]
) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        airflow.add_fault(Fault(route="trigger", error=httpx.ReadError, after_effect=True))
        airflow.add_fault(Fault(times=None, when=lambda _: len(airflow.requests_to("trigger")) > 0, **then))
        unsure = text_of(await call(dagcall, **meta))
        airflow.clear_faults()
        dagcall.waiter.api.rest.gate.breaker.success()
        again = asyncio.create_task(call(dagcall, **meta))
        await until(lambda: dagcall.waiter.watched == 1)
        airflow.finish(airflow.runs[0])
        content(await again)

    assert unsure.startswith(f"It is not known whether run {airflow.runs[0].run_id} of dag add was started: ")
    assert len(airflow.runs) == 1


@pytest.mark.parametrize("status", [400, 403, 422, 404])
async def test_refusal_after_a_lost_answer_reports_an_unknown_outcome(served: Served, status: int) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        airflow.add_fault(Fault(route="trigger", error=httpx.ReadError))
        airflow.add_fault(Fault(route="trigger", status=status, body={"detail": "no"}))
        told = text_of(await call(dagcall))

    assert told.startswith("It is not known whether run mcp__")


@pytest.mark.virtual_time
async def test_lost_answer_is_resolved_after_a_proxy_outage(served: Served) -> None:
    airflow = an_airflow()

    async with served(airflow, wait_seconds=60.0) as dagcall:
        loop = asyncio.get_running_loop()
        airflow.add_fault(Fault(route="trigger", error=httpx.ReadError, after_effect=True))
        until_then = loop.time() + 6
        airflow.add_fault(
            Fault(
                times=None,
                when=lambda _: bool(airflow.requests_to("trigger")) and loop.time() < until_then,
                **PROXY_404,
            )
        )
        result = content(await call(dagcall))

    assert result["results"] == {"total": 2}
    assert len(airflow.runs) == 1


@pytest.mark.parametrize(
    ("route", "fault"),
    [
        ("dag", {"status": 403, "body": {"detail": "Forbidden"}}),
        ("dag", PROXY_404),
        ("dag", {"status": 200, "body": "<form>log in</form>"}),
        ("trigger", {"status": 403, "body": {"detail": "Forbidden"}}),
    ],
)
async def test_error_before_the_run_starts_says_that_nothing_was_started(
    served: Served, route: Any, fault: dict[str, Any]
) -> None:
    airflow = an_airflow()

    async with served(airflow) as dagcall:
        airflow.add_fault(Fault(route=route, times=None, **fault))
        told = text_of(await call(dagcall))

    assert told.startswith("Nothing was started: ")
    assert airflow.runs == []


# Timeouts


@pytest.mark.virtual_time
async def test_call_timeout_bounds_the_start(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        hold = airflow.hold("trigger")
        began = asyncio.get_running_loop().time()
        told = text_of(await call(dagcall, wait_seconds=0.5))
        took = asyncio.get_running_loop().time() - began
        hold.release()

    assert took <= 2.1
    assert told.startswith("It is not known whether run mcp__")
    assert "the call timed out" in told
    assert "wait_for_dag_run" in told


@pytest.mark.virtual_time
async def test_call_that_times_out_in_the_queue_starts_nothing(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow, airflow={"max_in_flight": 1}) as dagcall:
        hold = airflow.hold("trigger")
        first = asyncio.create_task(call(dagcall, x=1))
        await hold.arrived()
        told = text_of(await call(dagcall, x=2, wait_seconds=0.5))
        await abandon(first)

    assert told.startswith("Nothing was started: the call timed out")


@pytest.mark.virtual_time
async def test_call_times_out_while_results_are_being_read(served: Served) -> None:
    airflow = FakeAirflow("3.1.8")
    airflow.add_dag(FakeDag("add", tasks=[FakeTask("total", lambda _: 2)]))

    async with served(airflow) as dagcall:
        hold = airflow.hold("xcom")
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(60):
            told = text_of(await call_of(dagcall, "add"))
        took = asyncio.get_running_loop().time() - began
        hold.release()

    assert took <= 11
    assert "was started and succeeded, but Airflow did not answer before the call timed out" in told


async def test_starting_calls_are_answered_at_shutdown(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        hold = airflow.hold("trigger")
        starting = asyncio.create_task(call(dagcall))
        await hold.arrived()
        waiting_its_turn = asyncio.create_task(call(dagcall))
        await until(lambda: dagcall.mcp.intake.in_progress == 2)
        dagcall.mcp.begin_stop()
        dagcall.runs.drain()
        told = [text_of(result) for result in await asyncio.gather(starting, waiting_its_turn)]
        hold.release()

    assert "dagcall is shutting down" in told[0]
    assert told[0].startswith("It is not known whether run mcp__")
    assert all(text.startswith(("It is not known whether run mcp__", "Nothing was started: ")) for text in told)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.virtual_time
@pytest.mark.parametrize("is_stopping", [False, True])
async def test_wait_for_a_known_run_times_out_if_airflow_does_not_answer(served: Served, *, is_stopping: bool) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        run_id = content(await call(dagcall, wait_seconds=0))["dag_run_id"]
        hold = airflow.hold("run", times=None)
        began = asyncio.get_running_loop().time()
        waiting = asyncio.create_task(call_of(dagcall, "wait_for_dag_run", tool="add", dag_run_id=run_id))
        await hold.arrived()
        if is_stopping:
            dagcall.mcp.begin_stop()
            dagcall.runs.drain()
        told = text_of(await waiting)
        took = asyncio.get_running_loop().time() - began
        hold.release()

    assert took <= (1.1 if is_stopping else 5.1)
    assert told.startswith(f"The state of run {run_id} of dag add cannot be read now: ")


# Notes


async def test_user_edits_of_a_note_are_kept(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        calls = [asyncio.create_task(call(dagcall, x=x)) for x in range(3)]
        await until(lambda: dagcall.waiter.watched == 3)
        for run in airflow.runs:
            run.note = f"{run.note} -- approved, see OPS-17"
            airflow.finish(run)
        await asyncio.gather(*calls)

    assert all((run.note or "").endswith("-- approved, see OPS-17 (answered)") for run in airflow.runs)


async def test_full_note_is_left_unchanged(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        calling = asyncio.create_task(call(dagcall))
        await until(lambda: dagcall.waiter.watched == 1)
        airflow.runs[0].note = full = "x" * 995
        airflow.finish(airflow.runs[0])
        await calling

    assert airflow.runs[0].note == full


async def test_delivery_marks_are_written_one_by_one_if_bulk_edits_are_refused(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    airflow = an_airflow()
    airflow.add_dag(FakeDag("other", tasks=[FakeTask("it", lambda _: 1)]))
    airflow.add_fault(Fault(route="patch_runs", status=403, body={"detail": "Forbidden"}, times=None))
    airflow.add_fault(
        Fault(
            route="patch_run",
            status=403,
            body={"detail": "Forbidden"},
            times=None,
            when=lambda seen: "/dags/other/" in seen.path,
        )
    )

    async with served(airflow) as dagcall:
        await asyncio.gather(*(call(dagcall, x=x) for x in range(3)), call_of(dagcall, "other"))
        await call_of(dagcall, "other")

    assert all(((run.note or "").endswith("(answered)")) == (run.dag_id == "add") for run in airflow.runs)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "runs of dag other" in warning
    assert "Give dagcall's account the right to edit runs" in warning


@pytest.mark.virtual_time
@pytest.mark.parametrize("route", ["run", "patch_run", "patch_runs"])
@pytest.mark.parametrize("trouble", [{"status": 503}, PROXY_404, {"status": 200, "body": "<h1>Log in</h1>"}])
async def test_delivery_mark_is_retried_after_an_outage(served: Served, route: Route, trouble: dict[str, Any]) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        calling = asyncio.create_task(call(dagcall))
        await until(lambda: dagcall.waiter.watched == 1)
        airflow.add_fault(Fault(route=route, times=4, **trouble))
        airflow.finish(airflow.runs[0])
        content(await calling)
        await asyncio.sleep(60)
        assert (airflow.runs[0].note or "").endswith("(answered)")


async def test_outcome_delivered_by_another_replica_is_not_replayed(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as one, served(airflow) as other:
        await left(one, airflow)
        airflow.finish(airflow.runs[0])
        delivered = content(await call(other))
        await until(lambda: "(answered)" in (airflow.runs[0].note or ""))
        new = asyncio.create_task(call(one))
        await until(lambda: len(airflow.runs) == 2)
        airflow.finish(airflow.runs[1])
        answer = content(await new)

    assert delivered["replayed"] is True
    assert answer["dag_run_id"] == airflow.runs[1].run_id
    assert "replayed" not in answer


# Callers that disconnect and come back


@pytest.mark.virtual_time
@pytest.mark.parametrize("repeat", ["new", "adopt"])
async def test_run_is_not_cancelled_if_its_caller_comes_back(served: Served, repeat: str) -> None:
    airflow = an_airflow(checks=None)
    tools = [{"dag": "add", "on_cancel": "fail", "repeat": repeat}]

    async with served(airflow, tools=tools) as dagcall:
        handle = content(await call(dagcall, wait_seconds=0.1))["dag_run_id"]
        await wait_leave_and_come_back(dagcall, airflow, handle)

    assert airflow.runs[0].state == "success"


@pytest.mark.virtual_time
async def test_run_is_not_cancelled_if_its_caller_comes_back_after_a_restart(served: Served) -> None:
    airflow = an_airflow(checks=None)
    tools = [{"dag": "add", "on_cancel": "fail"}]

    async with served(airflow, tools=tools) as dagcall:
        handle = content(await call(dagcall, wait_seconds=0.1))["dag_run_id"]
    async with served(airflow, tools=tools) as restarted:
        await wait_leave_and_come_back(restarted, airflow, handle)

    assert airflow.runs[0].state == "success"


@pytest.mark.virtual_time
async def test_reused_run_is_returned_with_on_cancel_fail(served: Served) -> None:
    airflow = an_airflow()
    tools = [{"dag": "add", "on_cancel": "fail", "reuse_seconds": 60}]

    async with served(airflow, tools=tools) as dagcall:
        first = content(await call(dagcall))
        second = content(await call(dagcall))

    assert first["dag_run_id"] == second["dag_run_id"]
    assert len(airflow.runs) == 1


async def wait_leave_and_come_back(dagcall: Dagcall, airflow: FakeAirflow, handle: str) -> None:
    waiting = asyncio.create_task(wait(dagcall, handle))
    await until(lambda: dagcall.waiter.watched == 1)
    await abandon(waiting)
    await settled(dagcall)
    back = asyncio.create_task(wait(dagcall, handle))
    await until(lambda: dagcall.waiter.watched == 1)
    await asyncio.sleep(10)
    if not airflow.runs[0].is_final:
        airflow.finish(airflow.runs[0])
    await back


async def wait(dagcall: Dagcall, handle: str) -> CallToolResult:
    async with Client(dagcall.mcp.sdk) as client:
        meta = cast("RequestParamsMeta", {"dagcall/wait_seconds": 60})
        return await client.call_tool("wait_for_dag_run", {"tool": "add", "dag_run_id": handle}, meta=meta)


async def test_run_is_failed_if_its_caller_disconnects_during_the_start(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagcall.runs.cancel.GRACE_SECONDS", 0.0)
    airflow = an_airflow(checks=None)

    async with served(airflow, tools=[{"dag": "add", "on_cancel": "fail"}]) as dagcall:
        hold = airflow.hold("trigger", after_effect=True)
        calling = asyncio.create_task(call(dagcall))
        await until(lambda: len(airflow.runs) == 1)
        await abandon(calling)
        hold.release()
        await until(lambda: airflow.runs[0].state == "failed")


# Identical calls of clients that give up without cancelling


@pytest.mark.virtual_time
async def test_later_identical_call_shares_the_first_run(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow, wait_seconds=60.0) as dagcall:
        first = asyncio.create_task(call(dagcall, wait_seconds=60))
        await until(lambda: dagcall.waiter.watched == 1)
        await asyncio.sleep(SHARE_AFTER_SECONDS)
        second = asyncio.create_task(call(dagcall, wait_seconds=60))
        await until(lambda: dagcall.mcp.intake.in_progress == 2)
        await asyncio.sleep(0.1)
        airflow.finish(airflow.runs[0])
        one, two = content(await first), content(await second)

    assert len(airflow.runs) == 1
    assert one["dag_run_id"] == two["dag_run_id"]
    assert "shared" not in one
    assert two["shared"] is True
    assert two["message"].startswith("An identical call of yours was already waiting")


@pytest.mark.virtual_time
async def test_outcome_delivered_by_another_replica_is_not_shared(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as one, served(airflow) as other:
        hold = airflow.hold("trigger", after_effect=True)
        first = asyncio.create_task(call(one))
        await hold.arrived()
        adopting = asyncio.create_task(call(other))
        await until(lambda: other.waiter.watched == 1)
        airflow.finish(airflow.runs[0])
        content(await adopting)
        await asyncio.sleep(SHARE_AFTER_SECONDS)
        assert (airflow.runs[0].note or "").endswith("(answered)")
        new = asyncio.create_task(call(one))
        await until(lambda: one.mcp.intake.in_progress == 2)
        hold.release()
        await asyncio.sleep(0.1)
        airflow.finish(airflow.runs[-1])
        results = [content(await calling) for calling in (first, new)]

    assert [result["dag_run_id"] for result in results] == [run.run_id for run in airflow.runs]
    assert "shared" not in results[1]


@pytest.mark.virtual_time
async def test_failure_of_a_shared_run_says_that_it_is_shared(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        first = asyncio.create_task(call(dagcall, wait_seconds=60))
        await until(lambda: dagcall.waiter.watched == 1)
        await asyncio.sleep(SHARE_AFTER_SECONDS)
        second = asyncio.create_task(call(dagcall, wait_seconds=60))
        await until(lambda: dagcall.mcp.intake.in_progress == 2)
        await asyncio.sleep(0.1)
        airflow.finish(airflow.runs[0], "failed")
        one, two = text_of(await first), text_of(await second)

    assert "An identical call of yours was already waiting" in two
    assert "An identical call of yours was already waiting" not in one


@pytest.mark.virtual_time
@pytest.mark.parametrize("policy", [{"annotations": {"read_only": True}}, {"repeat": "new"}])
async def test_read_only_and_repeat_new_tools_start_a_run_for_each_call(served: Served, policy: dict[str, Any]) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow, tools=[{"dag": "add", **policy}]) as dagcall:
        calls = []
        for count in range(1, 4):
            calls.append(asyncio.create_task(call(dagcall, wait_seconds=60)))
            await until(lambda: dagcall.waiter.watched == count)  # noqa: B023 - awaited at once
            await asyncio.sleep(2 * SHARE_AFTER_SECONDS)
        for run in airflow.runs:
            airflow.finish(run)
        results = [content(result) for result in await asyncio.gather(*calls)]

    assert len({result["dag_run_id"] for result in results}) == 3


@pytest.mark.virtual_time
async def test_two_repeats_share_both_runs(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        calls = [asyncio.create_task(call(dagcall, wait_seconds=60)) for _ in range(2)]
        await until(lambda: dagcall.waiter.watched == 2)
        await asyncio.sleep(SHARE_AFTER_SECONDS)
        again = [asyncio.create_task(call(dagcall, wait_seconds=60)) for _ in range(2)]
        await until(lambda: dagcall.mcp.intake.in_progress == 4)
        await asyncio.sleep(0.1)
        for run in airflow.runs:
            airflow.finish(run)
        results = [content(result) for result in await asyncio.gather(*calls, *again)]

    assert len(airflow.runs) == 2
    assert {result["dag_run_id"] for result in results[2:]} == {run.run_id for run in airflow.runs}


@pytest.mark.virtual_time
async def test_deleted_run_is_not_shared(served: Served) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        calls = [asyncio.create_task(call(dagcall, wait_seconds=60)) for _ in range(2)]
        await until(lambda: dagcall.waiter.watched == 2)
        await asyncio.sleep(SHARE_AFTER_SECONDS)
        airflow.delete(airflow.runs[0])
        later = asyncio.create_task(call(dagcall, wait_seconds=60))
        await asyncio.sleep(0.5)
        airflow.finish(airflow.runs[0])
        result = content(await later)
        await abandon(*calls)

    assert result["dag_run_id"] == airflow.runs[0].run_id
    assert result["shared"] is True
    assert len(airflow.runs) == 1


@pytest.mark.virtual_time
@pytest.mark.parametrize("after_effect", [True, False])
async def test_repeat_during_a_delayed_start_starts_no_second_run(served: Served, *, after_effect: bool) -> None:
    airflow = an_airflow(checks=None)

    async with served(airflow) as dagcall:
        handle = content(await call(dagcall, wait_seconds=0))["dag_run_id"]
        airflow.finish(airflow.runs[0])
        assert content(await call(dagcall))["dag_run_id"] == handle
        hold = airflow.hold("trigger", after_effect=after_effect)
        first = asyncio.create_task(call(dagcall, wait_seconds=60))
        await hold.arrived()
        await asyncio.sleep(SHARE_AFTER_SECONDS)
        second = asyncio.create_task(call(dagcall, wait_seconds=60))
        await until(lambda: dagcall.waiter.watched == 1)
        hold.release()
        await asyncio.sleep(0.1)
        airflow.finish(airflow.runs[1])
        results = [content(result) for result in await asyncio.gather(first, second)]

    assert len(airflow.runs) == 2
    assert [result["results"] for result in results] == [{"total": 2}] * 2
    assert sum("shared" in result for result in results) == 1
