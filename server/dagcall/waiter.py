"""Everyone who waits for a run, told when it ends.

One waiter serves all calls of a process. A few runs are watched each by its own stream of states, which is the fastest;
the others by one shared question ("which runs of these dags have ended since …?"), whose cost to Airflow does not grow
with the number of runs. A slow sweep checks that each of them is still unfinished, so that none is ever forgotten:
neither one whose end the question missed nor one that was deleted.

Many may wait for the same run; it is watched once. A caller who leaves stops nothing; a run is watched until it ends.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dagcall.airflow import AirflowApi
from dagcall.errors import AirflowError, AirflowNotFound, AirflowRefused, AirflowUnreachable, RunDeleted
from dagcall.gate import Purpose
from dagcall.model import Run, RunState
from dagcall.waiting import POLL_SHORTEST_SECONDS, interval_seconds, next_stream

logger = logging.getLogger(__name__)

FIRST_LINE_SECONDS = 3.0
"""Airflow sends the first state at once; a proxy that holds it back for so long holds back the others too."""
NO_STREAMS_SECONDS = 300.0
"""How long streams are left alone after one was held back."""
OVERLAP = timedelta(seconds=30)
"""How far the shared question looks back behind the latest end seen: an end is committed later than it is dated."""
SWEEP_SECONDS = 30.0
"""How often it is checked that nothing was missed: what the shared question cannot see costs a caller no more."""

RunKey = tuple[str, str]
"""dag id, run id"""


@dataclass(eq=False, slots=True)
class _Watch:
    """A run being watched."""

    key: RunKey
    started: float
    """When the watch began, by the loop's clock."""
    since: datetime
    """No end before this, by Airflow's clock, is news."""
    ended: asyncio.Future[RunState]
    state: RunState
    is_streamed: bool = False
    listeners: set[Callable[[RunState], None]] = field(default_factory=set)


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
        self._now = now or (lambda: asyncio.get_running_loop().time())
        self._sleep = sleep
        self._watches: dict[RunKey, _Watch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._poller: asyncio.Task[None] | None = None
        self._no_streams_until = float("-inf")
        self._swept = float("-inf")

    @property
    def watched(self) -> int:
        """How many runs are being watched."""
        return len(self._watches)

    async def wait_until_ended(self, run: Run, *, on_state: Callable[[RunState], None] | None = None) -> RunState:
        """Return the state in which the run ends. Being cancelled stops no watch.

        Args:
            run: as Airflow last showed it.
            on_state: told each state that is seen on the way.

        Raises:
            RunDeleted: somebody deleted the run.
            AirflowRefused: Airflow no longer takes dagcall's credentials.
        """
        if run.state.is_final:
            return run.state
        watch = self._watches.get((run.dag_id, run.run_id)) or self._watch(run)
        if on_state is None:
            return await asyncio.shield(watch.ended)
        watch.listeners.add(on_state)
        try:
            return await asyncio.shield(watch.ended)
        finally:
            watch.listeners.discard(on_state)

    def state_of(self, run: Run) -> RunState:
        """Return the run's state as last seen."""
        watch = self._watches.get((run.dag_id, run.run_id))
        return watch.state if watch else run.state

    async def aclose(self) -> None:
        """Stop watching."""
        tasks = [*self._tasks, *([self._poller] if self._poller else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for watch in self._watches.values():
            watch.ended.cancel()

    def _watch(self, run: Run) -> _Watch:
        now = self._now()
        watch = _Watch(
            key=(run.dag_id, run.run_id),
            started=now,
            since=run.run_after - OVERLAP,
            ended=asyncio.get_running_loop().create_future(),
            state=run.state,
        )
        # Whoever waited may have left; an unretrieved exception is then nobody's business.
        watch.ended.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._watches[watch.key] = watch
        if now >= self._no_streams_until and self.api.rest.gate.try_enter(Purpose.STREAM):
            watch.is_streamed = True
            task = asyncio.create_task(self._stream(watch), name=f"stream {run.run_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._ensure_poller()
        return watch

    # Streams

    async def _stream(self, watch: _Watch) -> None:
        """Follow one run by streams, each with a longer interval than the last; fall back to the shared question."""
        try:
            while not watch.ended.done() and await self._stream_once(watch):
                pass
        except AirflowError as error:
            logger.debug("the stream of run %s ended: %s", watch.key[1], error)
        finally:
            self.api.rest.gate.leave(Purpose.STREAM)
            watch.is_streamed = False
            if not watch.ended.done():
                self._ensure_poller()

    async def _stream_once(self, watch: _Watch) -> bool:
        """Follow one stream; say whether another one makes sense."""
        plan = next_stream(self._now() - watch.started)
        ends_at = self._now() + plan.lasts_seconds
        patience = FIRST_LINE_SECONDS
        async with self.api.stream_states(*watch.key, interval_seconds=plan.interval_seconds) as states:
            while True:
                try:
                    async with asyncio.timeout(patience):
                        state = await anext(states)
                except TimeoutError:
                    logger.warning("no state came through the stream of run %s; polling instead", watch.key[1])
                    self._no_streams_until = self._now() + NO_STREAMS_SECONDS
                    return False
                except StopAsyncIteration:  # no final state: deleted, or Airflow is going down; ask
                    await self._ask(watch)
                    return False
                self._saw(watch, state)
                if state.is_final or self._now() >= ends_at:
                    return True
                patience = plan.interval_seconds + FIRST_LINE_SECONDS

    # The shared question

    def _ensure_poller(self) -> None:
        if self._poller is None or self._poller.done():
            self._swept = self._now()
            self._poller = asyncio.create_task(self._poll(), name="poll")

    def _polled(self) -> list[_Watch]:
        return [watch for watch in self._watches.values() if not watch.is_streamed]

    async def _poll(self) -> None:
        """Ask about all runs that have no stream, until there is none left."""
        while watches := self._polled():
            youngest = max(watch.started for watch in watches)
            await self._sleep(interval_seconds(self._now() - youngest, shortest=POLL_SHORTEST_SECONDS))
            if not (watches := self._polled()):
                return
            try:
                await self._ask_which_ended(watches)
                await self._sweep()
            except AirflowRefused as error:
                for watch in watches:
                    self._fail(watch, error)
            except AirflowUnreachable as error:
                logger.debug("waiting for Airflow: %s", error)
            except AirflowError as error:
                logger.warning("%s", error)
            except Exception:
                logger.exception("the completion poll stumbled; it goes on")

    async def _ask_which_ended(self, watches: list[_Watch]) -> None:
        dag_ids = sorted({watch.key[0] for watch in watches})
        runs = await self.api.fetch_finished_runs(dag_ids, since=min(watch.since for watch in watches))
        latest = max((run.end_date for run in runs if run.end_date), default=None)
        for run in runs:
            watch = self._watches.get((run.dag_id, run.run_id))
            if watch and not watch.is_streamed:
                self._saw(watch, run.state)
        if latest is not None:
            for watch in watches:
                watch.since = max(watch.since, latest - OVERLAP)

    async def _sweep(self) -> None:
        """Ask about each polled run that is not among the unfinished ones: deleted, or ended unseen.

        One question for all, and one more for each run that is missing from its answer.
        """
        if self._now() - self._swept < SWEEP_SECONDS:
            return
        self._swept = started = self._now()
        watches = [watch for watch in self._polled() if watch.started < started]
        unfinished = await self.api.fetch_unfinished_run_ids(sorted({watch.key[0] for watch in watches}))
        for watch in watches:
            if watch.key not in unfinished and not watch.ended.done():
                await self._ask(watch)

    # What is seen

    async def _ask(self, watch: _Watch) -> None:
        try:
            run = await self.api.fetch_run(*watch.key, attempts=1)
        except AirflowNotFound:
            dag_id, run_id = watch.key
            self._fail(
                watch,
                RunDeleted(
                    f"run {run_id} of dag {dag_id} was deleted in Airflow while it was waited for; what it had done by "
                    "then may stand. Calling again starts a new run."
                ),
            )
            return
        self._saw(watch, run.state)

    def _saw(self, watch: _Watch, state: RunState) -> None:
        if state != watch.state:
            watch.state = state
            for listener in tuple(watch.listeners):
                listener(state)
        if state.is_final and not watch.ended.done():
            self._watches.pop(watch.key, None)
            watch.ended.set_result(state)

    def _fail(self, watch: _Watch, error: AirflowError | RunDeleted) -> None:
        if not watch.ended.done():
            self._watches.pop(watch.key, None)
            watch.ended.set_exception(error)
