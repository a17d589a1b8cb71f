"""Limits per caller and tool: runs started per minute, and unfinished runs at a time.

Only new runs count: adopting a run or replaying its outcome is free. Each process counts by itself, so the limits apply
per replica, and a restarted process starts at zero.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from time import monotonic

from dagcall.airflow import AirflowApi
from dagcall.errors import RateLimited
from dagcall.plain_json import MAX_BYTES
from dagcall.tools import WAIT_TOOL_NAME, Tool

WINDOW_SECONDS = 60.0
CHECK_SECONDS = 2.0
"""How long to cache which runs of a caller are unfinished."""
LOOKS_PER_MINUTE = 60
"""How often to ask Airflow whether a refused call belongs to an existing run: refusals must stay cheap."""

Who = tuple[str, str]
"""Caller and tool."""


@dataclass(slots=True)
class _Run:
    """A counted run."""

    counted_at: float
    is_unfinished: bool
    """Also False without a limit on unfinished runs."""
    attempts: int = 0
    """How many attempts to start it are in progress: calls with the same key may arrive at the same time."""
    may_exist: bool = False
    """Whether an attempt has started it or may have."""


@dataclass(slots=True)
class _Count:
    """The runs of one caller and tool that this process started."""

    runs: dict[str, _Run] = field(default_factory=dict)
    """Run id -> run, oldest first: the last minute's, and unfinished ones."""
    looks: deque[float] = field(default_factory=deque)
    """When Airflow was asked about refused calls within the last minute."""
    checked_at: float = float("-inf")

    def tidied(self, now: float) -> "_Count":
        """Drop what no longer counts."""
        for run_id, run in list(self.runs.items()):
            if run.counted_at <= now - WINDOW_SECONDS and not (run.is_unfinished or run.attempts):
                del self.runs[run_id]
        while self.looks and self.looks[0] <= now - WINDOW_SECONDS:
            self.looks.popleft()
        return self

    def unfinished(self) -> dict[str, _Run]:
        return {run_id: run for run_id, run in self.runs.items() if run.is_unfinished}

    def times(self, now: float) -> list[float]:
        """Return when the runs of the last minute were counted."""
        return [run.counted_at for run in self.runs.values() if run.counted_at > now - WINDOW_SECONDS]


class Quotas:
    """Counts new runs.

    Args:
        api: asked which runs have ended when a caller seems to have too many.
        calls_per_minute: the default for tools without their own limit; None for no limit.
        max_concurrent: likewise.
        max_argument_bytes: the maximum size of a call's arguments, as JSON.
    """

    def __init__(
        self,
        api: AirflowApi,
        *,
        calls_per_minute: int | None = None,
        max_concurrent: int | None = None,
        max_argument_bytes: int = MAX_BYTES,
    ) -> None:
        self._api = api
        self.limit(calls_per_minute, max_concurrent, max_argument_bytes)
        self._counts: dict[Who, _Count] = {}
        self._counted_for: dict[str, Who] = {}
        """Run id -> who has or had this run."""
        self._tidied_at = monotonic()

    def limit(self, calls_per_minute: int | None, max_concurrent: int | None, max_argument_bytes: int) -> None:
        """Use other limits from now on, as for a new object."""
        self._calls_per_minute = calls_per_minute
        self._max_concurrent = max_concurrent
        self.max_argument_bytes = max_argument_bytes

    async def admit(self, caller: str, tool: Tool, run_id: str) -> None:
        """Count a run that is about to be started, unless it is counted already; call `attempted` afterwards.

        Raises:
            RateLimited: the caller has reached a limit.
        """
        who = caller, tool.name
        per_minute = tool.entry.calls_per_minute or self._calls_per_minute
        max_concurrent = tool.entry.max_concurrent or self._max_concurrent
        if per_minute is None and max_concurrent is None:
            return
        if run_id not in self._count(who).runs:
            if max_concurrent is not None:
                await self._require_concurrency(who, tool, max_concurrent)
            if per_minute is not None:
                self._require_rate(who, per_minute)
        new = _Run(monotonic(), is_unfinished=max_concurrent is not None)
        self._count(who).runs.setdefault(run_id, new).attempts += 1
        self._counted_for[run_id] = who

    def attempted(self, run_id: str, *, may_exist: bool) -> None:
        """Record the outcome of an attempt to start a run.

        Args:
            run_id: the admitted run.
            may_exist: whether this attempt started it or may have.
        """
        if (run := self._run(run_id)) is None:
            return
        run.attempts -= 1
        run.may_exist = run.may_exist or may_exist
        if not (run.attempts or run.may_exist):
            del self._counts[self._counted_for.pop(run_id)].runs[run_id]

    def ended(self, run_id: str) -> None:
        """Record that a run has ended."""
        if (run := self._run(run_id)) is not None:
            run.is_unfinished = False

    def may_look(self, caller: str, tool: Tool) -> bool:
        """Say whether Airflow may be asked for the run of a refused call; counts the request."""
        looks = self._count((caller, tool.name)).looks
        if len(looks) >= LOOKS_PER_MINUTE:
            return False
        looks.append(monotonic())
        return True

    @property
    def callers(self) -> int:
        """The number of counted (caller, tool) pairs."""
        return len(self._counts)

    def _run(self, run_id: str) -> _Run | None:
        who = self._counted_for.get(run_id)
        return self._counts[who].runs.get(run_id) if who in self._counts else None

    def _count(self, who: Who) -> _Count:
        """Return the current count; once a minute, drop callers without any."""
        now = monotonic()
        if now - self._tidied_at >= WINDOW_SECONDS:
            self._tidied_at = now
            counts = {one: count.tidied(now) for one, count in self._counts.items()}
            self._counts = {one: count for one, count in counts.items() if count.runs or count.looks}
            counted = {run_id for count in self._counts.values() for run_id in count.runs}
            self._counted_for = {run_id: one for run_id, one in self._counted_for.items() if run_id in counted}
        return self._counts.setdefault(who, _Count()).tidied(now)

    def _require_rate(self, who: Who, limit: int) -> None:
        now = monotonic()
        times = self._count(who).times(now)
        if len(times) < limit:
            return
        seconds = math.ceil(times[-limit] + WINDOW_SECONDS - now)
        raise RateLimited(
            f"Nothing was started: you may start {who[1]} at most {'once' if limit == 1 else f'{limit} times'} a "
            f"minute, and you have reached this limit; try again in {max(seconds, 1)} s."
        )

    async def _require_concurrency(self, who: Who, tool: Tool, limit: int) -> None:
        if len(self._count(who).unfinished()) >= limit:
            await self._forget_ended(who, tool.dag_id)
        if len(runs := self._count(who).unfinished()) >= limit:
            started = ", ".join(run_id for run_id, run in runs.items() if run.may_exist) or "being started"
            raise RateLimited(
                f"Nothing was started: you may have at most {limit} unfinished {'run' if limit == 1 else 'runs'} of "
                f"{tool.name}, and you have reached this limit ({started}). Call {WAIT_TOOL_NAME} to wait until one "
                "ends, then try again."
            )

    async def _forget_ended(self, who: Who, dag_id: str) -> None:
        """Ask Airflow which counted runs have ended: runs whose caller left are not watched."""
        count, now = self._count(who), monotonic()
        if now - count.checked_at < CHECK_SECONDS:
            return
        count.checked_at = now
        started = [run_id for run_id, run in count.unfinished().items() if not run.attempts]
        unfinished = await self._api.fetch_unfinished_run_ids([dag_id])
        for run_id in started:
            if (dag_id, run_id) not in unfinished:
                self.ended(run_id)
