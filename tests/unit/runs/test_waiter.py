"""How far the shared question looks back, about how old runs it asks, and when it is left for streams again."""

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
from dagcall.airflow.gate import DEFAULT_LIMIT
from dagcall.app import Dagcall
from dagcall.runs.intervals import SHORTEST_SECONDS, STREAMED_SHARE
from dagcall.runs.watches import OVERLAP
from tests.fake_airflow import FakeAirflow, Fault, Hold
from tests.fake_airflow.runs import FakeClock, FakeRun
from tests.fake_airflow.wire import SeenRequest
from tests.server.test_calls import add, answer, text_of, until
from tests.support.in_memory import Served
from tests.support.virtual_time import LoopClock, VirtualTimeLoop

pytestmark = pytest.mark.virtual_time
STREAMS = DEFAULT_LIMIT // 2


def airflow_with_a_clock() -> tuple[FakeAirflow, FakeClock]:
    clock = FakeClock()
    airflow = FakeAirflow(clock=clock)
    airflow.add_dag(add(checks=None, max_active_runs=10))
    # No run has a stream; once it has ended, its results are read with an interval of 1.
    airflow.add_fault(Fault(route="wait", status=404, times=None, when=lambda seen: seen.query["interval"] != "1"))
    return airflow, clock


def asked_since(airflow: FakeAirflow) -> list[datetime]:
    """Return from when on each question so far asked for ends."""
    return bounds(airflow, "end_date_gte")


def bounds(airflow: FakeAirflow, field: str) -> list[datetime]:
    questions = (request.json for request in airflow.requests_to("list_runs"))
    return [datetime.fromisoformat(asked[field]) for asked in questions if field in asked]


async def started(dagcall: Dagcall, airflow: FakeAirflow, x: int) -> tuple[asyncio.Task[dict[str, Any]], FakeRun]:
    """Begin a call, and return it with its run, which is waited for."""
    number = dagcall.waiter.watched
    calling: asyncio.Task[dict[str, Any]] = asyncio.create_task(answer(dagcall, "add", x=x))
    while dagcall.waiter.watched == number:  # noqa: ASYNC110 - the waiter tells nobody how many it watches
        await asyncio.sleep(0.01)
    return calling, airflow.runs[-1]


async def next_question(airflow: FakeAirflow) -> datetime:
    """Return from when on the next question asks."""
    number = len(asked_since(airflow))
    while len(asked_since(airflow)) == number:  # noqa: ASYNC110 - the fake knows no events
        await asyncio.sleep(0.01)
    return asked_since(airflow)[-1]


async def test_no_further_than_the_latest_end_and_the_overlap(served: Served) -> None:
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


async def test_as_far_as_a_run_needs_that_came_while_the_question_was_under_way(served: Served) -> None:
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


async def test_as_far_as_before_where_there_was_no_answer(served: Served) -> None:
    airflow, clock = airflow_with_a_clock()
    async with served(airflow, wait_seconds=60) as dagcall:
        calling, run = await started(dagcall, airflow, 1)
        before = await next_question(airflow)
        airflow.add_fault(Fault(route="list_runs", status=500))
        clock.time += timedelta(minutes=5)
        airflow.finish(run)
        await calling
    assert asked_since(airflow)[-2:] == [before, before]


async def test_a_wait_after_all_others_are_over_begins_anew(served: Served) -> None:
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


async def test_no_runs_are_listed_that_are_older_than_all_that_are_waited_for(served: Served) -> None:
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


async def test_the_last_runs_have_streams_again(served: Served) -> None:
    airflow = FakeAirflow()  # whose streams are silent after their first line, which is believed for 3 s
    airflow.add_dag(add(checks=None, max_active_runs=20))
    async with served(airflow, wait_seconds=600) as dagcall:
        calls = [(await started(dagcall, airflow, x))[0] for x in range(10)]
        await next_question(airflow)
        assert airflow.open_streams == STREAMS

        for run in airflow.runs[STREAMS:-2]:
            airflow.finish(run)  # of those without a stream; two are left
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
        assert len(asked_since(airflow)) == questions  # each run that is left has a stream
        for run in airflow.runs[2:]:
            airflow.finish(run)
        answers = await asyncio.gather(*calls)

    assert [content["results"] for content in answers] == [{"total": x + 2} for x in range(10)]


async def test_a_run_whose_stream_broke_has_none_again(served: Served) -> None:
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
    """Begin calls of a dag, and return when all of them wait."""
    before = dagcall.waiter.watched
    calls = [asyncio.create_task(call_for_long(dagcall, dag_id, x)) for x in range(number)]
    while dagcall.waiter.watched < before + number:  # noqa: ASYNC110 - the waiter tells nobody how many it watches
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


async def test_right_on_one_dag_that_is_withdrawn_ends_the_waits_for_its_runs_alone(served: Served) -> None:
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


async def test_shared_question_that_is_refused_is_asked_run_by_run(served: Served) -> None:
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
async def test_log_in_that_fails_once_ends_no_wait(served: Served, fault: dict[str, Any]) -> None:
    airflow = crowded()
    async with served(airflow, wait_seconds=600) as dagcall:
        mine = await waiting_for(dagcall, "mine", 9)
        airflow.access.revoke_tokens()
        airflow.add_fault(Fault(route="log_in", **fault))
        await asyncio.sleep(30)
        assert not any(call.done() for call in mine)
        await all_end(airflow, mine)


async def test_command_that_fails_once_ends_no_wait(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = crowded()
    fails = False

    async def fetch() -> str:
        if fails:
            raise no_token("the token command 'print-token' printed no token (exit code 1)")
        return airflow.access.token()

    monkeypatch.setattr("dagcall.app.token_command", lambda _: fetch)
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
async def test_account_that_is_let_in_no_more_ends_all_waits_and_names_no_run_of_others(
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
async def test_run_that_cannot_be_asked_about_keeps_no_other_from_being_swept(
    served: Served, answer: dict[str, Any]
) -> None:
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


async def test_poll_that_fails_unexpectedly_goes_on_and_says_so(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
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


async def test_run_that_is_waited_for_again_is_as_old_as_it_is(served: Served) -> None:
    """And not as young as the wait: an old run is looked at more rarely."""
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
        assert intervals[0] == SHORTEST_SECONDS
        assert intervals[before] == pytest.approx(121 * STREAMED_SHARE, abs=0.1)
