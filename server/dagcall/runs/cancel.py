"""Callers who disconnect, and runs that are cancelled.

A caller who disconnects does not stop its run, unless the tool has `on_cancel = "fail"`; then it has a few seconds to
come back.
"""

import asyncio
import logging
from collections.abc import Collection
from functools import partial

from dagcall.airflow import Account, AirflowApi, RunState, retry
from dagcall.errors import AirflowError
from dagcall.runs.delivery_marks import CANCELLED, with_mark
from dagcall.runs.ledger import Entry, Ledger
from dagcall.tools import Tool

logger = logging.getLogger(__name__)

GRACE_SECONDS = 3.0
"""From a caller's disconnect to setting its run to failed. A caller that only lost its connection is back by then."""
CANCEL_ATTEMPTS = 4
LOOK_SECONDS = 1.0
"""When to check a run again after setting it to failed: a loop of the scheduler takes about a second."""
LOOKS = 3


class Cancelling:
    """Sets runs to failed: those whose caller disconnected, and those that a caller cancels.

    Args:
        api: Airflow.
        ledger: knows who waits for which run.
    """

    def __init__(self, api: AirflowApi, ledger: Ledger) -> None:
        self._api = api
        self._ledger = ledger
        self._endings: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Drop the pending cancellations; their runs continue."""
        for task in self._endings:
            task.cancel()
        await asyncio.gather(*self._endings, return_exceptions=True)

    def caller_disconnected(self, tool: Tool, entry: Entry) -> None:
        """Apply the tool's `on_cancel` policy to the run of a caller who left."""
        if tool.policy.on_cancel == "fail" and not entry.waiting:
            task = asyncio.create_task(self._fail_after_grace(tool.dag_id, entry), name=f"end {entry.run_id}")
            self._endings.add(task)
            task.add_done_callback(self._endings.discard)

    async def _fail_after_grace(self, dag_id: str, entry: Entry) -> None:
        await asyncio.sleep(GRACE_SECONDS)
        entry = self._ledger.entry(entry.run_id) or entry  # a caller who came back may have a new one
        if entry.waiting or entry.ended_at is not None:
            return
        try:
            state = await self.set_failed(dag_id, entry.run_id)
        except AirflowError as error:
            logger.warning(
                "the caller of run %s of dag %s left, but the run could not be set to failed: %s",
                entry.run_id,
                dag_id,
                error,
            )
        else:
            logger.info("the caller of run %s of dag %s left; the run is now %s", entry.run_id, dag_id, state.value)

    async def set_failed(
        self, dag_id: str, run_id: str, *, is_cancelled: bool = False, account: Account | None = None
    ) -> RunState:
        """Set a run to failed unless it has ended; return its state afterwards.

        If the scheduler is processing the run at that moment, it sees skipped tasks and makes the run a success (seen
        on Airflow 3.3.2 under load). So the run is checked again, and set to failed again if necessary.

        Args:
            dag_id: the run's dag.
            run_id: the run.
            is_cancelled: whether its caller cancelled it; then the run's note says so.
            account: the Airflow account that sets it; None: dagcall's own.
        """
        ask = partial(self._set_failed_from, dag_id, run_id, is_cancelled=is_cancelled, account=account)
        state, is_set = await ask({RunState.QUEUED, RunState.RUNNING})
        for _ in range(LOOKS):
            if not is_set:
                break
            await asyncio.sleep(LOOK_SECONDS)
            state, is_set = await ask(set(RunState) - {RunState.FAILED})
        return state

    async def _set_failed_from(
        self, dag_id: str, run_id: str, states: Collection[RunState], *, is_cancelled: bool, account: Account | None
    ) -> tuple[RunState, bool]:
        """Set a run to failed if it is in one of these states; return its state, and whether it was set."""

        async def ask() -> tuple[RunState, bool]:
            run = await self._api.fetch_run(dag_id, run_id, attempts=1)
            if run.state not in states:
                return run.state, False
            note = with_mark(run.note, CANCELLED) if is_cancelled else None
            return (await self._api.set_run_failed(dag_id, run_id, note=note, account=account)).state, True

        # Airflow's API and scheduler may deadlock; a retry reads the state again.
        return await retry(ask, may_retry=self._api.rest.may_retry, attempts=CANCEL_ATTEMPTS)


class Counted:
    """Context manager that uncounts a waiting caller at the end, however the wait ends."""

    __slots__ = ("_cancelling", "_entry", "_tool")

    def __init__(self, cancelling: Cancelling, tool: Tool, entry: Entry) -> None:
        self._cancelling, self._tool, self._entry = cancelling, tool, entry

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        self._entry.leave()
        if isinstance(error, asyncio.CancelledError):
            self._cancelling.caller_disconnected(self._tool, self._entry)
