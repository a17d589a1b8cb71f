"""One call from start to end: check, start, wait, read the outcome; and what a caller may do to a run afterwards.

How a call gets its one run is `starting`'s business, how its end is noticed `waiter`'s, what it came to `outcomes`'.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

import stamina

from dagcall.airflow import AirflowApi
from dagcall.answers import Answer
from dagcall.catalog import Catalog
from dagcall.dossiers import Dossiers
from dagcall.errors import (
    AirflowError,
    AirflowNotFound,
    AirflowUnreachable,
    RunError,
    RunFailed,
    RunOutOfSight,
    UnknownRun,
)
from dagcall.gate import Purpose
from dagcall.identity import Identity, number_in
from dagcall.ledger import Entry, Ledger
from dagcall.model import Json, Run, RunState
from dagcall.outcomes import Outcomes
from dagcall.progress import IN_LINE
from dagcall.receipts import Receipts, says_answered
from dagcall.starting import Call, Starter
from dagcall.tools import WAIT_TOOL_NAME, Tool
from dagcall.waiter import Ending, Waiter

logger = logging.getLogger(__name__)

GRACE_SECONDS = 3.0
"""From a caller's leaving to setting its run to failed: whoever only lost the connection is back by then."""
PATIENCE_SECONDS = (0.5, 5.0)
"""The first and the longest pause between tries to read an outcome while Airflow is away."""
CANCEL_ATTEMPTS = 4

T = TypeVar("T")
OnStage = Callable[[str], None]
"""Told what is going on with a call, in a word or two."""
OnOutcome = Callable[[Entry], None]
"""Given the entry of a run whose outcome is about to go to its caller, to note there whether it arrived."""


