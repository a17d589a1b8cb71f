"""Watches runs and tells the waiting callers when they end.

One waiter serves all calls of a process. A few runs have a stream of states each, which is fastest. All others are
covered by one shared poll ("which runs of these dags have ended since …?"), whose cost to Airflow does not grow with
the number of runs. When only a few polled runs are left, they get streams, too. A slow sweep checks that each polled
run is still unfinished, so that none is forgotten: neither a run whose end the poll missed nor a run that was deleted.

Each run is watched once, however many callers wait for it, and only as long as one of them does.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from dagcall.airflow import AirflowApi, Purpose, Run, RunKey, RunState
from dagcall.errors import (
    AirflowError,
    AirflowLogInRefused,
    AirflowNotFound,
    AirflowRefused,
    AirflowUnreachable,
    CircuitOpen,
    RunDeleted,
)
from dagcall.loops import Loop
from dagcall.plain_json import Json
from dagcall.runs.intervals import POLL_SHORTEST_SECONDS, interval_seconds, next_stream
from dagcall.runs.watches import NEVER, OVERLAP, PolledRuns, Watch

logger = logging.getLogger(__name__)

FIRST_LINE_SECONDS = 3.0
"""Airflow sends the first state at once. A proxy that buffers it for this long buffers the others, too."""
NO_STREAMS_SECONDS = 300.0
"""How long no streams are opened after one was buffered."""
SWEEP_SECONDS = 30.0
"""The interval of the sweep: the longest delay for an end that the shared poll cannot see."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A run's state when the wait ended."""

    state: RunState
    results: Mapping[str, Json] | None = None
    """The stored results of the requested tasks, if they arrived with the end."""


