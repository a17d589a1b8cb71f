"""dagcall stops, is killed, or is full: every caller learns what to do next, and no call starts two runs."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest
from mcp_types import CallToolResult

from tests.faults.conftest import Mode, Serve, call
from tests.faults.fault_proxy import Fault, FaultProxy, Loss
from tests.faults.matrix import fault
from tests.faults.record import Json, Record, until
from tests.support.clients import text_of
from tests.support.serving_process import LEGACY, MODERN, StdioServer, request, stdio_server

MANY = (30, pytest.param(200, marks=pytest.mark.overload))
"""How many callers wait at the same time; 200 is the dag's `max_active_runs`."""


async def all_runs(airflow: Record, first: int, count: int) -> list[Json]:
    """Wait until each of the `count` calls of `held` has its run."""

    async def look() -> list[Json] | None:
        runs = [run for run in await airflow.runs("held") if first <= run["conf"]["x"] < first + count]
        return runs if len(runs) >= count else None

    runs = await until(look)
    assert sorted(run["conf"]["x"] for run in runs) == list(range(first, first + count))
    return runs


def require_handle(answer: CallToolResult, run: Json) -> None:
    assert not answer.is_error
    content = answer.structured_content or {}
    assert (content["state"], content["dag_run_id"]) == ("running", run["dag_run_id"])
    assert "wait_for_dag_run" in content["message"]


@fault(
    "SIGTERM while 30 callers wait (200 in `make overload`)",
    seen="the run's state, and how to wait for it again",
    checked="exit code 0; every caller gets its own run, which continues",
)
@pytest.mark.parametrize("count", MANY)
async def test_stopping_server_answers_all_waiting_calls(airflow: Record, serve: Serve, x: int, count: int) -> None:
    server = serve(DAGCALL_SERVER_DRAIN_SECONDS="0.5")
    modes: list[Mode] = ["auto", "legacy"]
    waiting = [asyncio.create_task(call(server.url, "held", x + number, modes[number % 2])) for number in range(count)]
    runs = await all_runs(airflow, x, count)

    code, _ = await asyncio.to_thread(server.stop)

    assert code == 0
    answers = await asyncio.gather(*waiting)
    by_x = {run["conf"]["x"]: run for run in await all_runs(airflow, x, count)}
    assert len(by_x) == len(runs)
    for number, answer in enumerate(answers):
        require_handle(answer, by_x[x + number])
        assert by_x[x + number]["end_date"] is None
    for run in runs:  # no more than 200 may be active
        await airflow.set_state(run, "failed")


@fault(
    "SIGTERM while five calls over stdio wait",
    seen="the run's state, and how to wait for it again",
    checked="exit code 0; every call gets its own run",
)
@pytest.mark.parametrize("revision", [MODERN, LEGACY])
async def test_stopping_server_answers_all_waiting_calls_over_stdio(
    airflow: Record, settings: Callable[..., dict[str, str]], x: int, revision: str
) -> None:
    with stdio_server(settings()) as server:
        await asyncio.to_thread(server.hello, revision)
        for number in range(5):
            arguments = {"name": "held", "arguments": {"x": x + number}}
            server.send(request(revision, x + number, "tools/call", arguments))
        runs = {run["conf"]["x"]: run for run in await all_runs(airflow, x, 5)}

        server.process.send_signal(signal.SIGTERM)

        answers = await asyncio.to_thread(answers_of, server, 5)
        code, _ = await asyncio.to_thread(server.ended)
    assert code == 0
    assert answers.keys() == runs.keys()
    for number, result in answers.items():
        require_handle(result, runs[number])


def answers_of(server: StdioServer, count: int) -> dict[int, CallToolResult]:
    """Read `count` answers, keyed by request id; skip progress notifications."""
    answers: dict[int, CallToolResult] = {}
    while len(answers) < count:
        message = server.receive()
        if "result" in message:
            answers[message["id"]] = CallToolResult.model_validate(message["result"])
    return answers


@fault(
    "SIGKILL while 30 callers wait (200 in `make overload`), with or without keys; they repeat on the other server",
    seen="the result of the run that the first call started",
)
@pytest.mark.parametrize("count", MANY)
@pytest.mark.parametrize("keyed", [False, True])
async def test_calls_of_a_killed_server_get_their_runs_from_another(
    airflow: Record, serve: Serve, x: int, *, keyed: bool, count: int
) -> None:
    killed, other = serve(), serve()

    def calls(url: str) -> list[asyncio.Task[CallToolResult]]:
        keys: list[dict[str, Any]] = [{"idempotency_key": f"k{x + number}"} if keyed else {} for number in range(count)]
        return [asyncio.create_task(call(url, "held", x + number, **key)) for number, key in enumerate(keys)]

    waiting = calls(killed.url)
    await all_runs(airflow, x, count)
    killed.process.send_signal(signal.SIGKILL)
    await asyncio.gather(*waiting, return_exceptions=True)
    repeated = calls(other.url)
    for run in await all_runs(airflow, x, count):
        await airflow.end(run)

    for number, calling in enumerate(repeated):
        await airflow.require_one_run("held", x + number, [await calling])


@fault(
    "SIGKILL while two identical calls wait; their runs end; both callers repeat on the other server",
    seen="each caller: the result of one of the two runs",
    checked="two runs, one for each call",
)
async def test_identical_calls_of_a_killed_server_start_no_additional_runs(
    airflow: Record, serve: Serve, x: int
) -> None:
    killed, other = serve(), serve()
    waiting = [asyncio.create_task(call(killed.url, "held", x)) for _ in range(2)]

    async def both() -> list[Json] | None:
        runs = await airflow.runs_with("held", x)
        return runs if len(runs) == 2 else None

    runs = {run["dag_run_id"]: run for run in await until(both)}
    killed.process.send_signal(signal.SIGKILL)
    await asyncio.gather(*waiting, return_exceptions=True)
    for run in runs.values():
        await airflow.end(run)

    answers = [await call(other.url, "held", x) for _ in range(2)]

    assert {(answer.structured_content or {})["dag_run_id"] for answer in answers} == runs.keys()
    assert len(await airflow.runs_with("held", x)) == 2


@fault(
    "more calls arrive than the queue for Airflow holds",
    seen="the result, or that too many calls are queued and when to try again",
    checked="no run for a refused call, one run for each of the others",
)
async def test_full_queue_refuses_new_calls_and_keeps_queued_ones(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int
) -> None:
    server = serve(DAGCALL_AIRFLOW_MAX_IN_FLIGHT="1", DAGCALL_AIRFLOW_MAX_IN_LINE="2")
    await call(server.url, "add", x)
    released = asyncio.Event()
    proxy.add(Fault(loss=Loss.DELAY, method="POST", path="/dagRuns$", released=released))

    calls = [asyncio.create_task(call(server.url, "add", x + number)) for number in range(1, 9)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)  # one of the refused calls
    released.set()
    answers = await asyncio.gather(*calls)

    busy = [answer for answer in answers if answer.is_error]
    assert busy
    assert all("calls are queued; try again in " in text_of(answer) for answer in busy)
    for number, answer in enumerate(answers, 1):
        if answer.is_error:
            assert await airflow.runs_with("add", x + number) == []
        else:
            await airflow.require_one_run("add", x + number, [answer])
