"""Requests and answers that are lost, cut, late or replaced: each call gets one run and its answer."""

import asyncio
import re
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from mcp import Client
from mcp_types import CallToolResult

from dagcall.airflow.overload import FAILURES_TO_OPEN
from dagcall.airflow.rest import READ_SECONDS
from tests.faults.conftest import BOTH, Serve, call
from tests.faults.fault_proxy import Fault, FaultProxy, Loss
from tests.faults.matrix import fault
from tests.faults.record import Record
from tests.support.clients import text_of
from tests.support.plain_http import PLAIN

TRIGGER = "/dags/add/dagRuns$"
SOON = {"Retry-After": "2"}
FAILED = r"The run (\w+) of dag always_fails (?:failed|is about to end without its result)\."
"""How a failure is reported after, or before, Airflow's scheduler has marked the run."""


def at_trigger(loss: Loss, **more: Any) -> Fault:
    return Fault(loss=loss, method="POST", path=TRIGGER, **more)


@pytest.mark.parametrize("key", [None, "order-7"])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            lambda: at_trigger(Loss.REQUEST),
            id="the request is lost",
            marks=fault("at the trigger: the request is lost"),
        ),
        pytest.param(
            lambda: at_trigger(Loss.ANSWER), id="the answer is lost", marks=fault("at the trigger: the answer is lost")
        ),
        pytest.param(
            lambda: at_trigger(Loss.REQUEST, times=2),
            id="the request is lost twice",
            marks=fault("at the trigger: the request is lost twice"),
        ),
        pytest.param(
            lambda: at_trigger(Loss.HALF_THE_ANSWER),
            id="the answer is cut",
            marks=fault("at the trigger: the answer is cut"),
        ),
        pytest.param(
            lambda: at_trigger(Loss.REPLACED, status=500),
            id="500 before the commit",
            marks=fault("at the trigger: 500 before the commit"),
        ),
        pytest.param(
            lambda: at_trigger(Loss.REPLACED_AFTER_EFFECT, status=500),
            id="500 after the commit",
            marks=fault("at the trigger: 500 after the commit"),
        ),
        pytest.param(
            lambda: at_trigger(Loss.REPLACED_AFTER_EFFECT, status=200, body=b"<html>"),
            id="a garbled answer",
            marks=fault("at the trigger: a garbled answer"),
        ),
        pytest.param(
            lambda: at_trigger(Loss.REPLACED_AFTER_EFFECT, status=504, body=b""),
            id="504 of a proxy",
            marks=fault("at the trigger: 504 of a proxy"),
        ),
    ],
)
async def test_trigger_without_a_usable_answer_starts_one_run(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int, *, fault: Callable[[], Fault], key: str | None
) -> None:
    lost = proxy.add(fault())
    url = serve().url
    meta: dict[str, Any] = {} if key is None else {"idempotency_key": f"{key}-{x}"}

    answer = await call(url, "add", x, **meta)

    assert lost.times == 0
    run_id = await airflow.require_one_run("add", x, [answer])
    if key is not None:  # I4
        again = await call(url, "add", x, **meta)
        assert await airflow.require_one_run("add", x, [again]) == run_id


@fault("429 or 503 with `Retry-After` at the trigger", checked="one run; dagcall waits as long as Airflow asked for")
@pytest.mark.parametrize("status", [429, 503])
async def test_trigger_is_retried_after_retry_after(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int, status: int
) -> None:
    proxy.add(at_trigger(Loss.REPLACED, status=status, headers=SOON))

    answer = await call(serve().url, "add", x)

    await airflow.require_one_run("add", x, [answer])
    first, second = proxy.requests("POST", TRIGGER)
    assert second.at - first.at >= 2