class Runs:
    """Makes calls.

    Args:
        api: Airflow.
        catalog: told when a definition no longer holds.
        waiter: watches the runs.
        identity: makes the run ids.
        wall_clock: the time in UTC.
    """

    def __init__(
        self,
        api: AirflowApi,
        catalog: Catalog,
        waiter: Waiter,
        identity: Identity,
        *,
        wall_clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._api = api
        self._waiter = waiter
        self._identity = identity
        self._outcomes = Outcomes(api)
        self._dossiers = Dossiers(api)
        self._receipts = Receipts(api)
        self._ledger = Ledger()
        self._starter = Starter(
            api,
            catalog,
            identity,
            self._ledger,
            now=self._now,
            wall_clock=wall_clock or (lambda: datetime.now(UTC)),  # noqa: TID251 - the real one, but for tests
        )
        self._endings: set[asyncio.Task[None]] = set()
        self._is_draining = False

    @property
    def in_line(self) -> int:
        """How many calls wait to be started."""
        return self._api.rest.gate.waiting(Purpose.TRIGGER)

    async def call(
        self,
        tool: Tool,
        arguments: Mapping[str, Json],
        *,
        caller: str,
        budget_seconds: float,
        key: str | None = None,
        note: str = "",
        on_stage: OnStage = lambda _: None,
        on_outcome: OnOutcome = lambda _: None,
    ) -> Answer:
        """Run the dag and return its results, or, when the budget is spent, what is known of the run by then.

        Raises:
            CallerError: nothing was started.
            RunError: the run did not deliver.
            AirflowError: Airflow did not answer as needed; the message says what is known of the run.
        """
        deadline = self._now() + budget_seconds
        conf = tool.input.conf_from_arguments(arguments, tool=tool.name)
        on_stage(IN_LINE)
        started = await self._starter.start(Call(tool, arguments, conf, caller, deadline, key, note))
        answer = await self._attend(
            tool, started.run, started.entry, deadline=deadline, on_stage=on_stage, on_outcome=on_outcome
        )
        return replace(answer, is_replayed=started.is_replayed)

    async def resume(
        self,
        tool: Tool,
        run_id: str,
        *,
        caller: str,
        budget_seconds: float,
        on_stage: OnStage = lambda _: None,
        on_outcome: OnOutcome = lambda _: None,
    ) -> Answer:
        """Wait again for a run that an earlier call of this caller started.

        Raises:
            UnknownRun: this caller started no such run of this tool.
            RunError, AirflowError: as `call`.
        """
        deadline = self._now() + budget_seconds
        run = await self._own_run(tool, run_id, caller)
        entry = self._ledger.entry(run_id) or Entry(run_id, number_in(run_id))
        entry.waiting += 1
        return await self._attend(tool, run, entry, deadline=deadline, on_stage=on_stage, on_outcome=on_outcome)

    async def cancel(self, tool: Tool, run_id: str, *, caller: str) -> Answer:
        """Set a run to failed unless it has ended, and confirm it.

        Raises:
            UnknownRun: this caller started no such run of this tool.
        """
        run = await self._own_run(tool, run_id, caller)
        return Answer(await self._set_failed(run), run.run_id, self._api.run_url(run.dag_id, run.run_id))

    def drain(self) -> None:
        """Have everybody who waits answered with what is known of their run by now."""
        self._is_draining = True
        self._waiter.release()

    async def aclose(self) -> None:
        """End what was begun for callers who left, and send the last receipts."""
        for task in self._endings:
            task.cancel()
        await asyncio.gather(*self._endings, return_exceptions=True)
        await self._receipts.aclose()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _own_run(self, tool: Tool, run_id: str, caller: str) -> Run:
        unknown = UnknownRun(f"there is no run {run_id!r} that you started with tool {tool.name}")
        if not self._identity.owns(caller, run_id):
            raise unknown
        try:
            return await self._api.fetch_run(tool.dag_id, run_id)
        except AirflowNotFound as error:
            raise unknown from error

    # Wait and read

    async def _attend(
        self, tool: Tool, run: Run, entry: Entry, *, deadline: float, on_stage: OnStage, on_outcome: OnOutcome
    ) -> Answer:
        """Wait for a run as one of those whom its entry counts, and answer."""
        try:
            answer = await self._answer(tool, run, deadline, on_stage)
        except asyncio.CancelledError:
            entry.waiting -= 1
            self._left(tool, run, entry)
            raise
        except RunOutOfSight:  # its outcome is still to come, for whoever asks again
            entry.waiting -= 1
            raise
        except RunError:
            entry.waiting -= 1
            self._ended(run, entry, on_outcome)
            raise
        entry.waiting -= 1
        if answer.state.is_final:
            self._ended(run, entry, on_outcome)
        return answer

    def _ended(self, run: Run, entry: Entry, on_outcome: OnOutcome) -> None:
        entry.ended_at = self._now()
        if entry.number is not None and not says_answered(run):
            entry.on_delivered = lambda: self._receipts.add(run)
        on_outcome(entry)

    async def _answer(self, tool: Tool, run: Run, deadline: float, on_stage: OnStage) -> Answer:
        url = self._api.run_url(run.dag_id, run.run_id)
        state = run.state
        try:
            ending = await self._wait(tool, run, deadline, on_stage)
            state = ending.state
            if not state.is_final:
                return Answer(state, run.run_id, url)
            on_stage("reading the results")
            if state is RunState.FAILED:
                raise RunFailed(await self._patiently(deadline, lambda: self._dossiers.failure(run, url)))
            results = await self._patiently(deadline, lambda: self._outcomes.results(tool, run, ending.results))
            return Answer(state, run.run_id, url, results)
        except AirflowError as error:
            raise RunOutOfSight(
                f"Run {run.run_id} of dag {run.dag_id} was started and {_in_words(state)}, but {error}. "
                f"{WAIT_TOOL_NAME} with tool {tool.name!r} and this run id returns what comes of it; it starts "
                f"nothing. For people: {url}"
            ) from error

    async def _wait(self, tool: Tool, run: Run, deadline: float, on_stage: OnStage) -> Ending:
        """Return the end, or the last state seen when the budget is spent or dagcall is about to stop."""

        def on_state(state: RunState) -> None:
            if not state.is_final:
                on_stage(state.value)

        on_state(run.state)
        return await self._waiter.wait_until_ended(
            run,
            seconds=deadline - self._now(),
            on_state=on_state,
            result_task_ids=self._outcomes.stream_task_ids(tool),
        )

    async def _patiently(self, deadline: float, read: Callable[[], Awaitable[T]]) -> T:
        """Read an outcome; while Airflow is away, wait for it as long as the caller does."""
        pause, longest = PATIENCE_SECONDS
        while True:
            try:
                return await read()
            except AirflowUnreachable:
                if self._now() + pause > deadline or self._is_draining:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    # Leaving

    def _left(self, tool: Tool, run: Run, entry: Entry) -> None:
        """Do what the operator wants done to the run of a caller who left."""
        if tool.policy.on_cancel == "fail" and not entry.waiting:
            task = asyncio.create_task(self._fail_after_grace(run, entry), name=f"end {run.run_id}")
            self._endings.add(task)
            task.add_done_callback(self._endings.discard)

    async def _fail_after_grace(self, run: Run, entry: Entry) -> None:
        await asyncio.sleep(GRACE_SECONDS)
        if entry.waiting or entry.ended_at is not None:
            return
        try:
            state = await self._set_failed(run)
        except AirflowError as error:
            logger.warning(
                "run %s of dag %s was left and could not be set to failed: %s", run.run_id, run.dag_id, error
            )
        else:
            logger.info("run %s of dag %s was left by its caller and is now %s", run.run_id, run.dag_id, state.value)

    async def _set_failed(self, run: Run) -> RunState:
        """Set a run to failed, but never one that has ended; return the state that it has then."""
        async for attempt in stamina.retry_context(
            on=self._api.rest.may_retry, attempts=CANCEL_ATTEMPTS, wait_initial=0.2, wait_max=2.0, timeout=None
        ):
            with attempt:  # Airflow and its scheduler may lock each other out; then the state is read anew
                run = await self._api.fetch_run(run.dag_id, run.run_id, attempts=1)
                if not run.state.is_final:
                    run = await self._api.set_run_failed(run.dag_id, run.run_id)
        return (await self._api.fetch_run(run.dag_id, run.run_id)).state


def _in_words(state: RunState) -> str:
    return {RunState.SUCCESS: "succeeded", RunState.FAILED: "failed"}.get(state, f"is {state.value}")
