"""Watches the task instances of runs with waiting callers, with one shared poll for all of them.

A run's own state says nothing until the run has ended. Its task instances show earlier that the result can no longer
come, that it exists already, that a person is asked, and how far the run is. One request reads many runs, and runs that
end within seconds are never read. The pause between two reads depends on how long a read takes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import islice

from dagcall.airflow import (
    MAY_WAIT_FOR_PEOPLE,
    AirflowApi,
    Purpose,
    Question,
    RunKey,
    RunState,
    Task,
    TaskInstance,
    count_running,
    fetch_durations,
    fetch_hindrances,
    fetch_scheduler_silence,
)
from dagcall.errors import AirflowError, AirflowLogInRefused, AirflowUnreachable, CircuitOpen
from dagcall.loops import Loop
from dagcall.runs.intervals import interval_seconds
from dagcall.runs.task_progress import (
    LOST,
    TaskProgress,
    are_ready,
    first_to_start,
    is_lost,
    not_started,
    task_progress,
    usual_seconds,
)

logger = logging.getLogger(__name__)

FIRST_LOOK_SECONDS = 2.0
"""Most runs have ended by then, and cost no extra request."""
COST_FACTOR = 20
"""The pause between two reads, in durations of a read: they use at most a twentieth of one of Airflow's workers."""
LONGEST_PAUSE_SECONDS = 30.0
FULL_LOOKS = 50
"""How many runs are read in full at a time; more runs take turns."""
QUICK_LOOKS = 1000
"""How many other runs are read at a time, for failed or asking task instances only; more runs take turns."""
QUEUED_SECONDS = 5.0
"""After this time queued, or without a starting task, dagcall asks Airflow for the reason."""
REASON_SECONDS = 10.0
"""How long to cache why a dag's runs are queued, and why a task does not start."""
MOST_ASKED = 3
"""For how many tasks of a run to ask why they do not start."""
USUAL_SECONDS = 600.0
"""How long to cache how long a dag usually takes, and which tasks it has."""


class Finding(Enum):
    """A reason to stop waiting before the run ends."""

    LOST = auto()
    """The result can no longer come."""
    READY = auto()
    """The result exists, and the tool returns it without waiting for the run's end."""
    QUESTIONS = auto()
    """The run waits for a person."""


@dataclass(eq=False, slots=True)
class RunObserver:
    """What one caller knows of its unfinished run."""

    key: RunKey
    wake_up: asyncio.Future[RunState | None]
    """What the caller awaits; None means: stop waiting and look at `finding`."""
    vital_task_ids: Callable[[], Awaitable[frozenset[str]]]
    """The tasks without which there is no result."""
    awaited_task_ids: frozenset[str] | None = None
    """The tasks whose success ends the wait; None to wait for the run's end."""
    wants_progress: bool = False
    stops_for_questions: bool = True
    """Whether a question to a person ends the wait."""
    on_change: Callable[[], None] = lambda: None
    since: float = 0.0
    state: RunState = RunState.QUEUED
    progress: TaskProgress | None = None
    queued_because: str = ""
    stuck_since: float | None = None
    """Since when no task of the run starts or runs; None while one does."""
    stuck_because: str = ""
    usual_seconds: float | None = None
    finding: Finding | None = None
    questions: tuple[Question, ...] = ()

    def find(self, finding: Finding) -> None:
        """End the wait with a finding."""
        if not self.wake_up.done():
            self.finding = finding
        self.close()

    def close(self) -> None:
        """End the wait without a finding."""
        if not self.wake_up.done():
            self.wake_up.set_result(None)

    @property
    def progress_text(self) -> str:
        """The run's progress in words; empty if unknown."""
        if self.state is RunState.QUEUED:
            return self.queued_because or self.stuck_because
        if self.progress is None:
            return ""
        done = f"{self.progress.finished} of {self.progress.known} tasks done"
        return "; ".join(filter(None, (done, self.progress.doing, self.stuck_because)))


@dataclass(slots=True)
class _Cached:
    """A cached answer of Airflow, and when it expires."""

    until: float = float("-inf")
    reason: str = ""
    seconds: float | None = None
    tasks: tuple[Task, ...] = ()


