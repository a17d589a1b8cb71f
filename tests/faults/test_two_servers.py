"""Two servers with one secret, and callers that give up: one call still gets one run."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from mcp_types import CallToolResult

from dagcall.runs.delivery_marks import MARK
from tests.faults.conftest import Serve, call
from tests.faults.fault_proxy import Fault, FaultProxy, Loss
from tests.faults.matrix import fault
from tests.faults.raw_call import RawCall, raw_call
from tests.faults.record import Record, until
from tests.support.clients import text_of
from tests.support.serving_process import MODERN, HttpServer

SECRET = "two servers, one secret: 32 bytes or more"
HELD = "/dags/held$"
ADD_RUNS = "/dags/add/dagRuns$"
A_RUN = "/dagRuns/mcp__[^/]*$"
BEFORE_THE_POST = 3.0
"""The delay of the request that precedes the first POST for a dag."""
NO_ROUTE: dict[str, Any] = {"status": 404, "headers": {"content-type": "text/plain"}, "body": b"404 page not found\n"}
"""The answer of an ingress that has lost its route during a rollout."""
CUT_JSON: dict[str, Any] = {"status": 200, "body": b'{"dag_run_id": "mc'}
NO_ROUTE_SECONDS = 6.0


async def two(serve: Serve) -> list[HttpServer]:
    """Start two servers and let both read the dags, so that the next request for a dag belongs to a call."""
    servers = [serve(DAGCALL_SERVER_SECRET=SECRET) for _ in range(2)]
    for server in servers:
        await asyncio.to_thread(server.ask, MODERN, "tools/list")
    return servers


async def answer_of(airflow: Record, calling: asyncio.Task[CallToolResult], x: int) -> CallToolResult:
    """End every run of `held` with this argument, including later ones, until the call is answered."""

    async def answered() -> bool:
        for run in await airflow.runs_with("held", x):
            if run["end_date"] is None:
                await airflow.end(run)
        return calling.done()

    await until(answered)
    return await calling


def is_over(fault: Fault) -> Callable[[], Awaitable[bool]]:
    """Return a function that returns whether a fault is used up."""

    async def look() -> bool:
        return fault.times == 0

    return look


# A call without a key, abandoned twice

Begin = Callable[[HttpServer, FaultProxy, int, AsyncExitStack], Awaitable[RawCall]]


async def overlap(server: HttpServer, proxy: FaultProxy, x: int, calls: AsyncExitStack) -> RawCall:
    """Abandon a call before its trigger is sent, while an identical call waits; return the second call."""
    asked = proxy.add(Fault(loss=Loss.DELAY, method="GET", path=HELD, seconds=BEFORE_THE_POST))
    first = await calls.enter_async_context(raw_call(server.url, "held", x))
    await until(is_over(asked))
    second = await calls.enter_async_context(raw_call(server.url, "held", x))
    await asyncio.sleep(BEFORE_THE_POST / 3)  # until it waits for the same answer
    first.reset()
    return second


async def stall(server: HttpServer, _proxy: FaultProxy, x: int, calls: AsyncExitStack) -> RawCall:
    """Abandon and repeat a call while the server is stopped, so that it reads both calls at once."""
    server.process.send_signal(signal.SIGSTOP)
    first = await calls.enter_async_context(raw_call(server.url, "held", x))
    await asyncio.sleep(0.5)  # as long as the caller waits
    first.hang_up()
    second = await calls.enter_async_context(raw_call(server.url, "held", x))
    server.process.send_signal(signal.SIGCONT)
    return second


@pytest.mark.parametrize(
    ("begin", "is_killed"),
    [
        pytest.param(
            overlap,
            False,
            id="overlap",
            marks=fault(
                "a call is abandoned before its trigger is sent, then its repeat; the third uses another server"
            ),
        ),
        pytest.param(
            stall,
            False,
            id="stall",
            marks=fault(
                "SIGSTOP while a call is abandoned and repeated; the repeat is abandoned; the third uses another server"
            ),
        ),
        pytest.param(stall, True, id="stall, then kill", marks=fault("the same, and the first server is killed")),
    ],
)
async def test_call_without_a_key_made_three_times_starts_one_run(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int, *, begin: Begin, is_killed: bool
) -> None:
    first, other = await two(serve)
    async with AsyncExitStack() as calls:
        second = await begin(first, proxy, x, calls)
        await airflow.the_run("held", x)
        if is_killed:
            first.process.kill()
        second.reset()
    await asyncio.sleep(1)  # until the caller's third attempt

    answer = await answer_of(airflow, asyncio.create_task(call(other.url, "held", x)), x)

    await airflow.require_one_run("held", x, [answer])


@fault(
    "the answer to the trigger is lost, and the answer to the look-up of the run is cut",
    seen='each call: the result of its own run; never "Nothing was started"',
    checked="two runs for two identical calls; each answer is the result of its own run",
)
async def test_two_identical_calls_start_two_runs_despite_a_garbled_answer(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int
) -> None:
    url = serve().url
    await call(url, "add", x + 1)
    lost = proxy.add(Fault(loss=Loss.ANSWER, method="POST", path=ADD_RUNS))
    garbled = proxy.add(Fault(loss=Loss.REPLACED_AFTER_EFFECT, path=A_RUN, after=lost, **CUT_JSON))

    async def until_answered() -> CallToolResult:
        while (answer := await call(url, "add", x)).is_error:
            assert "Nothing was started" not in text_of(answer)
        return answer

    answers = await asyncio.gather(until_answered(), until_answered())

    assert garbled.times == 0
    runs = {run["dag_run_id"]: run for run in await airflow.runs_with("add", x)}
    assert len(runs) == 2
    for answer in answers:
        airflow.require_answer(answer, runs[(answer.structured_content or {})["dag_run_id"]])


@fault(
    "the answer to the trigger is lost, then an ingress answers 404 to everything for 6 s",
    seen="the result, or that it is not known whether the run was started",
    checked='never "Nothing was started"; one run, and the repeat gets its result',
)
@pytest.mark.parametrize("key", [None, "order-7"])
async def test_run_with_a_lost_answer_is_not_denied_during_a_proxy_outage(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int, *, key: str | None
) -> None:
    url = serve().url
    await call(url, "add", x + 1)
    lost = proxy.add(Fault(loss=Loss.ANSWER, method="POST", path=ADD_RUNS))
    proxy.add(Fault(loss=Loss.REPLACED, times=1_000_000, after=lost, **NO_ROUTE))
    meta: dict[str, Any] = {} if key is None else {"idempotency_key": f"{key}-{x}"}

    calling = asyncio.create_task(call(url, "add", x, **meta))
    await until(is_over(lost))
    await asyncio.sleep(NO_ROUTE_SECONDS)
    proxy.clear()
    answer = await calling

    run = await airflow.the_run("add", x)
    if answer.is_error:
        assert f"It is not known whether run {run['dag_run_id']}" in text_of(answer)
        answer = await call(url, "add", x, **meta)
    await airflow.require_one_run("add", x, [answer])


@fault(
    "an identical call arrives at a server that remembers a run whose outcome another server has delivered",
    seen="the result of a new run",
    checked="two runs; the old outcome is not returned again",
)
async def test_outcome_delivered_by_another_server_is_not_returned_again(airflow: Record, serve: Serve, x: int) -> None:
    first, other = await two(serve)
    handle = await call(first.url, "held", x, wait_seconds=0.5)
    assert (handle.structured_content or {})["state"] in {"queued", "running"}
    old = await airflow.the_run("held", x)
    answer = await answer_of(airflow, asyncio.create_task(call(other.url, "held", x)), x)
    await airflow.require_one_run("held", x, [answer])

    async def says_answered() -> bool:
        return MARK in (await airflow.the_run("held", x))["note"]

    await until(says_answered)

    new = await answer_of(airflow, asyncio.create_task(call(first.url, "held", x)), x)

    runs = {run["dag_run_id"]: run for run in await airflow.runs_with("held", x)}
    assert len(runs) == 2
    del runs[old["dag_run_id"]]
    (run,) = runs.values()
    airflow.require_answer(new, run)
