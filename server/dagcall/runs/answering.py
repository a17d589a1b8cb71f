"""A run that a caller waits for -> the answer to its call.

Combines the end of the wait (`waiter`, `task_watcher`) with the run's outcome (`results`). `runs` counts the callers.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from dagcall.airflow import AirflowApi, Question, Run, RunState, is_unreachable, retry
from dagcall.errors import AirflowError, AirflowNotFound, AirflowUnreachable, OutcomeUnknown, RunDeleted
from dagcall.plain_json import Json
from dagcall.results import FailureKind, FailureReader, FailureReport, ResultReader, Results
from dagcall.runs.answer import Answer
from dagcall.runs.call import Listener
from dagcall.runs.deadlines import Deadlines
from dagcall.runs.delivery_marks import says_cancelled
from dagcall.runs.lifecycle import NEXT, Action, Event, State
from dagcall.runs.task_watcher import QUEUED_SECONDS, Finding, RunObserver, TaskWatcher
from dagcall.runs.waiter import Waiter
from dagcall.tools import WAIT_TOOL_NAME, Tool

LEAST_READ_SECONDS = 5.0
"""The minimum time for reading an outcome, even if the call's deadline is earlier."""
WITHOUT_LOGS_SECONDS = 1.0
"""How long before the end of that time a failure is reported without the logs that are still missing."""


class Answering:
    """Waits for runs and reads their outcomes."""

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
        """Answer all waiting calls with what is known of their runs."""
        self._waiter.release()

    async def aclose(self) -> None:
        """Stop the task watcher."""
        await self._task_watcher.aclose()

    async def answer(self, tool: Tool, run: Run, listener: Listener) -> Answer:
        """Wait for a run and return its outcome, or what is known of it when the wait ends.

        Raises:
            RunDeleted: the run was deleted in Airflow.
            OutcomeUnknown: the outcome cannot be read from Airflow.
        """
        watch = _Watch(tool, run, listener, self._api.run_url(run.dag_id, run.run_id), run.state)
        reading = {Action.READ_RESULTS: self._read_results, Action.READ_FAILURE: self._read_failure}
        try:
            listener.times.enter("run", self._now())
            step = NEXT[State.WAITING, await self._wait(watch)]
            if step.action in reading:
                listener.times.enter("answer", self._now())
            async with self.in_time(listener.deadline) as watch.until:
                while read := reading.get(step.action):
                    listener.on_stage("reading the results")
                    step = NEXT[State.READING, await read(watch)]
        except AirflowError as error:
            state = in_words(watch.state)
            if isinstance(error, AirflowNotFound) and await self._is_deleted(run):
                raise RunDeleted(
                    f"Run {run.run_id} of dag {run.dag_id} {state}, but was deleted in Airflow before dagcall had read "
                    "its outcome. Its side effects are not undone. Calling again starts a new run."
                ).about(run.dag_id, run.run_id) from error
            raise OutcomeUnknown(
                f"Run {run.run_id} of dag {run.dag_id} was started and {state}, but {error}. Call {WAIT_TOOL_NAME} "
                f"with tool {tool.name!r} and this run id to get its outcome; this starts no run. For people: "
                f"{watch.url}"
            ).about(run.dag_id, run.run_id) from error
        return watch.answer(step.action)

    async def _is_cancelled(self, run: Run) -> bool:
        """Say whether a run is a success only because Airflow's scheduler was processing it when it was cancelled."""
        with suppress(AirflowError):  # then Airflow's state is returned
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
        """Limit requests to Airflow to the call's deadline, or to a few seconds if that has passed.

        Yields:
            The time limit, by the loop's clock.

        Raises:
            AirflowUnreachable: the block took longer.
        """
        until = max(deadline, self._now() + LEAST_READ_SECONDS)
        try:
            async with self._deadlines.until(until):
                yield until
        except TimeoutError as error:
            raise AirflowUnreachable(
                "Airflow did not answer before the call timed out", is_effect_possible=False
            ) from error

    async def _observer(self, tool: Tool, run: Run, listener: Listener) -> RunObserver:
        """Return a caller's observer of its run, not yet watched."""
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

    async def _wait(self, watch: "_Watch") -> Event:
        """Wait until the run ends, the call times out, dagcall shuts down, or the observer has a finding."""
        tool, run, listener = watch.tool, watch.run, watch.listener
        async with self.in_time(listener.deadline):
            observer = await self._observer(tool, run, listener)

        def on_state(state: RunState) -> None:
            observer.state = state
            if not state.is_final:
                listener.on_stage(state.value)

        on_state(run.state)
        self._task_watcher.watch(observer)
        try:
            ending = await self._waiter.wait_until_ended(
                run,
                seconds=listener.deadline - self._now(),
                on_state=on_state,
                result_task_ids=self._result_reader.stream_task_ids(tool, run),
                wake_up=observer.wake_up,
            )
        finally:
            self._task_watcher.unwatch(observer)
        watch.state = ending.state if ending.state.is_final else observer.state
        watch.seen, watch.questions, watch.progress_text = ending.results, observer.questions, observer.progress_text
        if not (watch.state.is_final or watch.progress_text or observer.finding):
            async with self.in_time(listener.deadline):
                watch.state, watch.progress_text = await self._current_progress(run, observer, watch.state)
        return _event(watch.state, observer.finding)

    async def _read_results(self, watch: "_Watch") -> Event:
        results = watch.results = await retry(
            lambda: self._result_reader.results(watch.tool, watch.run, watch.seen, is_over=watch.state.is_final),
            may_retry=self._may_retry,
            until=watch.listener.deadline,
        )
        if (results.skipped or not results.are_complete) and await self._is_cancelled(watch.run):
            return Event.CANCELLED
        return Event.COMPLETE if results.are_complete else Event.INCOMPLETE

    async def _read_failure(self, watch: "_Watch") -> Event:
        watch.failure = await retry(
            partial(
                self._failure_reader.failure,
                watch.run,
                watch.url,
                logs_until=watch.until - WITHOUT_LOGS_SECONDS,
                is_over=watch.state.is_final,
                log_lines=watch.tool.policy.log_lines,
                results=watch.results,
            ),
            may_retry=self._may_retry,
            until=watch.listener.deadline,
        )
        return Event.FAILURE_READ

    async def _current_progress(self, run: Run, observer: RunObserver, state: RunState) -> tuple[RunState, str]:
        """Return a run's state after the wait, and its progress or why it does not start.

        The shared poll sees a run only at its end, so the last known state may be out of date.
        """
        if self._now() - observer.since < QUEUED_SECONDS or self._deadlines.is_draining:
            return state, ""
        with suppress(AirflowError):  # the answer is correct without it
            if state is RunState.QUEUED:
                state = (await self._api.fetch_run(run.dag_id, run.run_id, attempts=1)).state
            if state is RunState.QUEUED:
                return state, await self._task_watcher.why_queued(run.dag_id)
            observer.state = state
            if state is RunState.RUNNING:
                await self._task_watcher.look_once(observer)
        return state, "" if state.is_final else observer.progress_text

    def _may_retry(self, error: Exception) -> bool | float:
        return not self._deadlines.is_draining and is_unreachable(error)


