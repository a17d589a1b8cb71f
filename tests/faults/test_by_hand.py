"""People who delete, clear or set a run while it is waited for: each caller is told what became of it."""

import asyncio

from mcp_types import CallToolResult

from tests.e2e.clients import text_of
from tests.faults.conftest import Serve, call
from tests.faults.matrix import fault
from tests.faults.record import Json, Record

CALLS = 6
"""More than there are streams: some of their runs are watched by the shared question."""


async def begun(airflow: Record, url: str, x: int) -> tuple[list[asyncio.Task[CallToolResult]], list[Json]]:
    """Make calls of `held`; return them and their runs."""
    waiting = [asyncio.create_task(call(url, "held", x + number)) for number in range(CALLS)]
    return waiting, [await airflow.the_run("held", x + number) for number in range(CALLS)]


@fault(
    "somebody deletes the runs that six calls wait for",
    seen="an error: the run was deleted in Airflow",
    checked="no run is started in its place",
)
async def test_a_run_that_is_deleted_is_told_and_not_started_again(airflow: Record, serve: Serve, x: int) -> None:
    waiting, runs = await begun(airflow, serve().url, x)

    for run in runs:
        await airflow.delete(run)

    for number, (calling, run) in enumerate(zip(waiting, runs, strict=True)):
        answer = await calling
        assert answer.is_error
        assert f"Run {run['dag_run_id']} of dag held was deleted in Airflow" in text_of(answer)
        assert await airflow.runs_with("held", x + number) == []


@fault(
    "somebody sets the runs to failed",
    seen="an error: the run failed, or Airflow made it a success without a result",
    checked="each answer names its own run",
)
async def test_a_run_that_is_set_to_failed_is_told_so(airflow: Record, serve: Serve, x: int) -> None:
    waiting, runs = await begun(airflow, serve().url, x)

    for run in runs:
        await airflow.set_state(run, "failed")

    for calling, run in zip(waiting, runs, strict=True):
        answer = await calling
        assert answer.is_error
        (now,) = await airflow.runs_with("held", run["conf"]["x"])
        told = {"failed": "failed.", "success": "succeeded, but without its result."}
        # Airflow's scheduler may have the run in hand: it then finds the tasks ended, and makes the run a success.
        assert text_of(answer).startswith(f"The run {run['dag_run_id']} of dag held {told[now['state']]}")


@fault("somebody clears the runs, which then go through their tasks once more")
async def test_a_run_that_is_cleared_is_waited_for_on(airflow: Record, serve: Serve, x: int) -> None:
    waiting, runs = await begun(airflow, serve().url, x)

    for run in runs:
        await airflow.clear(run)
    for run in runs:
        await airflow.end(run)

    for number, calling in enumerate(waiting):
        await airflow.require_one_run("held", x + number, [await calling])
