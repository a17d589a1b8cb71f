"""An Airflow that is gone or hung for a while: waiting calls wait on, new ones are told, and nothing is lost."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dagcall.demo.process_table import family, process_table, send
from tests.e2e.clients import text_of
from tests.e2e.running_demo import RunningDemo
from tests.faults.conftest import CALL_SECONDS, Mode, Serve, call
from tests.faults.fault_proxy import FaultProxy
from tests.faults.matrix import fault
from tests.faults.record import Record, until

modes = pytest.mark.parametrize("mode", ["auto", "legacy"])


@fault("Airflow refuses connections when a call comes, and is back a moment later")
async def test_airflow_that_is_back_soon_gets_the_call(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int
) -> None:
    url = serve().url
    await call(url, "add", x)
    await proxy.refuse()

    calling = asyncio.create_task(call(url, "add", x + 1))
    await asyncio.sleep(0.2)  # it has met the closed port by now
    await proxy.accept()

    await airflow.require_one_run("add", x + 1, [await calling])


@fault(
    "Airflow refuses connections for longer than the call may take",
    seen='"Nothing was started", and that Airflow is away; the next calls at once',
    checked="each call is answered in time; the call that is made when Airflow is back has the one run",
)
async def test_a_call_to_an_airflow_that_stays_away_is_told_so_and_can_be_made_again(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int
) -> None:
    url = serve().url
    await call(url, "add", x)
    await proxy.refuse()
    began = time.monotonic()

    told = [await call(url, "add", x + 1, wait_seconds=5) for _ in range(4)]

    assert time.monotonic() - began < CALL_SECONDS  # each by itself could have taken so long
    for answer in told:  # at once where Airflow is known to be away, else when the time is over
        assert text_of(answer).startswith("Nothing was started: ")
        assert "Airflow" in text_of(answer)
    await proxy.accept()

    async def answered() -> object:
        answer = await call(url, "add", x + 1)
        return None if answer.is_error else answer

    await until(answered)
    await airflow.require_one_run("add", x + 1, [])


@fault("Airflow refuses connections for 5 s while six calls wait, and their runs end meanwhile")
@modes
async def test_a_waiting_call_outlives_a_restart_of_airflow(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int, mode: Mode
) -> None:
    url = serve().url
    waiting = [asyncio.create_task(call(url, "held", x + number, mode)) for number in range(6)]
    runs = [await airflow.the_run("held", x + number) for number in range(6)]
    await proxy.refuse()
    for run in runs:
        await airflow.end(run)
    await asyncio.sleep(5)  # how long it is away

    await proxy.accept()

    for number, calling in enumerate(waiting):
        await airflow.require_one_run("held", x + number, [await calling])


@contextmanager
def hung(demo: RunningDemo) -> Iterator[None]:
    """Stop the api-server in the middle of whatever it does; it still accepts connections."""
    note = json.loads((demo.folder / "run" / "airflow-api-server.pid").read_text())
    rows = family(process_table(), note["pid"])
    send(rows, signal.SIGSTOP)
    try:
        yield
    finally:
        send(rows, signal.SIGCONT)


@fault("the api-server is stopped (SIGSTOP) for 8 s while one call waits and three come")
async def test_calls_outlive_a_hung_airflow(airflow: Record, demo: RunningDemo, serve: Serve, x: int) -> None:
    url = serve().url
    waiting = asyncio.create_task(call(url, "held", x))
    run = await airflow.the_run("held", x)
    with hung(demo):
        new = [asyncio.create_task(call(url, "add", x + number)) for number in range(1, 4)]
        await asyncio.sleep(8)  # how long it hangs
    await airflow.end(run)

    await airflow.require_one_run("held", x, [await waiting])
    for number, calling in enumerate(new, 1):
        await airflow.require_one_run("add", x + number, [await calling])
