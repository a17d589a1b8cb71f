"""A run that a caller waits for -> the answer to its call.

Puts together when the wait is over (`waiter`, `task_watcher`) and what came of it (`results`). Knows nothing of
who else waits; that is `runs`' business.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TypeVar

from dagcall.airflow import AirflowApi, Run, RunState
from dagcall.errors import AirflowError, AirflowNotFound, AirflowUnreachable, OutcomeUnknown, RunDeleted
from dagcall.results import FailureKind, FailureReader, FailureReport, ResultReader
from dagcall.runs.answer import Answer
from dagcall.runs.call import Listener
from dagcall.runs.deadlines import Deadlines
from dagcall.runs.delivery_marks import says_cancelled
from dagcall.runs.task_watcher import QUEUED_SECONDS, Finding, RunObserver, TaskWatcher
from dagcall.runs.waiter import Ending, Waiter
from dagcall.tools import WAIT_TOOL_NAME, Tool

PATIENCE_SECONDS = (0.5, 5.0)
"""The first and the longest pause between tries to read an outcome while Airflow is away."""

LEAST_READ_SECONDS = 5.0
"""How long reading an outcome may take, however little time the caller has left."""
WITHOUT_LOGS_SECONDS = 1.0
"""How long before that time is over a failure is told without the logs that have not come."""

T = TypeVar("T")


class Answering:
    """Waits for runs and reads what they came to."""

    def __init__(
        self,
        api: AirflowApi,
        waiter: Waiter,
        result_reader: ResultReader,
        failure_reader: FailureReader,
        deadlines: Deadlines,
    ) -> None:
        self._now = asyncio.get_running_loop().time
        self._api = api
        self._waiter = waiter
        self._result_reader = result_reader
        self._failure_reader = failure_reader
        self._deadlines = deadlines
        self._task_watcher = TaskWatcher(api, self._now)

    def drain(self) -> None:
        """Have everybody who waits answered with what is known of their run by now."""
        self._waiter.release()

    async def aclose(self) -> None:
        """Stop looking into runs."""
        await self._task_watcher.aclose()

    async def answer(self, tool: Tool, run: Run, listener: Listener) -> Answer:
        """Wait for a run, and return what comes of it, or what is known of it when the wait is over.

        Raises:
            RunError: the run did not deliver; `OutcomeUnknown` where it may still do.
        """
        state = run.state
        try:
            async with self.in_time(listener.deadline):
                observer = await self._observer(tool, run, listener)
            ending = await self._wait(tool, run, observer, listener)
            state = ending.state if ending.state.is_final else observer.state
            async with self.in_time(listener.deadline) as until:
                return await self._told(tool, run, state, listener, observer=observer, ending=ending, until=until)
        except AirflowError as error:
            if isinstance(error, AirflowNotFound) and await self._is_deleted(run):
                raise RunDeleted(
                    f"Run {run.run_id} of dag {run.dag_id} {in_words(state)}, and was deleted in Airflow before "
                    "dagcall had read what came of it; what it had done may stand. Calling again starts a new run."
                ).about(run.dag_id, run.run_id) from error
            raise OutcomeUnknown(
                f"Run {run.run_id} of dag {run.dag_id} was started and {in_words(state)}, but {error}. "
                f"{WAIT_TOOL_NAME} with tool {tool.name!r} and this run id returns what comes of it; it starts "
                f"nothing. For people: {self._api.run_url(run.dag_id, run.run_id)}"
            ).about(run.dag_id, run.run_id) from error

    async def _is_cancelled(self, run: Run) -> bool:
        """Say whether a run is a success to Airflow only because its scheduler had it in hand as it was cancelled."""
        with suppress(AirflowError):  # then it is told as Airflow has it
            return says_cancelled(await self._api.fetch_run(run.dag_id, run.run_id))
        return False

    async def _is_deleted(self, run: Run) -> bool:
        try:
            await self._api.fetch_run(run.dag_id, run.run_id)
        except AirflowNotFound:
            return True
        except AirflowError:
            return False
        return False

    @asynccontextmanager
    async def in_time(self, deadline: float) -> AsyncIterator[float]:
        """Ask Airflow only until the caller has to have an answer, or a few seconds where that time is over.

        Yields:
            When the time is over, by the loop's clock.

        Raises:
            AirflowUnreachable: it took longer.
        """
        until = max(deadline, self._now() + LEAST_READ_SECONDS)
        try:
            async with self._deadlines.until(until):
                yield until
        except TimeoutError as error:
            raise AirflowUnreachable(
                "Airflow did not answer in the time for this call", is_effect_possible=False
            ) from error

    async def _told(
        self,
        tool: Tool,
        run: Run,
        state: RunState,
        listener: Listener,
        *,
        observer: RunObserver,
        ending: Ending,
        until: float,
    ) -> Answer:
        """Return what a caller is told when the wait is over."""
        url = self._api.run_url(run.dag_id, run.run_id)
        progress_text = observer.progress_text
        if not (state.is_final or progress_text or observer.finding):
            state, progress_text = await self._looked_at(run, observer, state)
        if not state.is_final and observer.finding not in {Finding.LOST, Finding.READY}:
            return Answer(state, run.run_id, url, progress_text=progress_text, questions=observer.questions)
        listener.on_stage("reading the results")
        results = None
        if state is not RunState.FAILED and observer.finding is not Finding.LOST:
            results = await self._patiently(
                listener.deadline,
                lambda: self._result_reader.results(tool, run, ending.results, is_over=state.is_final),
            )
        if results and (results.skipped or not results.are_complete) and await self._is_cancelled(run):
            cancelled = FailureReport(run.dag_id, run.run_id, url, FailureKind.CANCELLED)
            return Answer(state, run.run_id, url, failure=cancelled)
        if results is None or not results.are_complete:  # the run went well without them, the call did not
            read_failure = partial(
                self._failure_reader.failure,
                run,
                url,
                logs_until=until - WITHOUT_LOGS_SECONDS,
                is_over=state.is_final,
                log_lines=tool.policy.log_lines,
                results=results,
            )
            return Answer(state, run.run_id, url, failure=await self._patiently(listener.deadline, read_failure))
        return Answer(state, run.run_id, url, results.values, skipped=results.skipped)

    async def _observer(self, tool: Tool, run: Run, listener: Listener) -> RunObserver:
        """Return a caller's view into its run; nothing looks through it yet."""
        is_for_results = tool.policy.return_when == "results_ready" and not run.state.is_final
        observer = RunObserver(
            (run.dag_id, run.run_id),
            asyncio.get_running_loop().create_future(),
            vital_task_ids=lambda: self._result_reader.vital_task_ids(tool),
            awaited_task_ids=await self._result_reader.early_task_ids(tool) or None if is_for_results else None,
            wants_progress=listener.on_observer is not None,
            stops_for_questions=listener.stops_for_questions,
            state=run.state,
        )
        if listener.on_observer is not None:
            listener.on_observer(observer)
        return observer

    async def _wait(self, tool: Tool, run: Run, observer: RunObserver, listener: Listener) -> Ending:
        """Return the end, or the last state seen when there is no more to wait for.

        That is when the time is over, when dagcall is about to stop, and when the observer finds something.
        """

        def on_state(state: RunState) -> None:
            observer.state = state
            if not state.is_final:
                listener.on_stage(state.value)

        on_state(run.state)
        self._task_watcher.watch(observer)
        try:
            return await self._waiter.wait_until_ended(
                run,
                seconds=listener.deadline - self._now(),
                on_state=on_state,
                result_task_ids=self._result_reader.stream_task_ids(tool, run),
                told=observer.told,
            )
        finally:
            self._task_watcher.unwatch(observer)

    async def _looked_at(self, run: Run, observer: RunObserver, state: RunState) -> tuple[RunState, str]:
        """Return the state of a run when the wait is over, and how far it is, or why it does not move.

        A run that is watched by the shared poll is seen again only at its end.
        """
        if self._now() - observer.since < QUEUED_SECONDS or self._deadlines.is_draining:
            return state, ""
        with suppress(AirflowError):  # the answer is right without it
            if state is RunState.QUEUED:
                state = (await self._api.fetch_run(run.dag_id, run.run_id, attempts=1)).state
            if state is RunState.QUEUED:
                return state, await self._task_watcher.why_queued(run.dag_id)
            observer.state = state
            if state is RunState.RUNNING:
                await self._task_watcher.look_once(observer)
        return state, "" if state.is_final else observer.progress_text

    async def _patiently(self, deadline: float, read: Callable[[], Awaitable[T]]) -> T:
        """Read an outcome; while Airflow is away, wait for it as long as the caller does."""
        pause, longest = PATIENCE_SECONDS
        while True:
            try:
                return await read()
            except AirflowUnreachable:
                if self._now() + pause > deadline or self._deadlines.is_draining:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)


def in_words(state: RunState) -> str:
    """Return a run's state as a clause about it."""
    return {RunState.SUCCESS: "succeeded", RunState.FAILED: "failed"}.get(state, f"is {state.value}")
