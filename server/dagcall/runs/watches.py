"""The runs that the waiter watches, and those of them that it polls for."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from dagcall.airflow import RunKey, RunState
from dagcall.plain_json import Json

OVERLAP = timedelta(seconds=10)
"""How far the shared poll looks back before the latest end seen: Airflow commits an end later than its timestamp."""
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(eq=False, slots=True)
class Watch:
    """A run being watched."""

    key: RunKey
    started: float
    """When the watch began, by the loop's clock."""
    triggered_at: float
    """When the run was triggered, by the loop's clock. A later wait for the same run does not make it younger."""
    run_after: datetime
    """When the run was triggered, by Airflow's clock."""
    state: RunState
    result_task_ids: tuple[str, ...] | None = None
    """The tasks whose results a stream returns with the end."""
    results: Mapping[str, Json] | None = None
    waiting: dict[asyncio.Future[RunState | None], Callable[[RunState], None]] = field(default_factory=dict)
    """The waiting callers' futures, with their callbacks for each state seen."""
    stream: asyncio.Task[None] | None = None
    may_stream: bool = True
    """False after a stream ended before the run: something interrupts streams."""
    is_over: bool = False
    """Whether the watch has ended."""


class PolledRuns:
    """The runs that the shared poll covers, and its parameters, updated incrementally: there may be 10,000 runs."""

    def __init__(self) -> None:
        self.watches: dict[RunKey, Watch] = {}
        self.since = NEVER
        """Ends before this time, by Airflow's clock, are known already."""
        self.latest_trigger = float("-inf")
        """When the youngest of these runs was triggered, by the loop's clock; ended runs count, too."""
        self._runs_of: Counter[str] = Counter()
        self._oldest: datetime | None = None

    @property
    def oldest(self) -> datetime:
        """When the oldest of these runs was triggered, by Airflow's clock. Requires at least one run."""
        if self._oldest is None:
            self._oldest = min(watch.run_after for watch in self.watches.values())
        return self._oldest

    @property
    def dag_ids(self) -> list[str]:
        """The dags of these runs, sorted."""
        return sorted(self._runs_of)

    def add(self, watch: Watch) -> None:
        """Add a run to the poll."""
        self.watches[watch.key] = watch
        self._runs_of[watch.key[0]] += 1
        self.since = min(self.since, watch.run_after - OVERLAP)
        if self._oldest is not None:
            self._oldest = min(self._oldest, watch.run_after)
        self.latest_trigger = max(self.latest_trigger, watch.triggered_at)

    def drop(self, watch: Watch) -> None:
        """Remove a run from the poll, if present."""
        if self.watches.pop(watch.key, None) is None:
            return
        dag_id, _ = watch.key
        self._runs_of[dag_id] -= 1
        if not self._runs_of[dag_id]:
            del self._runs_of[dag_id]
        if watch.run_after == self._oldest:
            self._oldest = None
