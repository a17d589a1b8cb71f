"""The shared poll: how far back it looks, which runs it lists, and when runs return to streams."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from mcp import Client
from mcp_types import CallToolResult

from dagcall.airflow.client import AirflowApi
from dagcall.airflow.credentials import no_token
from dagcall.airflow.gate import STREAMING_LIMIT
from dagcall.app import Dagcall
from dagcall.runs.intervals import LONE_SHARE, LONE_SHORTEST_SECONDS
from dagcall.runs.watches import OVERLAP
from tests.fake_airflow import FakeAirflow, Fault, Hold
from tests.fake_airflow.runs import FakeClock, FakeRun
from tests.fake_airflow.wire import SeenRequest
from tests.server.test_calls import add, answer, text_of, until
from tests.support.in_memory import Served
from tests.support.virtual_time import LoopClock, VirtualTimeLoop

pytestmark = pytest.mark.virtual_time
STREAMS = STREAMING_LIMIT // 2


def airflow_with_a_clock() -> tuple[FakeAirflow, FakeClock]:
    clock = FakeClock()
    airflow = FakeAirflow(clock=clock)
    airflow.add_dag(add(checks=None, max_active_runs=10))
    # No run gets a stream; the results of a run that has ended are read with an interval of 1.
    airflow.add_fault(Fault(route="wait", status=404, times=None, when=lambda seen: seen.query["interval"] != "1"))
    return airflow, clock


def asked_since(airflow: FakeAirflow) -> list[datetime]:
    """Return the earliest end date that each poll so far has asked for."""
    return bounds(airflow, "end_date_gte")


def bounds(airflow: FakeAirflow, field: str) -> list[datetime]:
    questions = (request.json for request in airflow.requests_to("list_runs"))
    return [datetime.fromisoformat(asked[field]) for asked in questions if field in asked]


async def started(dagcall: Dagcall, airflow: FakeAirflow, x: int) -> tuple[asyncio.Task[dict[str, Any]], FakeRun]:
    """Start a call; return it and its run once dagcall waits for it."""
    number = dagcall.waiter.watched
    calling: asyncio.Task[dict[str, Any]] = asyncio.create_task(answer(dagcall, "add", x=x))
    while dagcall.waiter.watched == number:  # noqa: ASYNC110 - the waiter has no event for this
        await asyncio.sleep(0.01)
    return calling, airflow.runs[-1]


async def next_question(airflow: FakeAirflow) -> datetime:
    """Return the earliest end date that the next poll asks for."""
    number = len(asked_since(airflow))
    while len(asked_since(airflow)) == number:  # noqa: ASYNC110 - the fake has no event for this
        await asyncio.sleep(0.01)
    return asked_since(airflow)[-1]


async def test_poll_looks_back_to_the_latest_end_minus_the_overlap(served: Served) -> None:
    airflow, clock = airflow_with_a_clock()
    async with served(airflow, wait_seconds=60) as dagcall:
        first, first_run = await started(dagcall, airflow, 1)
        second, second_run = await started(dagcall, airflow, 2)
        assert await next_question(airflow) == first_run.run_after - OVERLAP
        clock.time += timedelta(minutes=5)
        airflow.finish(first_run)
        await first
        assert first_run.end_date is not None
        assert await next_question(airflow) == first_run.end_date - OVERLAP
        airflow.finish(second_run)
        await second


async def test_poll_looks_back_far_enough_for_a_run_added_during_a_poll(served: Served) -> None:
    airflow, clock = airflow_with_a_clock()
    async with served(airflow, wait_seconds=60) as dagcall:
        first, first_run = await started(dagcall, airflow, 1)
        hold = Hold()
        airflow.add_fault(Fault(route="list_runs", hold=hold))
        await hold.arrived()
        second, second_run = await started(dagcall, airflow, 2)
        clock.time += timedelta(minutes=5)
        airflow.finish(first_run)
        hold.release()
        await first
        assert await next_question(airflow) == second_run.run_after - OVERLAP
        airflow.finish(second_run)
        await second


async def test_poll_after_a_failed_poll_looks_back_equally_far(served: Served) -> None:
    airflow, clock = airflow_with_a_clock()
    async with served(airflow, wait_seconds=60) as dagcall:
        calling, run = await started(dagcall, airflow, 1)
        before = await next_question(airflow)
        airflow.add_fault(Fault(route="list_runs", status=500))
        clock.time += timedelta(minutes=5)
        airflow.finish(run)
        await calling
    assert asked_since(airflow)[-2:] == [before, before]


async def test_wait_after_an_idle_time_resets_how_far_the_poll_looks_back(served: Served) -> None:
    airflow, clock = airflow_with_a_clock()
    async with served(airflow, wait_seconds=60) as dagcall:
        for x in range(2):
            calling, run = await started(dagcall, airflow, x)
            assert await next_question(airflow) == run.run_after - OVERLAP
            clock.time += timedelta(minutes=5)
            airflow.finish(run)
            await calling
            await asyncio.sleep(1)
    await until(lambda: not dagcall.waiter.watched)


async def test_poll_excludes_runs_older_than_the_oldest_waited_for(served: Served) -> None:
    airflow, clock = airflow_with_a_clock()
    async with served(airflow, wait_seconds=60) as dagcall:
        waiting = []
        for x in range(3):
            waiting.append(await started(dagcall, airflow, x))
            await next_question(airflow)
            clock.time += timedelta(seconds=1)
        for calling, run in waiting:
            assert bounds(airflow, "run_after_gte")[-1] == run.run_after
            airflow.finish(run)
            await calling
            if calling is not waiting[-1][0]:
                await next_question(airflow)


async def test_last_runs_return_to_streams(served: Served) -> None:
    airflow = FakeAirflow()  # its streams are silent after the first line, which dagcall trusts for 3 s
    airflow.add_dag(add(checks=None, max_active_runs=20))
    async with served(airflow, wait_seconds=600) as dagcall:
        calls = [(await started(dagcall, airflow, x))[0] for x in range(10)]
        await next_question(airflow)
        assert airflow.open_streams == STREAMS

        for run in airflow.runs[STREAMS:-2]:
            airflow.finish(run)  # all runs without a stream, except two
        await asyncio.gather(*calls[STREAMS:-2])
        assert airflow.open_streams == STREAMS

        airflow.finish(airflow.runs[0])
        await calls[0]
        await asyncio.sleep(0.1)
        assert airflow.open_streams == STREAMS
        airflow.finish(airflow.runs[1])
        await calls[1]
        await asyncio.sleep(0.1)
        assert airflow.open_streams == STREAMS

        questions = len(asked_since(airflow))
        await asyncio.sleep(1)
        assert len(asked_since(airflow)) == questions  # each remaining run has a stream
        for run in airflow.runs[2:]:
            airflow.finish(run)
        answers = await asyncio.gather(*calls)

    assert [content["results"] for content in answers] == [{"total": x + 2} for x in range(10)]


async def test_run_whose_stream_broke_is_polled(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add(checks=None))
    airflow.add_fault(Fault(route="wait", cut_after_lines=1))
    async with served(airflow, wait_seconds=600) as dagcall:
        calling, run = await started(dagcall, airflow, 1)
        await asyncio.sleep(5)
        assert len(airflow.requests_to("wait")) == 1
        assert asked_since(airflow)
        airflow.finish(run)
        assert (await calling)["results"] == {"total": 3}


def crowded(dag_ids: tuple[str, ...] = ("mine", "theirs")) -> FakeAirflow:
    airflow = FakeAirflow()
    for dag_id in dag_ids:
        airflow.add_dag(replace(add(checks=None, max_active_runs=30), dag_id=dag_id))
    return airflow


async def waiting_for(dagcall: Dagcall, dag_id: str, number: int) -> list[asyncio.Task[CallToolResult]]:
    """Start calls of a dag; return when all of them wait."""
    before = dagcall.waiter.watched
    calls = [asyncio.create_task(call_for_long(dagcall, dag_id, x)) for x in range(number)]
    while dagcall.waiter.watched < before + number:  # noqa: ASYNC110 - the waiter has no event for this
        await asyncio.sleep(0.01)
    return calls


async def call_for_long(dagcall: Dagcall, dag_id: str, x: int) -> CallToolResult:
    async with Client(dagcall.mcp.sdk) as client:
        return await client.call_tool(dag_id, {"x": x})


async def all_end(airflow: FakeAirflow, calls: list[asyncio.Task[CallToolResult]]) -> None:
    for run in airflow.runs:
        if not run.is_final:
            airflow.finish(run)
    results = await asyncio.gather(*calls)
    assert [result.structured_content["results"] for result in results if result.structured_content] == [
        {"total": x + 2} for x in range(len(calls))
    ]


def about(dag_id: str) -> Callable[[SeenRequest], bool]:
    return lambda seen: f"/{dag_id}/" in seen.path


async def test_revoked_right_on_one_dag_ends_only_the_waits_for_its_runs(served: Served) -> None:
    airflow = crowded()
    async with served(airflow, wait_seconds=600) as dagcall:
        mine = await waiting_for(dagcall, "mine", 8)
        (theirs,) = await waiting_for(dagcall, "theirs", 1)
        run = next(run for run in airflow.runs if run.dag_id == "theirs")
        airflow.access.users["admin"] = replace(airflow.access.users["admin"], readable=frozenset({"mine"}))

        result = await theirs
        assert result.is_error
        assert "403: Forbidden" in text_of(result)
        assert run.run_id in text_of(result)
        await asyncio.sleep(100)
        assert not any(call.done() for call in mine)
        await all_end(airflow, mine)


async def test_refused_shared_poll_is_replaced_by_a_request_per_run(served: Served) -> None:
    airflow = crowded()
    async with served(airflow, wait_seconds=600) as dagcall:
        mine = await waiting_for(dagcall, "mine", 8)
        (theirs,) = await waiting_for(dagcall, "theirs", 1)
        airflow.add_fault(Fault(route="list_runs", status=403, body={"detail": "Forbidden"}, times=None))
        airflow.add_fault(
            Fault(route="run", status=403, body={"detail": "Forbidden"}, times=None, when=about("theirs"))
        )
        assert (await theirs).is_error
        await asyncio.sleep(60)
        assert not any(call.done() for call in mine)
        await all_end(airflow, mine)


@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 503}, {"error": httpx.ReadTimeout}])
async def test_single_failed_log_in_does_not_end_a_wait(served: Served, fault: dict[str, Any]) -> None:
    airflow = crowded()
    async with served(airflow, wait_seconds=600) as dagcall:
        mine = await waiting_for(dagcall, "mine", 9)
        airflow.access.revoke_tokens()
        airflow.add_fault(Fault(route="log_in", **fault))
        await asyncio.sleep(30)
        assert not any(call.done() for call in mine)
        await all_end(airflow, mine)


async def test_temporary_failure_of_the_token_command_does_not_end_a_wait(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow = crowded()
    fails = False

    async def fetch() -> str:
        if fails:
            raise no_token("the token command 'print-token' printed no token (exit code 1)")
        return airflow.access.token()

    monkeypatch.setattr("dagcall.log_ins.token_command", lambda _: fetch)
    login = {"username": None, "password": None, "token_command": "print-token"}
    async with served(airflow, wait_seconds=600, dags=["*"], airflow=login) as dagcall:
        mine = await waiting_for(dagcall, "mine", 9)
        airflow.access.revoke_tokens()
        fails = True
        await asyncio.sleep(30)
        assert not any(call.done() for call in mine)
        fails = False
        await asyncio.sleep(5)
        await all_end(airflow, mine)


@pytest.mark.parametrize("status", [401, 403])
async def test_rejected_account_ends_all_waits_without_naming_runs_of_others(
    served: Served, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    airflow = crowded()
    async with served(airflow, wait_seconds=600) as dagcall:
        calls = await waiting_for(dagcall, "mine", 9)
        airflow.add_fault(Fault(route="list_runs", status=status, body={"detail": "Not now"}, times=None))
        airflow.add_fault(Fault(route="run", status=401, body={"detail": "Token Expired"}, times=None))
        airflow.add_fault(Fault(route="log_in", status=401, body={"detail": "Invalid credentials"}, times=None))
        texts = [text_of(await call) for call in calls[STREAMS:]]
        for run in airflow.runs:
            named = [text for text in texts if run.run_id in text]
            assert len(named) <= 1
        assert all("no longer accepts dagcall's account" in text for text in texts)
        for run in airflow.runs:
            airflow.finish(run)
        await asyncio.gather(*calls)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("answer", [{"status": 500}, {"status": 200, "body": "<html>"}])
async def test_unreadable_run_does_not_stop_the_sweep_of_others(served: Served, answer: dict[str, Any]) -> None:
    airflow = crowded()
    async with served(airflow, wait_seconds=600) as dagcall:
        mine = await waiting_for(dagcall, "mine", 9)
        streamed = "".join(seen.path for seen in airflow.requests_to("wait"))
        polled = [run for run in airflow.runs if run.run_id not in streamed]
        for run in polled[:2]:
            airflow.delete(run)
        odd = polled[0].run_id
        airflow.add_fault(Fault(route="run", times=None, when=lambda seen: odd in seen.path, **answer))
        async with asyncio.timeout(90):
            result = await mine[int(polled[1].conf["x"])]
        assert "was deleted in Airflow" in text_of(result)
        for run in airflow.runs:
            airflow.finish(run)
        airflow.clear_faults()
        await asyncio.gather(*mine)


async def test_polling_recovers_from_an_unexpected_error(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = crowded()
    async with served(airflow, wait_seconds=600) as dagcall:
        mine = await waiting_for(dagcall, "mine", 9)
        assert dagcall.waiter.poller.is_working

        async def fail(*_: Any, **__: Any) -> Any:
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            patched.setattr(AirflowApi, "fetch_finished_runs", fail)
            await asyncio.sleep(30)
            assert not dagcall.waiter.poller.is_working
        await asyncio.sleep(60)
        assert dagcall.waiter.poller.is_working
        await all_end(airflow, mine)


async def test_interval_of_a_later_wait_depends_on_the_age_of_the_run(served: Served) -> None:
    """Not on the age of the wait: dagcall looks at an old run less often."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    airflow = FakeAirflow(clock=LoopClock(loop))
    airflow.add_dag(add(checks=None))
    async with served(airflow, wait_seconds=1) as dagcall:
        content = await answer(dagcall, "add", x=1)
        await asyncio.sleep(120)
        before = len(airflow.requests_to("wait"))
        await answer(dagcall, "wait_for_dag_run", tool="add", dag_run_id=content["dag_run_id"])
        intervals = [float(seen.query["interval"]) for seen in airflow.requests_to("wait")]
        assert intervals[0] == LONE_SHORTEST_SECONDS
        assert intervals[before] == pytest.approx(121 * LONE_SHARE, abs=0.1)
