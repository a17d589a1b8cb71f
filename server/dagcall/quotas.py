"""How much one caller may start of one tool: so many runs within a minute, so many unfinished ones at a time.

Counted are new runs: a call that takes up a run or is handed its outcome once more costs nothing. Each process counts
for itself, so with several replicas the limits hold per replica, and a restarted process begins at nothing.
"""

import asyncio
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from dagcall.airflow import AirflowApi
from dagcall.arguments import MAX_BYTES
from dagcall.errors import InvalidArguments, OverLimit
from dagcall.model import Json
from dagcall.tools import WAIT_TOOL_NAME, Tool

CHECK_SECONDS = 2.0
"""How long it is believed that a caller's runs are unfinished."""
LOOKS_PER_MINUTE = 60
"""How often Airflow is asked whether a refused call belongs to a run that is there: refusals must stay cheap."""


@dataclass(slots=True)
class _Unfinished:
    """The unfinished runs of one caller and tool, as far as this process started them."""

    runs: dict[str, bool] = field(default_factory=dict)
    """Run id -> whether the attempt to start it is over."""
    checked_at: float = float("-inf")


class Quotas:
    """Counts new runs.

    Args:
        api: asked which runs have ended, when a caller seems to have too many.
        calls_per_minute: for tools that do not say; None for as many as anybody likes.
        max_concurrent: likewise.
        max_argument_bytes: what the arguments of a call may take, as JSON.
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
        self._calls_per_minute = calls_per_minute
        self._max_concurrent = max_concurrent
        self._max_argument_bytes = max_argument_bytes
        self._rates = MovingWindowRateLimiter(MemoryStorage())
        self._unfinished: dict[tuple[str, str], _Unfinished] = {}
        self._counted_for: dict[str, tuple[str, str]] = {}
        """Run id -> caller and tool."""

    def require_small(self, tool: str, arguments: Mapping[str, Json]) -> None:
        """Refuse arguments that are too large; they are known to be JSON."""
        if self._max_argument_bytes >= MAX_BYTES:  # which is refused in any case
            return
        size = len(json.dumps(arguments, ensure_ascii=False).encode())
        if size > self._max_argument_bytes:
            problem = (
                f"the arguments are {size:,} bytes of JSON; at most {self._max_argument_bytes:,} are taken here; pass "
                "what is large by a name or an address under which the dag finds it"
            )
            raise InvalidArguments(tool, (problem,))

    async def admit(self, caller: str, tool: Tool, run_id: str) -> None:
        """Count a run that is about to be started; `attempted` has to follow.

        Raises:
            OverLimit: the caller has to wait.
        """
        await self._claim(caller, tool, run_id)
        limit = tool.entry.calls_per_minute or self._calls_per_minute
        if limit is None:
            return
        rate = RateLimitItemPerMinute(limit)
        if not self._rates.hit(rate, "new", caller, tool.name):
            self.ended(run_id)
            reset_at = self._rates.get_window_stats(rate, "new", caller, tool.name).reset_time
            times = "once" if limit == 1 else f"{limit} times"
            raise OverLimit(
                f"Nothing was started: {tool.name} may be started {times} a minute, and you have done so; try again in "
                f"{max(math.ceil(reset_at - time.time()), 1)} s."
            )

    def attempted(self, run_id: str, *, may_exist: bool) -> None:
        """Take note of what the attempt to start a run came to."""
        if not may_exist:
            self.ended(run_id)
        elif who := self._counted_for.get(run_id):
            self._unfinished[who].runs[run_id] = True

    def ended(self, run_id: str) -> None:
        """Take note that a run has ended, or never began."""
        if (who := self._counted_for.pop(run_id, None)) is not None:
            counted = self._unfinished[who]
            del counted.runs[run_id]
            if not counted.runs:
                del self._unfinished[who]

    def may_look(self, caller: str, tool: Tool) -> bool:
        """Say whether Airflow may be asked once more for a run of a call that is refused."""
        return self._rates.hit(RateLimitItemPerMinute(LOOKS_PER_MINUTE), "look", caller, tool.name)

    async def _claim(self, caller: str, tool: Tool, run_id: str) -> None:
        limit = tool.entry.max_concurrent or self._max_concurrent
        if limit is None or run_id in self._counted_for:
            return
        who = caller, tool.name
        if len(self._runs_of(who)) >= limit:
            await self._forget_ended(who, tool.dag_id)
        if len(runs := self._runs_of(who)) >= limit:
            started = ", ".join(run for run, is_over in runs.items() if is_over) or "being started"
            raise OverLimit(
                f"Nothing was started: you may have {limit} unfinished {'run' if limit == 1 else 'runs'} of "
                f"{tool.name}, and you have ({started}); try again when one has ended, which {WAIT_TOOL_NAME} tells."
            )
        self._unfinished.setdefault(who, _Unfinished()).runs[run_id] = False
        self._counted_for[run_id] = who

    def _runs_of(self, who: tuple[str, str]) -> Mapping[str, bool]:
        return counted.runs if (counted := self._unfinished.get(who)) else {}

    async def _forget_ended(self, who: tuple[str, str], dag_id: str) -> None:
        """Ask Airflow which runs have ended unseen: nobody waits for the run of a caller who left."""
        counted, now = self._unfinished[who], asyncio.get_running_loop().time()
        if now - counted.checked_at < CHECK_SECONDS:
            return
        counted.checked_at = now
        started = [run_id for run_id, is_over in counted.runs.items() if is_over]
        unfinished = await self._api.fetch_unfinished_run_ids([dag_id])
        for run_id in started:
            if (dag_id, run_id) not in unfinished:
                self.ended(run_id)
