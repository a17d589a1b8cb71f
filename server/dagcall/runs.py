"""One call: check, trigger, wait, collect.

A call starts at most one run. Its run id is chosen here before the first request, so that a lost answer can be followed
by a question ("is it there?") and, if it is not, by the same request again: Airflow takes a run id once.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import stamina

from dagcall.airflow import RESULTS_THROUGH_WAIT, AirflowApi
from dagcall.catalog import Catalog, reason_not_to_run
from dagcall.errors import (
    AirflowConflict,
    AirflowError,
    AirflowNotFound,
    AirflowRejected,
    AirflowUnreachable,
    RunFailed,
    RunOutOfSight,
    TriggerRefused,
    UnknownRun,
)
from dagcall.failures import MAX_TASKS, exception_in, failed_instances, failure_text
from dagcall.model import DagSummary, Json, Run, RunState, TaskInstance, leaf_task_ids
from dagcall.results import placed_by_map_index, plain_json
from dagcall.tools import WAIT_TOOL_NAME, Tool
from dagcall.waiter import Waiter

logger = logging.getLogger(__name__)

RUN_ID_PREFIX = "mcp__"
TRIGGER_ATTEMPTS = 4
PAUSED_CHECK_SECONDS = 2.0
"""How long "this dag can run now" is believed: parallel calls of a dag share one question."""
LOGICAL_DATE_ATTEMPTS = 10

OnState = Callable[[RunState], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to, other than an error."""

    state: RunState
    """`success`, or the unfinished state in which the run was left."""
    run_id: str
    url: str
    results: Mapping[str, Json] | None
    """Task id -> plain JSON; None while the run goes on."""


