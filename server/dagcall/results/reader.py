"""Reads the results of a run that succeeded.

Knows the result tasks, and the XCom bugs of each Airflow version.

The same run has the same results in every process and at any time: cached knowledge about a dag only saves requests. So
a task that the dag declares as its result counts only if it returned something: Airflow (3.3) shows the declaration
only with a stored value, and for None it stores nothing.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dagcall.airflow import (
    RESULTS_THROUGH_WAIT,
    AirflowApi,
    Dag,
    Run,
    Task,
    TaskInstance,
    fetch_results,
    fetch_stored_map_indexes,
    fetch_xcom,
    leaf_task_ids,
)
from dagcall.errors import AirflowUnreachable
from dagcall.masking import Masker
from dagcall.plain_json import Json
from dagcall.results.results import InstanceKey, Results, mapped_over_nothing, results_from
from dagcall.singleflight import SingleFlight
from dagcall.tools import Tool

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _KnownDag:
    """What is known of a dag's newest version, the only one whose tasks Airflow returns."""

    dag: Dag
    version: int
    """0 until the dag or a run has shown it."""
    tasks: tuple[Task, ...] | None = None

    def only_task_id(self, run: Run) -> str | None:
        """Return the task of a dag with a single task: it is the result, whatever is declared."""
        is_outdated = run.dag_version is not None and run.dag_version < self.version
        return self.tasks[0].task_id if self.tasks and len(self.tasks) == 1 and not is_outdated else None


