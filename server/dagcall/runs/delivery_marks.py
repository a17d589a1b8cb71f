"""Records in Airflow which outcomes were delivered.

A restarted process or another replica cannot know whether an answer arrived, so dagcall adds a word to the run's note.
The words are written in batches, a moment later and with low priority. Writing a word is retried as long as the
outcome could be returned once more without it.

The note is read again before a word is added, because people write there, too; their text is never cut.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from dagcall.airflow import AirflowApi, Run, RunKey
from dagcall.errors import AirflowAnswerUnusable, AirflowError, AirflowNotFound, AirflowRefused, AirflowUnreachable
from dagcall.runs.ledger import REPLAY_SECONDS

logger = logging.getLogger(__name__)

MARK = "(answered)"
CANCELLED = "(cancelled)"
MAX_NOTE = 1000
"""Airflow rejects longer notes."""
PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
"""Between two attempts while Airflow is unreachable."""
BATCH = 100
FOR_NOW = AirflowUnreachable, AirflowAnswerUnusable
"""Temporary errors: Airflow does not answer, or a proxy answers."""
LAST_SECONDS = 2.0
"""How long the last marks may take during shutdown."""


@dataclass(frozen=True, slots=True)
class _Due:
    """A run to be marked."""

    run: Run
    until: float
    """Until when its mark makes sense."""


class DeliveryMarks:
    """Collects marks and writes them.

    Args:
        api: Airflow.
        now: the loop's clock, in seconds.
    """

    def __init__(self, api: AirflowApi, *, now: Callable[[], float]) -> None:
        self._api = api
        self._now = now
        self._due: dict[RunKey, _Due] = {}
        self._sending: asyncio.Task[None] | None = None
        self._refused_dags: set[str] = set()

    def add(self, run: Run) -> None:
        """Schedule marking this run as answered."""
        self._due[run.dag_id, run.run_id] = _Due(run, self._now() + REPLAY_SECONDS)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_soon())

    async def aclose(self) -> None:
        """Write the remaining marks, for at most `LAST_SECONDS`."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        try:
            async with asyncio.timeout(LAST_SECONDS):
                while self._due:
                    await self._send(self._next())
        except (TimeoutError, AirflowError):
            logger.info("Airflow did not store the last delivery marks; these outcomes may be returned once more")

    async def _send_soon(self) -> None:
        pause = PAUSE_SECONDS
        while self._due:
            await asyncio.sleep(pause)
            try:
                await self._send(self._next())
            except FOR_NOW as error:
                logger.debug("could not store delivery marks, will retry: %s", error)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                self._due = {key: due for key, due in self._due.items() if due.until > self._now()}
            else:
                pause = PAUSE_SECONDS

    def _next(self) -> list[Run]:
        """Return the next runs to mark; their notes are read by the time at which they were created."""
        return sorted((due.run for due in self._due.values()), key=lambda run: run.run_after)[:BATCH]

    async def _send(self, runs: list[Run]) -> None:
        """Write marks; those that fail temporarily stay due.

        Raises:
            AirflowUnreachable, AirflowAnswerUnusable: some marks were not written.
        """
        keys = [(run.dag_id, run.run_id) for run in runs]
        try:
            notes = await self._api.fetch_notes(runs)
        except FOR_NOW:
            raise
        except AirflowError as error:
            self._give_up(keys, error)
            return
        marked = {key: with_mark(note, MARK) for key, note in notes.items()}
        wanted = {key: note for key, note in marked.items() if note is not None and note != notes[key]}
        for key in keys:
            if key not in wanted:  # deleted, already marked, or no room in the note
                self._due.pop(key, None)
        try:
            if wanted:
                await self._set(wanted)
        except AirflowRefused:  # an account with rights on single dags may not change many runs at once
            for key, note in wanted.items():
                await self._set_one(key, note)

    async def _set_one(self, key: RunKey, note: str) -> None:
        try:
            await self._set({key: note})
        except AirflowRefused as error:
            self._give_up([key], error)

    async def _set(self, notes: dict[RunKey, str]) -> None:
        """Write notes.

        Raises:
            AirflowUnreachable, AirflowAnswerUnusable: it is not known whether they were written.
            AirflowRefused: the account may not do this.
        """
        try:
            await self._api.set_notes(notes)
        except (*FOR_NOW, AirflowRefused):
            raise
        except AirflowError as error:
            self._give_up(list(notes), error)
        for key in notes:
            self._due.pop(key, None)

    def _give_up(self, keys: list[RunKey], error: AirflowError) -> None:
        """Give up on these marks, and warn the operator once per dag."""
        for key in keys:
            self._due.pop(key, None)
        dag_ids = {dag_id for dag_id, _ in keys} - self._refused_dags
        if dag_ids and not isinstance(error, AirflowNotFound):
            self._refused_dags |= dag_ids
            logger.warning(
                "dagcall cannot mark runs of dag %s as answered, so another replica may return an old outcome to a new "
                "call. Give dagcall's account the right to edit runs of this dag: %s",
                ", ".join(sorted(dag_ids)),
                error,
            )


def says_answered(run: Run) -> bool:
    """Say whether a run's note says that its outcome was delivered, or that its caller cancelled it and so knows."""
    return MARK in run.note or CANCELLED in run.note


def says_cancelled(run: Run) -> bool:
    """Say whether a run ended because its caller cancelled it; Airflow may briefly show a success."""
    return run.state.is_final and CANCELLED in run.note


def with_mark(note: str, mark: str) -> str | None:
    """Return a note with a word added; None if it does not fit, because existing text is never cut."""
    if mark in note:
        return note
    longer = f"{note} {mark}".lstrip()
    return longer if len(longer) <= MAX_NOTE else None
