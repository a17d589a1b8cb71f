"""What there is around a run: other runs of its dag, and the scheduler. Nice to know, so asked once and no more."""

from collections.abc import Callable
from typing import Any, TypeVar

from dagcall.gate import Purpose
from dagcall.listings import RUN_LIST
from dagcall.model import RunState
from dagcall.rest import AirflowRest

PAST_RUNS = 20
"""How many runs tell how long a dag usually takes."""

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
