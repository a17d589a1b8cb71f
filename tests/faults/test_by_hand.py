"""Users of Airflow delete, clear or fail a run while a call waits for it."""

import asyncio

from mcp_types import CallToolResult

from tests.faults.conftest import Serve, call
from tests.faults.matrix import fault
from tests.faults.record import Json, Record
from tests.support.clients import text_of

CALLS = 6
"""More calls than streams: some of their runs are watched by the shared poll."""


async def begun(airflow: Record, url: str, x: int) -> tuple[list[asyncio.Task[CallToolResult]], list[Json]]:
    """Call `held` several times; return the calls and their runs."""
    waiting = [asyncio.create_task(call(url, "held", x + number)) for number in range(CALLS)]
    return waiting, [await airflow.the_run("held", x + number) for number in range(CALLS)]


@fault(
    "a user deletes the runs that six calls wait for",
    seen="an error: the run was deleted in Airflow",
    checked="no other run is started",
)
async def test_deleted_run_is_reported_and_not_started_again(airflow: Record, serve: Serve, x: int) -> None:
    waiting, runs = await begun(airflow, serve().url, x)

    for run in runs:
        await airflow.delete(run)

    for number, (calling, run) in enumerate(zip(waiting, runs, strict=True)):
        answer = await calling
        assert answer.is_error
        assert f"Run {run['dag_run_id']} of dag held was deleted in Airflow" in text_of(answer)
        assert await airflow.runs_with("held", x + number) == []


@fault(
    "a user sets the runs to failed",
    seen="an error: the run failed, or Airflow made it a success without a result",
    checked="each answer names its own run",
)
async def test_run_set_to_failed_is_reported(airflow: Record, serve: Serve, x: int) -> None:
    waiting, runs = await begun(airflow, serve().url, x)

    for run in runs:
        await airflow.set_state(run, "failed")

    for calling, run in zip(waiting, runs, strict=True):
        answer = await calling
        assert answer.is_error
        (now,) = await airflow.runs_with("held", run["conf"]["x"])
        told = {"failed": "failed.", "success": "succeeded, but without its result."}
        # If Airflow's scheduler is processing the run, it finds that the tasks have ended and makes the run a success.
        assert text_of(answer).startswith(f"The run {run['dag_run_id']} of dag held {told[now['state']]}")


@fault("a user clears the runs, so their tasks run again")
async def test_call_keeps_waiting_for_a_cleared_run(airflow: Record, serve: Serve, x: int) -> None:
    waiting, runs = await begun(airflow, serve().url, x)

    for run in runs:
        await airflow.clear(run)
    for run in runs:
        await airflow.end(run)

    for number, calling in enumerate(waiting):
        await airflow.require_one_run("held", x + number, [await calling])
