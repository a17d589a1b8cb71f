"""What there is around a run: other runs of its dag, the scheduler, and what keeps a task from starting.

Nice to know, so asked once and no more.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from dagcall.airflow.gate import Purpose
from dagcall.airflow.model import RunState, TaskInstance
from dagcall.airflow.paging import RUN_LIST, task_path
from dagcall.airflow.rest import AirflowRest

PAST_RUNS = 20
"""How many runs tell how long a dag usually takes."""

_USUAL = frozenset({"Dagrun Running", "Task Instance State", "Trigger Rule"})
"""Names of dependencies that say no more than the states of the run and of its tasks do."""

_T = TypeVar("_T")


async def fetch_durations(rest: AirflowRest, dag_id: str) -> list[float]:
    """Return how many seconds the dag's latest successful runs took from their start, the latest first."""
    return await _look_at_runs(
        rest,
        {"dag_ids": [dag_id], "states": [RunState.SUCCESS], "order_by": "-end_date", "page_limit": PAST_RUNS},
        lambda data: [float(run["duration"]) for run in data["dag_runs"] if run["duration"] is not None],
    )


async def count_running(rest: AirflowRest, dag_id: str) -> int:
    """Return how many runs of a dag go on, those not counted that are queued."""
    return await _look_at_runs(
        rest,
        {"dag_ids": [dag_id], "states": [RunState.RUNNING], "page_limit": 1},
        lambda data: int(data["total_entries"]),
    )


async def _look_at_runs(rest: AirflowRest, body: dict[str, Any], read: Callable[[Any], _T]) -> _T:
    """Ask once for one page of runs: what is nice to know, and no more than that."""
    return await rest.ask(RUN_LIST, purpose=Purpose.DISCOVERY, body=body, read=read, attempts=1)


async def fetch_scheduler_silence(rest: AirflowRest) -> str | None:
    """Return when Airflow's scheduler last gave a sign of life, as Airflow writes it; None while it is healthy."""
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
    """Return what keeps a task instance from starting that is not queued yet, as Airflow's sentences without their end.

    Raises:
        AirflowNotFound: there is no such task instance any more.
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