class Runs:
    """Makes calls.

    Args:
        api: Airflow.
        catalog: told when a definition no longer holds.
        waiter: watches the runs.
        wall_clock: the time in UTC, for logical dates.
    """

    def __init__(
        self, api: AirflowApi, catalog: Catalog, waiter: Waiter, *, wall_clock: Callable[[], datetime] | None = None
    ) -> None:
        self._api = api
        self._catalog = catalog
        self._waiter = waiter
        self._wall_clock = wall_clock or (lambda: datetime.now(UTC))  # noqa: TID251 - the real clock, unless a test brings its own
        self._checks: dict[str, tuple[float, asyncio.Task[DagSummary]]] = {}
        self.draining = asyncio.Event()
        """Set when dagcall is about to stop: waiting calls are then answered with their handles."""

    async def call(
        self,
        tool: Tool,
        arguments: Mapping[str, Json],
        *,
        budget_seconds: float,
        note: str = "",
        on_state: OnState | None = None,
    ) -> Answer:
        """Run the dag and return its results, or, when the budget is spent, what is known of the run by then.

        Raises:
            InvalidArguments, TriggerRefused: nothing was started.
            RunFailed, RunDeleted: the run did not deliver.
            AirflowError: Airflow did not answer as needed; the message says what is known of the run.
        """
        conf = tool.input.conf_from_arguments(arguments, tool=tool.name)
        await self._require_can_run(tool)
        run_id = f"{RUN_ID_PREFIX}{secrets.token_hex(13)}"
        run = await self._trigger(tool, run_id, conf, note)
        return await self._finish(tool, run, budget_seconds, on_state)

    async def resume(
        self, tool: Tool, run_id: str, *, budget_seconds: float, on_state: OnState | None = None
    ) -> Answer:
        """Wait again for a run that an earlier call started.

        Raises:
            UnknownRun: dagcall started no such run of this tool.
            RunFailed, RunDeleted, AirflowError: as `call`.
        """
        unknown = UnknownRun(f"there is no run {run_id!r} that tool {tool.name} started")
        if not run_id.startswith(RUN_ID_PREFIX):
            raise unknown
        try:
            run = await self._api.fetch_run(tool.dag_id, run_id)
        except AirflowNotFound as error:
            raise unknown from error
        return await self._finish(tool, run, budget_seconds, on_state)

    # Trigger

    async def _require_can_run(self, tool: Tool) -> None:
        """Refuse a dag that would leave the run queued for ever, or that is no longer there."""
        try:
            reason = reason_not_to_run(await self._fresh_summary(tool.dag_id))
        except AirflowNotFound:
            reason = "it is no longer there"
        if reason:
            self._catalog.refresh_soon()
            raise TriggerRefused(f"Nothing was started: dag {tool.dag_id} cannot run now: {reason}.")

    async def _fresh_summary(self, dag_id: str) -> DagSummary:
        now = asyncio.get_running_loop().time()
        asked, check = self._checks.get(dag_id, (float("-inf"), None))
        if check is None or now - asked > PAUSED_CHECK_SECONDS or (check.done() and check.exception()):
            check = asyncio.create_task(self._api.fetch_summary(dag_id))
            self._checks[dag_id] = (now, check)
        return await asyncio.shield(check)

    async def _trigger(self, tool: Tool, run_id: str, conf: Mapping[str, Json], note: str) -> Run:
        """Start the run; after a lost answer, find out before trying again."""
        is_unsure = False
        try:
            async for attempt in stamina.retry_context(
                on=AirflowUnreachable, attempts=TRIGGER_ATTEMPTS, wait_initial=0.2, wait_max=3.0, timeout=60.0
            ):
                with attempt:
                    if is_unsure and (run := await self._find(tool.dag_id, run_id)):
                        return run
                    try:
                        return await self._post(tool, run_id, conf, note)
                    except AirflowUnreachable as error:
                        is_unsure = is_unsure or error.is_effect_possible
                        raise
        except AirflowUnreachable as error:
            if not is_unsure:
                raise AirflowUnreachable(f"Nothing was started: {error}.", is_effect_possible=False) from error
            raise AirflowUnreachable(
                f"Whether run {run_id} of dag {tool.dag_id} was started is not known: {error}. Before calling again, "
                f"ask {WAIT_TOOL_NAME} with tool {tool.name!r} and this run id: it says whether it exists.",
                is_effect_possible=True,
            ) from error
        raise AssertionError  # pragma: no cover - retry_context ends by returning or raising

    async def _post(self, tool: Tool, run_id: str, conf: Mapping[str, Json], note: str) -> Run:
        logical_date = self._wall_clock() if tool.policy.logical_date == "now" else None
        for _ in range(LOGICAL_DATE_ATTEMPTS):
            try:
                return await self._api.trigger(
                    tool.dag_id, run_id=run_id, conf=conf, logical_date=logical_date, note=note
                )
            except AirflowConflict:
                # The same answer for "this run id exists" and "this logical date exists".
                if run := await self._find(tool.dag_id, run_id):
                    return run
                if logical_date is None:
                    raise
                logical_date += timedelta(microseconds=1 + secrets.randbelow(1000))
            except AirflowRejected as error:
                self._catalog.refresh_soon()
                raise TriggerRefused(
                    f"Nothing was started: Airflow refused dag {tool.dag_id}: {error.reason}"
                ) from error
            except AirflowNotFound as error:
                self._catalog.refresh_soon()
                raise TriggerRefused(f"Nothing was started: dag {tool.dag_id} is no longer in Airflow.") from error
        raise TriggerRefused(
            f"Nothing was started: dag {tool.dag_id} has a run for every logical date that was tried; try again."
        )

    async def _find(self, dag_id: str, run_id: str) -> Run | None:
        try:
            return await self._api.fetch_run(dag_id, run_id, attempts=1)
        except AirflowNotFound:
            return None

    # Wait

    async def _finish(self, tool: Tool, run: Run, budget_seconds: float, on_state: OnState | None) -> Answer:
        url = self._api.run_url(run.dag_id, run.run_id)
        state = run.state
        try:
            state = await self._wait(run, budget_seconds, on_state)
            if not state.is_final:
                return Answer(state, run.run_id, url, results=None)
            if state is RunState.FAILED:
                raise RunFailed(await self._failure(run, url))
            return Answer(state, run.run_id, url, results=await self._collect(tool, run))
        except AirflowError as error:
            raise RunOutOfSight(
                f"Run {run.run_id} of dag {run.dag_id} was started and is {_in_words(state)}, but {error}. Do not call "
                f"{tool.name} again for this: {WAIT_TOOL_NAME} with tool {tool.name!r} and this run id returns what "
                f"comes of it. For people: {url}"
            ) from error

    async def _wait(self, run: Run, budget_seconds: float, on_state: OnState | None) -> RunState:
        """Return the final state, or the last one seen when the budget is spent or dagcall is about to stop."""
        ended = asyncio.ensure_future(self._waiter.wait_until_ended(run, on_state=on_state))
        draining = asyncio.ensure_future(self.draining.wait())
        try:
            await asyncio.wait({ended, draining}, timeout=budget_seconds, return_when=asyncio.FIRST_COMPLETED)
            return ended.result() if ended.done() else self._waiter.state_of(run)
        finally:
            ended.cancel()
            draining.cancel()

    # Collect

    async def _failure(self, run: Run, url: str) -> str:
        instances = await self._api.fetch_task_instances(run.dag_id, run.run_id)
        exceptions = {}
        for instance in failed_instances(instances)[:MAX_TASKS]:
            if reason := await self._exception(run, instance):
                exceptions[instance.task_id, instance.map_index] = reason
        return failure_text(dag_id=run.dag_id, run_id=run.run_id, url=url, instances=instances, exceptions=exceptions)

    async def _exception(self, run: Run, instance: TaskInstance) -> str | None:
        try:
            return exception_in(await self._api.fetch_log(run.dag_id, run.run_id, instance))
        except AirflowError as error:  # no right to read logs, or no log: the failure is told without it
            logger.info("the log of task %s of run %s could not be read: %s", instance.task_id, run.run_id, error)
            return None

    async def _collect(self, tool: Tool, run: Run) -> dict[str, Json]:
        """Return the results of a run that succeeded: task id -> plain JSON, null for a task that returned nothing."""
        if await self._api.version() < RESULTS_THROUGH_WAIT:
            raw = await self._collect_one_by_one(run, await self._result_task_ids(tool))
        else:
            raw = await self._api.fetch_results(run.dag_id, run.run_id, tool.policy.results)
            task_ids = tool.policy.results or tuple(raw)
            if not task_ids:
                task_ids = await self._result_task_ids(tool)
                raw = await self._api.fetch_results(run.dag_id, run.run_id, task_ids)
            raw = await self._completed(run, task_ids, raw)
        return {task_id: plain_json(value) for task_id, value in raw.items()}

    async def _result_task_ids(self, tool: Tool) -> tuple[str, ...]:
        return tool.policy.results or leaf_task_ids(await self._api.fetch_tasks(tool.dag_id))

    async def _completed(self, run: Run, task_ids: tuple[str, ...], raw: Mapping[str, Json]) -> dict[str, Json]:
        """Put back what `/wait` leaves out: mapped instances and whole tasks that returned nothing.

        A list may be what a task returned or the values of a mapped task, and a missing value shifts the others. Only
        then is Airflow asked which instances there were.
        """
        unclear = tuple(task_id for task_id in task_ids if isinstance(raw.get(task_id, []), list))
        indexes = await self._map_indexes(run, unclear) if unclear else {}
        completed: dict[str, Json] = {}
        for task_id in task_ids:
            value = raw.get(task_id)
            expanded = indexes.get(task_id)
            if expanded and len(value or ()) != len(expanded):
                stored = await self._api.fetch_stored_map_indexes(run.dag_id, run.run_id, task_id)
                value = placed_by_map_index(value or (), stored, expanded)
            completed[task_id] = value
        return completed

    async def _collect_one_by_one(self, run: Run, task_ids: tuple[str, ...]) -> dict[str, Json]:
        indexes = await self._map_indexes(run, task_ids)
        results: dict[str, Json] = {}
        for task_id in task_ids:
            if expanded := indexes.get(task_id):
                results[task_id] = await asyncio.gather(
                    *(self._api.fetch_xcom(run.dag_id, run.run_id, task_id, index) for index in expanded)
                )
            else:
                results[task_id] = await self._api.fetch_xcom(run.dag_id, run.run_id, task_id, -1)
        return results

    async def _map_indexes(self, run: Run, task_ids: tuple[str, ...]) -> dict[str, list[int]]:
        """Return the map indexes of each task that is mapped in this run, in order."""
        indexes: dict[str, list[int]] = {}
        for instance in await self._api.fetch_task_instances(run.dag_id, run.run_id, task_ids=task_ids):
            if instance.map_index >= 0:
                indexes.setdefault(instance.task_id, []).append(instance.map_index)
        return {task_id: sorted(found) for task_id, found in indexes.items()}


def _in_words(state: RunState) -> str:
    return {RunState.SUCCESS: "finished", RunState.FAILED: "finished as failed"}.get(state, f"{state.value}")