@fault("the answer to the trigger arrives 2 s after dagcall stopped waiting for it, or never")
async def test_late_or_missing_answer_to_the_trigger_starts_one_run(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int
) -> None:
    """Three calls at once, because each takes as long as the read timeout of 15 s."""
    url = serve().url
    answers: list[CallToolResult] = []
    await call(url, "add", x)
    proxy.add(at_trigger(Loss.DELAY, seconds=READ_SECONDS + 2))
    proxy.add(at_trigger(Loss.SILENCE))

    answers += await asyncio.gather(*(call(url, "add", x + number) for number in range(1, 4)))

    for number, answer in enumerate(answers, 1):
        await airflow.require_one_run("add", x + number, [answer])


@fault("the answer to the trigger is lost, and then the answer to the look-up of the run")
async def test_lost_look_up_after_a_lost_trigger_is_retried(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int
) -> None:
    lost = proxy.add(at_trigger(Loss.ANSWER)), proxy.add(Fault(loss=Loss.ANSWER, path="/dagRuns/mcp__[^/]*$"))

    answer = await call(serve().url, "add", x)

    assert [fault.times for fault in lost] == [0, 0]
    await airflow.require_one_run("add", x, [answer])


@fault("four requests in a row fail while a call waits: lost, cut or answered with 500")
@pytest.mark.parametrize("loss", [Loss.REQUEST, Loss.ANSWER, Loss.HALF_THE_ANSWER, Loss.REPLACED])
async def test_lost_states_and_results_are_requested_again(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int, loss: Loss
) -> None:
    url = serve().url
    waiting = asyncio.create_task(call(url, "held", x))
    run = await airflow.the_run("held", x)
    proxy.add(Fault(loss=loss, times=4))

    await airflow.end(run)

    await airflow.require_one_run("held", x, [await waiting])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(401, b'{"detail": "Not authenticated"}', marks=fault("the token expires while a call waits: 401")),
        pytest.param(403, b'{"detail": "Invalid JWT token"}', marks=fault("the token expires while a call waits: 403")),
    ],
)
async def test_expired_token_is_renewed_during_a_wait(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int, *, status: int, body: bytes
) -> None:
    url = serve().url
    waiting = asyncio.create_task(call(url, "held", x))
    run = await airflow.the_run("held", x)
    proxy.add(Fault(loss=Loss.REPLACED, path="/api/v2/dags/", status=status, body=body))
    proxy.cut()

    answer = await call(url, "add", x)
    await airflow.end(run)

    await airflow.require_one_run("add", x, [answer])
    await airflow.require_one_run("held", x, [await waiting])
    assert len(proxy.requests("POST", "/auth/token")) == 2


@fault(
    "each request for a log is answered with 500, while twelve callers ask for a failed run and another one calls",
    seen="the twelve: the failure, without its reason; the other: the result",
    checked="one run, and the answer is its result; dagcall stays ready",
)
async def test_logs_that_airflow_cannot_return_stop_no_other_call(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int
) -> None:
    lost = proxy.add(Fault(loss=Loss.REPLACED, method="GET", path="/logs/", times=sys.maxsize))
    server = serve(f'{BOTH}[[tools]]\ndag = "always_fails"\n')

    async def statuses() -> set[int]:
        seen: set[int] = set()
        async with httpx.AsyncClient(trust_env=False, verify=PLAIN) as http:
            while not all(one.done() for one in asking):
                seen.add((await http.get(f"{server.root}/ready")).status_code)
                await asyncio.sleep(0.05)
        return seen

    async with Client(server.url) as client:
        failed = text_of(await client.call_tool("always_fails", {"message": f"number {x}"}))
        (run_id,) = re.findall(FAILED, failed)
        named = {"tool": "always_fails", "dag_run_id": run_id}
        asking = [asyncio.create_task(client.call_tool("wait_for_dag_run", named)) for _ in range(12)]
        watching = asyncio.create_task(statuses())
        answer = await call(server.url, "add", x)
        texts = [text_of(result) for result in await asyncio.gather(*asking)]

    await airflow.require_one_run("add", x, [answer])
    assert all("because Airflow could not return its log" in text for text in (failed, *texts))
    assert await watching == {200}
    assert sys.maxsize - lost.times >= FAILURES_TO_OPEN
