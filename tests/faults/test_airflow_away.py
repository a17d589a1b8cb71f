"""An unreachable or hung Airflow: waiting calls continue, new calls get an error, and nothing is lost."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dagcall.demo.process_table import family, process_table, send
from tests.faults.conftest import CALL_SECONDS, Mode, Serve, call
from tests.faults.fault_proxy import FaultProxy
from tests.faults.matrix import fault
from tests.faults.record import Record, until
from tests.support.clients import text_of
from tests.support.running_demo import RunningDemo

modes = pytest.mark.parametrize("mode", ["auto", "legacy"])


@fault("Airflow refuses connections when a call arrives, and accepts them again a moment later")
async def test_call_succeeds_after_a_short_outage(airflow: Record, proxy: FaultProxy, serve: Serve, x: int) -> None:
    url = serve().url
    await call(url, "add", x)
    await proxy.refuse()

    calling = asyncio.create_task(call(url, "add", x + 1))
    await asyncio.sleep(0.2)  # until the first connection was refused
    await proxy.accept()

    await airflow.require_one_run("add", x + 1, [await calling])


@fault(
    "Airflow refuses connections for longer than the call may take",
    seen='"Nothing was started" and that Airflow cannot be reached; later calls get this at once',
    checked="each call is answered in time; the call made after the outage gets the only run",
)
async def test_call_during_a_long_outage_starts_nothing_and_can_be_repeated(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int
) -> None:
    url = serve().url
    await call(url, "add", x)
    await proxy.refuse()
    began = time.monotonic()

    told = [await call(url, "add", x + 1, wait_seconds=5) for _ in range(4)]

    assert time.monotonic() - began < CALL_SECONDS  # the limit for a single call
    for answer in told:  # at once if the circuit breaker is open, otherwise after the timeout
        assert text_of(answer).startswith("Nothing was started: ")
        assert "Airflow" in text_of(answer)
    await proxy.accept()

    async def answered() -> object:
        answer = await call(url, "add", x + 1)
        return None if answer.is_error else answer

    await until(answered)
    await airflow.require_one_run("add", x + 1, [])


@fault("Airflow refuses connections for 5 s while six calls wait, and their runs end during that time")
@modes
async def test_waiting_calls_survive_a_restart_of_airflow(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int, mode: Mode
) -> None:
    url = serve().url
    waiting = [asyncio.create_task(call(url, "held", x + number, mode)) for number in range(6)]
    runs = [await airflow.the_run("held", x + number) for number in range(6)]
    await proxy.refuse()
    for run in runs:
        await airflow.end(run)
    await asyncio.sleep(5)  # the length of the outage

    await proxy.accept()

    for number, calling in enumerate(waiting):
        await airflow.require_one_run("held", x + number, [await calling])


@contextmanager
def hung(demo: RunningDemo) -> Iterator[None]:
    """Stop the api-server; the kernel still accepts its connections."""
    note = json.loads((demo.folder / "run" / "airflow-api-server.pid").read_text())
    rows = family(process_table(), note["pid"])
    send(rows, signal.SIGSTOP)
    try:
        yield
    finally:
        send(rows, signal.SIGCONT)


@fault("the api-server is stopped (SIGSTOP) for 8 s while one call waits and three arrive")
async def test_calls_survive_a_hung_airflow(airflow: Record, demo: RunningDemo, serve: Serve, x: int) -> None:
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
