"""A gate in a process of its own that asks Airflow as much as it lets in: reads for some time, then triggers.

`python -m tests.faults.hot_gate URL AT SECONDS TRIGGERS [CEILING FLOOR]` reads a token from stdin, begins at the time
AT (seconds since the epoch) and prints what it saw as one line of JSON.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

from dagcall.airflow import AirflowRest, Credentials, Gate, Purpose
from dagcall.airflow.credentials import static_token
from dagcall.errors import AirflowError

LOOPS = 40
PAUSE_SECONDS = 5.0
"""Between the reads and the triggers: the last reads of all gates have been answered."""
CALM_READS = 24
"""What a real dagcall asks before its first call; one after the other."""
DAG = "bench_wait"


class HotGate:
    """A gate with more to ask than it lets in."""

    def __init__(self, url: str, token: str, gate: Gate) -> None:
        self.gate = gate
        self._rest = AirflowRest(url, Credentials(static_token(token), now=time.time), gate=gate)
        self.errors: list[str] = []
        self.limits: list[int] = []

    async def read(self) -> bool:
        """Read a dag; return whether it was answered."""
        return await self._sent(
            lambda: self._rest.get(f"dags/{DAG}", purpose=Purpose.RESULT, read=lambda _: None, attempts=1)
        )

    async def trigger(self) -> bool:
        """Trigger the dag; return whether it was answered."""
        run = {"dag_run_id": f"hot_{uuid4()}", "logical_date": None}
        return await self._sent(
            lambda: self._rest.change(
                "POST", f"dags/{DAG}/dagRuns", purpose=Purpose.TRIGGER, body=run, read=lambda _: None
            )
        )

    async def read_until(self, end: float) -> int:
        """Read in a loop until a time; return how many answers there were."""
        answers = 0
        while time.time() < end:
            answers += await self.read()
            self.limits.append(self.gate.limit)
        return answers

    async def _sent(self, request: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        try:
            await request()
        except AirflowError as error:
            self.errors.append(str(error))
            return False
        return True


async def run(hot: HotGate, *, at: float, seconds: float, triggers: int) -> dict[str, Any]:
    """Return what a gate saw."""
    for _ in range(CALM_READS):
        await hot.read()
        await asyncio.sleep(0.05)
    await asyncio.sleep(max(at - time.time(), 0))
    answers = sum(await asyncio.gather(*(hot.read_until(at + seconds) for _ in range(LOOPS))))
    await asyncio.sleep(max(at + seconds + PAUSE_SECONDS - time.time(), 0))
    began = time.time()
    triggered = sum(await asyncio.gather(*(hot.trigger() for _ in range(triggers))))
    return {
        "reads": answers,
        "limit": sum(hot.limits) / max(len(hot.limits), 1),
        "triggered": triggered,
        "trigger_seconds": time.time() - began,
        "errors": hot.errors,
        "is_open": hot.gate.breaker.is_open,
    }


async def main() -> None:
    """Run one gate."""
    url, at, seconds, triggers, *limits = sys.argv[1:]
    token = sys.stdin.readline().strip()
    gate = Gate(int(limits[0]), floor=int(limits[1])) if limits else Gate()
    seen = await run(HotGate(url, token, gate), at=float(at), seconds=float(seconds), triggers=int(triggers))
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
