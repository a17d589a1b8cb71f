"""A run's environment: other runs of its dag, the scheduler, and what keeps a task from starting.

Only informative, so requests are not retried.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from dagcall.airflow.gate import Purpose
from dagcall.airflow.model import Run, RunState, TaskInstance
from dagcall.airflow.paging import RUN_LIST, task_path
from dagcall.airflow.rest import AirflowRest

PAST_RUNS = 20
"""How many past runs to use for a dag's usual duration."""

_USUAL = frozenset({"Dagrun Running", "Task Instance State", "Trigger Rule"})
"""Names of dependencies that add nothing to the states of the run and its tasks."""

_T = TypeVar("_T")


async def fetch_durations(rest: AirflowRest, dag_id: str) -> list[float]:
    """Return how many seconds the dag's latest successful runs took from their start, the latest first."""
    return await _look_at_runs(
        rest,
        {"dag_ids": [dag_id], "states": [RunState.SUCCESS], "order_by": "-end_date", "page_limit": PAST_RUNS},
        lambda data: [float(run["duration"]) for run in data["dag_runs"] if run["duration"] is not None],
    )


async def fetch_latest_successes(rest: AirflowRest, dag_id: str, *, most: int) -> list[Run]:
    """Return the dag's latest successful runs, the latest first."""
    return await _look_at_runs(
        rest,
        {"dag_ids": [dag_id], "states": [RunState.SUCCESS], "order_by": "-end_date", "page_limit": most},
        lambda data: [Run.from_json(run) for run in data["dag_runs"]],
    )


async def count_running(rest: AirflowRest, dag_id: str) -> int:
    """Return how many runs of a dag are running, without queued ones."""
    return await _look_at_runs(
        rest,
        {"dag_ids": [dag_id], "states": [RunState.RUNNING], "page_limit": 1},
        lambda data: int(data["total_entries"]),
    )


async def _look_at_runs(rest: AirflowRest, body: dict[str, Any], read: Callable[[Any], _T]) -> _T:
    """Request one page of runs, once."""
    return await rest.ask(RUN_LIST, purpose=Purpose.DISCOVERY, body=body, read=read, attempts=1)


async def fetch_scheduler_silence(rest: AirflowRest) -> str | None:
    """Return the time of the scheduler's last heartbeat, as Airflow writes it; None while it is healthy."""
    return await rest.get(
        "monitor/health",
        purpose=Purpose.DISCOVERY,
        read=lambda data: (
            None
            if data["scheduler"]["status"] == "healthy"
            else data["scheduler"]["latest_scheduler_heartbeat"] or "never"
        ),
        attempts=1,
    )


async def fetch_hindrances(rest: AirflowRest, dag_id: str, run_id: str, instance: TaskInstance) -> list[str]:
    """Return what keeps a task instance from being queued: Airflow's sentences without the full stop.

    Raises:
        AirflowNotFound: the task instance no longer exists.
    """
    index = f"/{instance.map_index}" if instance.map_index >= 0 else ""
    return await rest.get(
        f"{task_path(dag_id, run_id, instance.task_id)}{index}/dependencies",
        purpose=Purpose.DISCOVERY,
        read=lambda data: [
            str(item["reason"]).rstrip(".") for item in data["dependencies"] if item["name"] not in _USUAL
        ],
        attempts=1,
    )