@dataclass(eq=False, slots=True)
class _Watch:
    """A run that a call waits for, and what is known of it."""

    tool: Tool
    run: Run
    listener: Listener
    url: str
    state: RunState
    progress_text: str = ""
    questions: tuple[Question, ...] = ()
    seen: Mapping[str, Json] | None = None
    """The results that arrived with the run's end."""
    until: float = 0.0
    """By when the outcome must be read, by the loop's clock."""
    results: Results | None = None
    failure: FailureReport | None = None

    def answer(self, action: Action) -> Answer:
        """Return the answer for the last action."""
        found = Answer(self.state, self.run.run_id, self.url)
        match action:
            case Action.TELL_RESULTS if self.results:
                return replace(found, results=self.results.values, skipped=self.results.skipped)
            case Action.TELL_FAILURE:
                return replace(found, failure=self.failure)
            case Action.TELL_CANCELLED:
                cancelled = FailureReport(self.run.dag_id, self.run.run_id, self.url, FailureKind.CANCELLED)
                return replace(found, failure=cancelled)
            case _:
                return replace(found, progress_text=self.progress_text, questions=self.questions)


def _event(state: RunState, finding: Finding | None) -> Event:
    """Return why a wait ended."""
    if state is RunState.FAILED:
        return Event.FAILED
    if finding is Finding.LOST:
        return Event.RESULT_LOST
    if state is RunState.SUCCESS:
        return Event.SUCCEEDED
    if finding is Finding.READY:
        return Event.RESULT_READY
    return Event.PERSON_ASKED if finding is Finding.QUESTIONS else Event.TIME_OVER


def in_words(state: RunState) -> str:
    """Return a run's state as a verb phrase: `succeeded`, `failed`, `is running`."""
    return {RunState.SUCCESS: "succeeded", RunState.FAILED: "failed"}.get(state, f"is {state.value}")
