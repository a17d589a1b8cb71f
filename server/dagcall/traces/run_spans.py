"""The span of each run and those of its tasks, from Airflow's own times: below the span of the call that got the run.

Airflow keeps a trace of its own for each run, which REST can neither set nor read. So dagcall reads when a run and its
tasks began and ended, once they have ended, and makes their spans itself; nothing has to be installed in Airflow.

Reading has time: a moment after a call has answered, and every half a minute for runs that go on. It takes one request
per run, and one for the tasks of many, and lets requests for callers go first.
"""

import asyncio
import logging
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice

from cachetools import LRUCache
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, Status, StatusCode, Tracer, set_span_in_context

from dagcall.airflow import AirflowApi, Purpose, Run, RunKey, RunState, TaskInstance
from dagcall.errors import AirflowError, AirflowNotFound
from dagcall.loops import Loop

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
"""From the answer to a call to the spans of its run: many runs are read together, and callers come first."""
LOOK_SECONDS = 30.0
"""How often to ask which of the other runs have ended."""
CLOSING_SECONDS = 2.0
SLACK = timedelta(seconds=5)
"""How long before its call a run may have ended by Airflow's clock, which is known to the second."""
MAX_RUNS = 10_000
"""Maximum runs that are followed; the oldest gets no span."""
BATCH = 50
MAX_TASKS = 500
"""Maximum spans of tasks per run; the first to start have one."""
FAILED = {"failed", "upstream_failed"}


class RunSpans:
    """Makes the spans of runs that have ended.

    Args:
        api: Airflow.
        tracer: makes the spans.
    """

    def __init__(self, api: AirflowApi, tracer: Tracer) -> None:
        self._api = api
        self._tracer = tracer
        self._now = asyncio.get_running_loop().time
        self._parents: dict[RunKey, tuple[SpanContext, datetime]] = {}
        """The runs without a span, oldest first; the call that got each first, and when it came."""
        self._over: set[RunKey] = set()
        """Those that have probably ended."""
        self._made: LRUCache[RunKey, bool] = LRUCache(MAX_RUNS)
        self._wanted = asyncio.Event()
        self._looked_at = self._now()
        self._loop = Loop("the spans of runs")
        self._following: asyncio.Task[None] | None = None

    def add(self, key: RunKey, parent: SpanContext, *, seconds: float, is_over: bool) -> None:
        """Make the span of a run once it has ended.

        Args:
            key: the run.
            parent: the span of a call that has this run; the first call counts.
            seconds: how long ago that call came. If the run had ended before, it belongs to an earlier call's trace.
            is_over: whether the run has probably ended.
        """
        if key in self._made or not parent.trace_flags.sampled:
            return
        since = self._api.rest.clock.now() - timedelta(seconds=seconds) - SLACK
        self._parents.setdefault(key, (parent, since))
        if len(self._parents) > MAX_RUNS:
            self._forget(next(iter(self._parents)))
        if is_over:
            self._over.add(key)
            self._wanted.set()
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._loop.run(self._turn), name="spans of runs")

    async def aclose(self) -> None:
        """Make the spans of runs that have ended, if that is quick; forget the others."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        with suppress(AirflowError, TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                await self._make()

    async def _turn(self) -> bool:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._wanted.wait()
            await asyncio.sleep(PAUSE_SECONDS)
        except TimeoutError:
            pass
        self._wanted.clear()
        try:
            await self._look()
            await self._make()
        except AirflowError as error:
            logger.debug("spans of runs have to wait: %s", error)
        return bool(self._parents)

    async def _look(self) -> None:
        """Find out which runs have ended since, by one request for all."""
        others = self._parents.keys() - self._over
        if not others or self._now() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = self._now()
        unfinished = await self._api.fetch_unfinished_run_ids(sorted({dag_id for dag_id, _ in others}))
        self._over |= others - unfinished

    async def _make(self) -> None:
        """Make the spans of the runs that have ended."""
        while batch := list(islice(self._over, BATCH)):
            insides = await self._api.fetch_insides(batch, purpose=Purpose.DISCOVERY)
            for key in batch:
                try:
                    run = await self._api.fetch_run(*key, attempts=1, purpose=Purpose.DISCOVERY)
                except AirflowNotFound:  # deleted
                    self._forget(key)
                    continue
                self._over.discard(key)
                if not run.state.is_final:
                    continue
                parent, since = self._parents[key]
                if run.start_date and run.end_date and run.end_date >= since:  # else it never started, or before
                    self._make_spans(run, run.start_date, run.end_date, insides.get(key, []), parent)
                    self._made[key] = True
                self._forget(key)

    def _forget(self, key: RunKey) -> None:
        self._parents.pop(key, None)
        self._over.discard(key)

    def _make_spans(
        self, run: Run, start: datetime, end: datetime, instances: list[TaskInstance], parent: SpanContext
    ) -> None:
        attributes = {
            "airflow.dag_id": run.dag_id,
            "airflow.dag_run.run_id": run.run_id,
            "airflow.dag_run.state": run.state.value,
        }
        span = self._tracer.start_span(
            f"dag_run {run.dag_id}",
            context=set_span_in_context(NonRecordingSpan(parent)),
            start_time=_nanoseconds(start),
            attributes=attributes,
        )
        timed = [(one.start_date, one.end_date, one) for one in instances if one.start_date and one.end_date]
        for began, ended, instance in sorted(timed, key=lambda each: each[0])[:MAX_TASKS]:
            self._make_task_span(instance, began, ended, span)
        if run.state is RunState.FAILED:
            span.set_status(Status(StatusCode.ERROR, "the run failed"))
        span.end(_nanoseconds(end))

    def _make_task_span(self, instance: TaskInstance, start: datetime, end: datetime, run: Span) -> None:
        span = self._tracer.start_span(
            instance.name,
            context=set_span_in_context(run),
            start_time=_nanoseconds(start),
            attributes={
                "airflow.task_id": instance.task_id,
                "airflow.task_instance.map_index": instance.map_index,
                "airflow.task_instance.try_number": instance.try_number,
                "airflow.task_instance.state": instance.state or "none",
            },
        )
        if instance.state in FAILED:
            span.set_status(Status(StatusCode.ERROR, instance.state))
        span.end(_nanoseconds(end))


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e9)