class Waiter:
    """Watches runs until they end.

    Args:
        api: Airflow.
        now: the loop's clock, in seconds; for tests.
        sleep: likewise.
    """

    def __init__(
        self,
        api: AirflowApi,
        *,
        now: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.api = api
        self._now = now or asyncio.get_running_loop().time
        self._sleep = sleep
        self._watches: dict[RunKey, Watch] = {}
        self._polled = PolledRuns()
        self.poller = Loop("the shared poll for finished runs")
        self._polling: asyncio.Task[None] | None = None
        self._has_found_end = False
        """Whether the last poll found an end."""
        self._last_error = ""
        """The last poll's error, to log it only once."""
        self._no_streams_until = float("-inf")
        self._swept_at = float("-inf")
        self._is_released = False

    @property
    def watched(self) -> int:
        """How many runs are being watched."""
        return len(self._watches)

    async def wait_until_ended(
        self,
        run: Run,
        *,
        seconds: float,
        on_state: Callable[[RunState], None] = lambda _: None,
        result_task_ids: tuple[str, ...] | None = None,
        wake_up: asyncio.Future[RunState | None] | None = None,
    ) -> Ending:
        """Return how the run ends, or its state when the time is up or `release` is called.

        Args:
            run: as last read from Airflow.
            seconds: how long to wait at most.
            on_state: called with each state seen on the way.
            result_task_ids: the tasks whose results to fetch with the end, if possible; None to fetch none.
            wake_up: the caller's own future; setting it to None ends the wait.

        Raises:
            RunDeleted: the run was deleted.
            AirflowRefused: dagcall's account may no longer see the run, or can no longer log in.
        """
        if run.state.is_final or self._is_released:
            return Ending(run.state)
        watch = self._watches.get((run.dag_id, run.run_id)) or self._watch(run, result_task_ids)
        wake_up = wake_up or asyncio.get_running_loop().create_future()
        watch.waiting[wake_up] = on_state
        timer = asyncio.get_running_loop().call_later(seconds, _end_wait, wake_up)
        try:
            state = await wake_up
            return Ending(state or watch.state, watch.results if watch.result_task_ids == result_task_ids else None)
        finally:
            timer.cancel()
            del watch.waiting[wake_up]
            if not watch.waiting and not watch.is_over:
                self._unwatch(watch)

    def release(self) -> None:
        """End all waits with the current states, and end future waits at once."""
        self._is_released = True
        for watch in list(self._watches.values()):
            self._resolve(watch, watch.state)

    async def aclose(self) -> None:
        """Stop watching."""
        self.release()
        tasks = [watch.stream for watch in self._watches.values() if watch.stream]
        if self._polling:
            tasks.append(self._polling)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _watch(self, run: Run, result_task_ids: tuple[str, ...] | None) -> Watch:
        key = (run.dag_id, run.run_id)
        now = self._now()
        age = self.api.rest.clock.seconds_since(run.run_after)
        watch = Watch(key, now, now - age, run.run_after, run.state, result_task_ids)
        self._watches[watch.key] = watch
        if not self._try_stream(watch):
            self._poll_for(watch)
        return watch

    def _unwatch(self, watch: Watch) -> None:
        """Stop watching a run that has ended or has no waiting callers."""
        watch.is_over = True
        self._watches.pop(watch.key, None)
        self._polled.drop(watch)
        if watch.stream and not watch.state.is_final:  # at a final state the stream ends by itself
            watch.stream.cancel()

    # Streams

    def _try_stream(self, watch: Watch) -> bool:
        """Open a stream for a run if streams work and a slot is free; return whether it was opened."""
        is_wanted = watch.may_stream and not self._is_released and self._now() >= self._no_streams_until
        if not is_wanted or not self.api.rest.gate.try_enter(Purpose.STREAM):
            return False
        watch.stream = asyncio.create_task(self._stream(watch), name=f"stream {watch.key[1]}")
        watch.stream.add_done_callback(lambda _: self._stream_ended(watch))
        return True

    def _return_to_streams(self) -> None:
        """Move the polled runs back to streams if there are enough slots for all of them."""
        if len(self._polled.watches) <= self.api.rest.gate.streams:
            for watch in list(self._polled.watches.values()):
                if self._try_stream(watch):
                    self._polled.drop(watch)

    async def _stream(self, watch: Watch) -> None:
        """Follow a run with streams, each with a longer interval than the one before."""
        try:
            while not watch.is_over and await self._stream_once(watch):
                pass
        except AirflowError as error:
            logger.debug("the stream of run %s ended: %s", watch.key[1], error)
        except Exception:
            logger.exception("the stream of run %s failed; polling instead", watch.key[1])

    def _stream_ended(self, watch: Watch) -> None:
        """Free the slot; the shared poll takes over if the run has not ended."""
        self.api.rest.gate.leave(Purpose.STREAM)
        watch.stream = None
        if watch.is_over:
            self._return_to_streams()
        else:
            watch.may_stream = False
            self._poll_for(watch)

    async def _stream_once(self, watch: Watch) -> bool:
        """Follow one stream to its end; return whether to open another one."""
        plan = next_stream(self._now() - watch.triggered_at, is_alone=len(self._watches) == 1)
        loop = asyncio.get_running_loop()
        ends_at = self._now() + plan.lasts_seconds
        is_first = True
        states = await self.api.stream_states(
            *watch.key, interval_seconds=plan.interval_seconds, result_task_ids=watch.result_task_ids
        )
        async with aclosing(states):
            try:
                async with asyncio.timeout(FIRST_LINE_SECONDS) as silence:
                    async for state, watch.results in states:
                        is_first = False
                        self._update(watch, state)
                        if watch.is_over:  # only the end of the response is still to come
                            continue
                        if self._now() >= ends_at:
                            return True
                        silence.reschedule(loop.time() + FIRST_LINE_SECONDS + plan.interval_seconds)
            except TimeoutError:
                if is_first:
                    logger.warning("the stream of run %s sent no state; polling instead", watch.key[1])
                    self._no_streams_until = self._now() + NO_STREAMS_SECONDS
                return False
            if not watch.is_over:  # no final state: the run was deleted, or Airflow is stopping
                await self._check(watch)
            return False

    # The shared poll

    def _poll_for(self, watch: Watch) -> None:
        self._polled.add(watch)
        if not self._is_released and (self._polling is None or self._polling.done()):
            self._swept_at = self._now()
            self._polling = asyncio.create_task(self._poll(), name="poll")

    async def _poll(self) -> None:
        """Poll all runs without a stream until none is left."""
        self._has_found_end = False
        await self.poller.run(self._poll_once)
        self._polled = PolledRuns()

    async def _poll_once(self) -> bool:
        """Poll once, after a pause; return whether to poll again.

        The pause is short after an end was found, because runs often end at about the same time.
        """
        age = 0.0 if self._has_found_end else self._now() - self._polled.latest_trigger
        await self._sleep(interval_seconds(age, shortest=POLL_SHORTEST_SECONDS))
        if not self._polled.watches:
            return False
        last_error = ""
        try:
            last_error = await self._poll_all()
        except AirflowLogInRefused as error:
            logger.warning("%s", error)
            for watch in list(self._polled.watches.values()):
                self._fail(watch, self._log_in_refused())
        except AirflowUnreachable as error:
            logger.debug("waiting for Airflow: %s", error)
        except AirflowError as error:
            last_error = str(error)
        if last_error and last_error != self._last_error:
            logger.warning("%s", last_error)
        self._last_error = last_error
        return bool(self._polled.watches)

    async def _poll_all(self) -> str:
        """Poll once for all runs, or for each run if Airflow refuses that; return its reason, else an empty text."""
        try:
            self._has_found_end = await self._poll_finished()
            await self._sweep()
            self._return_to_streams()
        except AirflowLogInRefused:
            raise
        except AirflowRefused as error:
            await self._check_each(list(self._polled.watches.values()))
            return str(error)
        return ""

    def _log_in_refused(self) -> AirflowLogInRefused:
        """Return an error that all waiting callers may read: the original may name another caller's run."""
        return AirflowLogInRefused(
            f"Airflow at {self.api.url} no longer accepts dagcall's account; check the credentials in dagcall's "
            "settings"
        )

    async def _poll_finished(self) -> bool:
        """Ask Airflow which runs have ended; return whether one of the polled runs has."""
        polled = self._polled
        since, polled.since = polled.since, NEVER  # a watch added meanwhile sets its own
        has_found_end = False
        try:
            runs = await self.api.fetch_finished_runs(polled.dag_ids, since=since, triggered_since=polled.oldest)
            for run in runs:
                if watch := polled.watches.get((run.dag_id, run.dag_run_id)):
                    self._update(watch, run.state)
                    has_found_end = has_found_end or watch.is_over
            since = max([since, *(run.end_date - OVERLAP for run in runs if run.end_date)])
        finally:
            polled.since = min(polled.since, since)
        return has_found_end

    async def _sweep(self) -> None:
        """Find polled runs that are no longer unfinished: deleted, or ended without the poll noticing.

        One request for all, and one more for each run missing from its answer.
        """
        if self._now() - self._swept_at < SWEEP_SECONDS or not self._polled.watches:  # no dags would select all
            return
        self._swept_at = started = self._now()
        unfinished = await self.api.fetch_unfinished_run_ids(self._polled.dag_ids)
        missing = [watch for key, watch in self._polled.watches.items() if key not in unfinished]
        await self._check_each([watch for watch in missing if watch.started < started])

    # Observed states

    async def _check_each(self, watches: list[Watch]) -> None:
        for watch in watches:
            if not watch.is_over:
                await self._check(watch)

    async def _check(self, watch: Watch) -> None:
        """Read one run. An error concerns this run only, unless it would fail all requests."""
        try:
            run = await self.api.fetch_run(*watch.key, attempts=1)
        except AirflowNotFound:
            dag_id, run_id = watch.key
            self._fail(
                watch,
                RunDeleted(
                    f"Run {run_id} of dag {dag_id} was deleted in Airflow while dagcall waited for it. Its side "
                    "effects are not undone. Calling again starts a new run."
                ).about(dag_id, run_id),
            )
        except (CircuitOpen, AirflowLogInRefused):
            raise
        except AirflowRefused as error:
            self._fail(watch, error)
        except AirflowError as error:
            logger.debug("could not read run %s, will retry: %s", watch.key[1], error)
        else:
            self._update(watch, run.state)

    def _update(self, watch: Watch, state: RunState) -> None:
        if watch.is_over:
            return
        if state != watch.state:
            watch.state = state
            for on_state in tuple(watch.waiting.values()):
                on_state(state)
        if state.is_final:
            self._resolve(watch, state)
            self._unwatch(watch)

    def _resolve(self, watch: Watch, state: RunState) -> None:
        for wake_up in watch.waiting:
            if not wake_up.done():
                wake_up.set_result(state)

    def _fail(self, watch: Watch, error: AirflowError | RunDeleted) -> None:
        for wake_up in watch.waiting:
            if not wake_up.done():
                wake_up.set_exception(error)
        self._unwatch(watch)


def _end_wait(wake_up: asyncio.Future[RunState | None]) -> None:
    if not wake_up.done():
        wake_up.set_result(None)
