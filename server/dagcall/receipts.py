"""Writes into Airflow which outcomes have arrived.

A process that starts anew, or the other replica, cannot know what became of an answer; a word in the run's note tells
it. The words go out together, a moment later and behind everything else: a receipt that is lost costs nothing but an
outcome that is handed out once more.
"""

import asyncio
import logging

from dagcall.airflow import AirflowApi
from dagcall.errors import AirflowError
from dagcall.model import Run, RunState

logger = logging.getLogger(__name__)

MARK = "(answered)"
CANCELLED = "(cancelled)"
MAX_NOTE = 1000
"""Airflow refuses a longer one."""
PAUSE_SECONDS = 0.5
BATCH = 100
LAST_SECONDS = 2.0
"""How long the last receipts may take when the process ends."""


class Receipts:
    """Collects receipts and sends them."""

    def __init__(self, api: AirflowApi) -> None:
        self._api = api
        self._notes: dict[tuple[str, str], str] = {}
        self._sending: asyncio.Task[None] | None = None

    def add(self, run: Run) -> None:
        """Have it noted that the outcome of this run has arrived."""
        self._notes[run.dag_id, run.run_id] = f"{run.note[: MAX_NOTE - len(MARK) - 1]} {MARK}".lstrip()
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_soon())

    async def aclose(self) -> None:
        """Send what is left, but do not wait for it for long."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._send()
        except TimeoutError:
            logger.info("Airflow did not take the last receipts; their outcomes may be handed out once more")

    async def _send_soon(self) -> None:
        while self._notes:
            await asyncio.sleep(PAUSE_SECONDS)
            await self._send()

    async def _send(self) -> None:
        while self._notes:
            batch = dict(list(self._notes.items())[:BATCH])
            try:
                await self._api.set_notes(batch)
            except AirflowError as error:
                logger.debug("receipts were not taken: %s", error)
            for key in batch:
                self._notes.pop(key, None)


def says_answered(run: Run) -> bool:
    """Say whether the outcome of a run is noted to have arrived; whoever cancelled it knows it."""
    return MARK in run.note or CANCELLED in run.note


def cancelled_note(run: Run) -> str:
    """Return the note of a run that its caller cancels now."""
    return f"{run.note[: MAX_NOTE - len(CANCELLED) - 1]} {CANCELLED}".lstrip()


def says_cancelled(run: Run) -> bool:
    """Say whether a run has failed because its caller cancelled it."""
    return run.state is RunState.FAILED and CANCELLED in run.note
