"""Probes Airflow while the breaker is open, so that calls are accepted again soon.

Light on purpose: many processes probe while Airflow is weakest. First Airflow's version, which needs neither a token
nor the database; once that answers, Airflow's health, which needs the database. One request at a time, and less often
if requests time out.
"""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable

from dagcall.airflow.answers import says_later
from dagcall.airflow.gate import Gate
from dagcall.airflow.http import HttpAnswer
from dagcall.errors import AirflowAnswerUnusable, AirflowUnreachable
from dagcall.loops import Loop

PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 8.0
"""The pause doubles up to this if requests time out: Airflow may still be working on them."""
JITTER = 0.25
"""The random share of a pause, so that processes that lost Airflow at the same moment do not probe in step."""
PROBE_SECONDS = 5.0
"""The time-out of a probe."""

Ask = Callable[[str], Awaitable[HttpAnswer]]


class Prober:
    """Probes while the breaker is open.

    Args:
        gate: the gate with the breaker; informed when Airflow is back.
        ask: sends a GET for a path below `/api/v2/`, without a token and outside the gate.
    """

    def __init__(self, gate: Gate, ask: Ask) -> None:
        self._gate = gate
        self._ask = ask
        self._loop = Loop("the look whether Airflow is back")
        self._probing: asyncio.Task[None] | None = None
        self._pause = PAUSE_SECONDS

    def begin(self) -> None:
        """Start to probe, until Airflow answers."""
        if self._probing is None or self._probing.done():
            self._pause = PAUSE_SECONDS
            self._probing = asyncio.create_task(self._loop.run(self._probe), name="look whether Airflow is back")

    async def aclose(self) -> None:
        """Stop probing."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)

    async def _probe(self) -> bool:
        """Probe once, after a pause; return whether to probe again."""
        await asyncio.sleep(self._pause * (1 + JITTER * (secrets.randbelow(2001) / 1000 - 1)))
        if not self._gate.breaker.is_open:
            return False
        try:
            is_back = await self._is_back()
        except AirflowUnreachable as error:
            is_back = False
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS) if error.is_late else PAUSE_SECONDS
        except AirflowAnswerUnusable:
            is_back = False
        if is_back:
            self._gate.answered()
        return not is_back

    async def _is_back(self) -> bool:
        version = await self._ask("version")
        if says_later(version):
            return False
        health = await self._ask("monitor/health")
        return not (says_later(health) or _lacks_database(health))


def _lacks_database(health: HttpAnswer) -> bool:
    """Return whether Airflow reports that its database is unhealthy. If a proxy hides the health, it does not."""
    try:
        return bool(json.loads(health.content)["metadatabase"]["status"] != "healthy")
    except (LookupError, TypeError, ValueError):
        return False