class ResultReader:
    """Reads finished runs.

    On Airflow 3.3, one request returns all results, and often none is needed, because they came with the run's end. The
    task instances are read only if a value is missing, or is a list that may come from a mapped task. Below 3.3, each
    value needs a request.
    """

    def __init__(self, api: AirflowApi, masker: Masker | None = None) -> None:
        self._api = api
        self._masker = masker or Masker()
        self._tasks = SingleFlight(api.fetch_tasks)
        self._dags: dict[str, _KnownDag] = {}

    def stream_task_ids(self, tool: Tool, run: Run) -> tuple[str, ...]:
        """Return the tasks whose results to request with the end of a run; `()` for the declared result.

        Need not be right: the answer may be incomplete; `results` fetches the rest.
        """
        if tool.policy.results:
            return tool.policy.results
        only = self._known(tool, run).only_task_id(run)
        return (only,) if only else ()

    async def vital_task_ids(self, tool: Tool) -> frozenset[str]:
        """Return the tasks that must succeed: the result tasks, and the leaves, which decide the run's state."""
        return frozenset(await self._leaves(self._known(tool))) | frozenset(tool.policy.results or ())

    async def early_task_ids(self, tool: Tool) -> frozenset[str]:
        """Return the tasks whose success means that the result is available, although the run continues.

        Empty if only the end of the run shows it: from Airflow 3.3 on, the author may have declared others.
        """
        if tool.policy.results:
            return frozenset(tool.policy.results)
        if await self._api.version() >= RESULTS_THROUGH_WAIT:
            return frozenset()
        return frozenset(await self._leaves(self._known(tool)))

    async def results(
        self, tool: Tool, run: Run, seen: Mapping[str, Json] | None = None, *, is_over: bool = True
    ) -> Results:
        """Return the results of a run that succeeded.

        Args:
            tool: the called tool.
            run: the run, which has succeeded.
            seen: the stored results of `stream_task_ids`, if they came with the run's end.
            is_over: whether the run has ended; `/wait` returns no results of an unfinished run.

        Raises:
            AirflowUnreachable: the run was cleared while it was read, or Airflow is unavailable.
        """
        known = self._known(tool, run)
        were_tasks_known = known.tasks is not None
        found = await self._results(tool, known, run, seen, is_over=is_over)
        if were_tasks_known and (found.absent or found.has_no_tasks):
            # A dag without task instances in any run changes without a new version.
            known.tasks = None
            found = await self._results(tool, known, run, seen, is_over=is_over)
        if found.absent or found.has_no_tasks:
            logger.warning(
                "run %s of dag %s is a success in Airflow, but did not run the result tasks of tool %s: %s",
                run.run_id,
                run.dag_id,
                tool.name,
                ", ".join(found.absent) or "the dag has no tasks",
            )
        return replace(found, values=self._masker.without_known(found.values))

    async def _results(
        self, tool: Tool, known: _KnownDag, run: Run, seen: Mapping[str, Json] | None, *, is_over: bool
    ) -> Results:
        if not is_over or await self._api.version() < RESULTS_THROUGH_WAIT:
            task_ids = tool.policy.results or await self._leaves(known)
            instances = await self._instances(run, task_ids)
            stored = await self._one_by_one(run, instances)
        else:
            task_ids, raw = await self._at_once(tool, known, run, seen)
            unclear = tuple(task_id for task_id in task_ids if isinstance(raw.get(task_id, []), list))
            instances = await self._instances(run, unclear) if unclear else ()
            stored = await self._placed(run, raw, instances)
        found = results_from(run, task_ids, stored, instances, await self._empty(known, run, instances))
        return replace(found, has_no_tasks=not task_ids and not await self._fetch_tasks(known))

    async def _at_once(
        self, tool: Tool, known: _KnownDag, run: Run, seen: Mapping[str, Json] | None
    ) -> tuple[tuple[str, ...], Mapping[str, Json]]:
        """Return the result tasks, and their results from `/wait`."""
        if tool.policy.results:
            named = tool.policy.results
            return named, await self._fetch(run, named) if seen is None else seen
        if not seen:
            await self._fetch_tasks(known)
            if only := known.only_task_id(run):  # if it was unknown, nothing was requested
                return (only,), await self._fetch(run, (only,))
        declared = await self._fetch(run, None) if seen is None else seen
        if declared:
            return tuple(sorted(declared)), declared
        leaves = await self._leaves(known)
        return leaves, await self._fetch(run, leaves) if leaves else {}

    async def _fetch(self, run: Run, task_ids: tuple[str, ...] | None) -> dict[str, Json]:
        return await fetch_results(self._api.rest, run.dag_id, run.run_id, task_ids)

    async def _instances(self, run: Run, task_ids: tuple[str, ...]) -> Sequence[TaskInstance]:
        if not task_ids:  # Airflow would return all tasks
            return ()
        return await self._api.fetch_task_instances(run.dag_id, run.run_id, task_ids=task_ids)

    async def _placed(
        self, run: Run, raw: Mapping[str, Json], instances: Sequence[TaskInstance]
    ) -> dict[InstanceKey, Json]:
        """Assign each value to its task instance.

        The list of a mapped task lacks instances that returned nothing, and may contain instances removed since: the
        assignment is clear only if all are present.
        """
        placed: dict[InstanceKey, Json] = {}
        for task_id, value in raw.items():
            mapped = [i for i in instances if i.task_id == task_id and i.map_index >= 0]
            if not mapped:
                placed[task_id, -1] = value
                continue
            indexes = sorted(instance.map_index for instance in mapped)
            if len(value) != len(indexes) or any(instance.state == "removed" for instance in mapped):
                indexes = await fetch_stored_map_indexes(self._api.rest, run.dag_id, run.run_id, task_id)
            if len(value) != len(indexes):
                raise AirflowUnreachable(
                    f"the results of run {run.run_id} of {run.dag_id} changed while they were read",
                    is_effect_possible=False,
                )
            placed |= {(task_id, index): item for index, item in zip(indexes, value, strict=True)}
        return placed

    async def _empty(self, known: _KnownDag, run: Run, instances: Sequence[TaskInstance]) -> frozenset[str]:
        """Return the skipped tasks that were mapped over an empty list."""
        skipped = {instance.task_id for instance in instances if instance.state == "skipped" and instance.map_index < 0}
        if not skipped:
            return frozenset()
        tasks = await self._fetch_tasks(known)
        if not any(task.task_id in skipped and (task.is_mapped or "." in task.task_id) for task in tasks):
            return frozenset()
        return mapped_over_nothing(tasks, await self._api.fetch_task_instances(run.dag_id, run.run_id))

    async def _one_by_one(self, run: Run, instances: Sequence[TaskInstance]) -> dict[InstanceKey, Json]:
        places = [(instance.task_id, instance.map_index) for instance in instances if instance.state != "removed"]
        values = await asyncio.gather(*(fetch_xcom(self._api.rest, run.dag_id, run.run_id, *place) for place in places))
        return {place: value for place, value in zip(places, values, strict=True) if value is not None}

    # Cached knowledge about dags

    def _known(self, tool: Tool, run: Run | None = None) -> _KnownDag:
        """Return what is known of a dag; start afresh once the dag or a run shows a newer version."""
        known = self._dags.get(tool.dag_id)
        shown = max(tool.dag.version or 0, (run.dag_version or 0) if run else 0)
        if known is None or known.dag != tool.dag or (known.version and shown > known.version):
            known = self._dags[tool.dag_id] = _KnownDag(tool.dag, shown)
        known.version = known.version or shown
        return known

    async def _leaves(self, known: _KnownDag) -> tuple[str, ...]:
        return leaf_task_ids(await self._fetch_tasks(known))

    async def _fetch_tasks(self, known: _KnownDag) -> tuple[Task, ...]:
        if known.tasks is None:
            known.tasks = await self._tasks(known.dag.dag_id)
        return known.tasks