@dataclass
class TaskWatcher:
    """Reads the task instances of runs as long as they have observers.

    Args:
        api: Airflow.
        now: the loop's clock, in seconds.
        sleep: for tests.
    """

    api: AirflowApi
    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    looker: Loop = field(default_factory=lambda: Loop("the task watcher"))
    _observers: dict[RunObserver, None] = field(default_factory=dict)
    """Ordered by their last read; there may be 10,000."""
    _full: dict[RunObserver, None] = field(default_factory=dict)
    """Those that need all task instances of their run, in the same order."""
    _latest_start: float = float("-inf")
    _looking: asyncio.Task[None] | None = None
    _reasons: dict[str, _Cached] = field(default_factory=dict)
    _hindrances: dict[tuple[str, str], _Cached] = field(default_factory=dict)
    """(dag id, task id) -> why the task does not start, which is mostly the same in all runs of the dag."""
    _durations: dict[str, _Cached] = field(default_factory=dict)
    _tasks: dict[str, _Cached] = field(default_factory=dict)
    _silence: _Cached = field(default_factory=_Cached)

    def watch(self, observer: RunObserver) -> None:
        """Watch a run until `unwatch`."""
        observer.since = self._latest_start = self.now()
        self._observers[observer] = None
        if observer.wants_progress or observer.awaited_task_ids is not None:
            self._full[observer] = None
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._loop(), name="task watcher")

    def unwatch(self, observer: RunObserver) -> None:
        """Stop watching a run."""
        del self._observers[observer]
        self._full.pop(observer, None)

    async def aclose(self) -> None:
        """Stop the loop."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def why_queued(self, dag_id: str) -> str:
        """Return why a run of this dag does not start, in words; empty if Airflow shows no reason."""
        known = self._reasons.setdefault(dag_id, _Cached())
        if known.until < self.now():
            known.reason = await self._fetch_reason(dag_id)
            known.until = self.now() + REASON_SECONDS
        return known.reason

    async def look_once(self, observer: RunObserver) -> None:
        """Read a run's task instances once, after the wait; skipped while many runs are being watched."""
        if len(self._observers) > FULL_LOOKS:
            return
        instances = (await self.api.fetch_insides({observer.key})).get(observer.key, [])
        observer.progress = task_progress(instances)
        observer.stuck_because = await self._why_stuck(observer.key, instances)

    async def _why_stuck(self, key: RunKey, instances: Sequence[TaskInstance]) -> str:
        """Return why no task of a run starts, in words; empty if one runs, or Airflow gives no reason."""
        dag_id, run_id = key
        if not not_started(instances):
            return ""
        reasons: list[str] = []
        for instance in first_to_start(instances, await self._tasks_of(dag_id))[:MOST_ASKED]:
            known = self._hindrances.setdefault((dag_id, instance.task_id), _Cached())
            if known.until < self.now():
                known.until = self.now() + REASON_SECONDS
                known.reason = "; ".join(await fetch_hindrances(self.api.rest, dag_id, run_id, instance))
            if known.reason:
                reasons.append(f"task {instance.name} cannot start: {known.reason}")
        return "; ".join(reasons) or await self._why_no_scheduler()

    async def _tasks_of(self, dag_id: str) -> tuple[Task, ...]:
        known = self._tasks.setdefault(dag_id, _Cached())
        if known.until < self.now():
            known.until = self.now() + USUAL_SECONDS
            known.tasks = await self.api.fetch_tasks(dag_id, purpose=Purpose.DISCOVERY)
        return known.tasks

    async def _loop(self) -> None:
        cost = 0.0

        async def read_next() -> bool:
            nonlocal cost
            age = self.now() - self._latest_start
            pause = max(interval_seconds(age, shortest=FIRST_LOOK_SECONDS), COST_FACTOR * cost)
            await self.sleep(min(pause, LONGEST_PAUSE_SECONDS))
            started_at = self.now()
            try:
                before = started_at - FIRST_LOOK_SECONDS / 2
                full = _take_turns(self._full, FULL_LOOKS, before=before)
                await self._read(full, _take_turns(self._observers, QUICK_LOOKS, before=before, others_than=set(full)))
            except AirflowError as error:
                logger.debug("the task watcher could not read task instances: %s", error)
            finally:
                cost = self.now() - started_at
            return bool(self._observers)

        if self._observers:
            await self.looker.run(read_next)

    async def _read(self, full: list[RunObserver], others: list[RunObserver]) -> None:
        insides = await self._fetch_insides(full, None)
        for observer in full:
            observer.progress = task_progress(instances := insides.get(observer.key, ()))
            if any(instance.state is not None for instance in instances):  # the shared poll sees only ends
                observer.state = RunState.RUNNING
        insides |= await self._fetch_insides(others, LOST | MAY_WAIT_FOR_PEOPLE)
        for observer in (*full, *others):
            await _isolated(self._check_result(observer, insides.get(observer.key, [])))
        asking = {key for key, instances in insides.items() if _may_ask(instances)}
        for dag_id in {observer.key[0] for observer in (*full, *others)}:
            await _isolated(
                self._update_questions([observer for observer in (*full, *others) if observer.key[0] == dag_id], asking)
            )
        for observer in full:
            await _isolated(self._update_reasons(observer, insides.get(observer.key, [])))
            observer.on_change()

    async def _fetch_insides(
        self, observers: list[RunObserver], states: frozenset[str] | None
    ) -> dict[RunKey, list[TaskInstance]]:
        """Return the task instances of these runs; dag by dag if Airflow refuses one request for all."""
        keys = {observer.key for observer in observers}
        if not keys:
            return {}
        try:
            return await self.api.fetch_insides(keys, states)
        except (AirflowUnreachable, AirflowLogInRefused):
            raise
        except AirflowError as error:
            logger.debug("the task watcher reads the runs dag by dag: %s", error)
        insides: dict[RunKey, list[TaskInstance]] = {}
        for dag_id in sorted({dag_id for dag_id, _ in keys}):
            await _isolated(self._add_insides(insides, [key for key in keys if key[0] == dag_id], states))
        return insides

    async def _add_insides(
        self, insides: dict[RunKey, list[TaskInstance]], keys: list[RunKey], states: frozenset[str] | None
    ) -> None:
        insides.update(await self.api.fetch_insides(keys, states))

    async def _check_result(self, observer: RunObserver, instances: list[TaskInstance]) -> None:
        if any(instance.state in LOST for instance in instances) and is_lost(
            instances, await observer.vital_task_ids()
        ):
            observer.find(Finding.LOST)
        elif observer.awaited_task_ids is not None and are_ready(instances, observer.awaited_task_ids):
            observer.find(Finding.READY)

    async def _update_questions(self, observers: list[RunObserver], asking: set[RunKey]) -> None:
        """Pass the open questions of one dag's runs to their observers."""
        wanted = asking & {observer.key for observer in observers}
        questions = await self.api.fetch_questions(wanted) if wanted else ()
        for observer in observers:
            observer.questions = tuple(q for q in questions if (q.dag_id, q.run_id) == observer.key)
            if observer.questions and observer.stops_for_questions:
                observer.find(Finding.QUESTIONS)

    async def _update_reasons(self, observer: RunObserver, instances: list[TaskInstance]) -> None:
        dag_id, _ = observer.key
        if observer.state is RunState.QUEUED and self.now() - observer.since >= QUEUED_SECONDS:
            observer.queued_because = await self.why_queued(dag_id)
        observer.stuck_because = await self._why_stuck_for_long(observer, instances)
        known = self._durations.setdefault(dag_id, _Cached())
        if known.until < self.now():
            known.until = self.now() + USUAL_SECONDS
            known.seconds = usual_seconds(await fetch_durations(self.api.rest, dag_id))
        observer.usual_seconds = known.seconds

    async def _why_stuck_for_long(self, observer: RunObserver, instances: list[TaskInstance]) -> str:
        if not not_started(instances) or (observer.state is RunState.QUEUED and observer.queued_because):
            observer.stuck_since = None
            return ""
        if observer.stuck_since is None:
            observer.stuck_since = self.now()
        return (
            await self._why_stuck(observer.key, instances)
            if self.now() - observer.stuck_since >= QUEUED_SECONDS
            else ""
        )

    async def _why_no_scheduler(self) -> str:
        if self._silence.until < self.now():
            self._silence = _Cached(self.now() + REASON_SECONDS)
            if (since := await fetch_scheduler_silence(self.api.rest)) is not None:
                self._silence.reason = f"Airflow's scheduler sends no heartbeats (last one: {since})"
        return self._silence.reason

    async def _fetch_reason(self, dag_id: str) -> str:
        dag = await self.api.fetch_summary(dag_id)
        if dag.is_paused:
            return f"dag {dag_id} is paused in Airflow; its runs stay queued until it is unpaused"
        if silence := await self._why_no_scheduler():
            return silence
        running = await count_running(self.api.rest, dag_id)
        if dag.max_active_runs is not None and running >= dag.max_active_runs:
            return f"dag {dag_id} has reached its max_active_runs ({running} of {dag.max_active_runs} running)"
        return ""


async def _isolated(work: Awaitable[None]) -> None:
    """Await work for one run or one dag; its errors do not affect the others."""
    try:
        await work
    except (CircuitOpen, AirflowLogInRefused):
        raise
    except AirflowError as error:
        logger.debug("the task watcher could not read one run: %s", error)


def _take_turns(
    observers: dict[RunObserver, None], most: int, *, before: float, others_than: Collection[RunObserver] = frozenset()
) -> list[RunObserver]:
    """Return the observers whose turn it is, of those that started earlier, and move them to the end."""
    candidates = (observer for observer in observers if observer.since <= before and observer not in others_than)
    chosen = list(islice(candidates, most))
    for observer in chosen:
        observers[observer] = observers.pop(observer)
    return chosen


def _may_ask(instances: list[TaskInstance]) -> bool:
    return any(instance.state in MAY_WAIT_FOR_PEOPLE for instance in instances)
