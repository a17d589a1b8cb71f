"""What a run that succeeded came to: its results.

Knows which tasks make the answer, and what each version of Airflow gets wrong about their XComs.
"""

import asyncio
from collections.abc import Mapping

from dagcall.airflow import RESULTS_THROUGH_WAIT, AirflowApi
from dagcall.model import Dag, Json, Run, Task, leaf_task_ids
from dagcall.results import placed_by_map_index, plain_json
from dagcall.tools import Tool


class Outcomes:
    """Reads finished runs."""

    def __init__(self, api: AirflowApi) -> None:
        self._api = api
        self._tasks: dict[str, tuple[Dag, tuple[Task, ...]]] = {}
        """Dag id -> the dag as the tool was made from it, and its tasks."""
        self._declared: dict[str, tuple[Dag, tuple[str, ...]]] = {}
        """Dag id -> the dag likewise, and the tasks that its author declared as its result, once a run showed them."""

    def stream_task_ids(self, tool: Tool) -> tuple[str, ...] | None:
        """Return the tasks that make the result, where that is known without a question; else None."""
        known = tool.policy.results or self._known_result(tool)
        dag, tasks = self._tasks.get(tool.dag_id, (None, ()))
        return known or ((tasks[0].task_id,) if dag == tool.dag and len(tasks) == 1 else None)

    async def results(self, tool: Tool, run: Run, seen: Mapping[str, Json] | None = None) -> dict[str, Json]:
        """Return the results of a run that succeeded: task id -> plain JSON, null for a task that returned nothing.

        Args:
            tool: what was called.
            run: the run, which has succeeded.
            seen: the stored results of `stream_task_ids`, where they are there already.
        """
        if await self._api.version() < RESULTS_THROUGH_WAIT:
            raw = await self._one_by_one(run, tool.policy.results or await self._leaves(tool))
        else:
            raw = await self._at_once(tool, run, seen)
        return {task_id: plain_json(value) for task_id, value in raw.items()}

    async def _at_once(self, tool: Tool, run: Run, seen: Mapping[str, Json] | None) -> dict[str, Json]:
        """Read the results with one request where it is known which tasks make them.

        Only an answer shows which tasks the author declared as the dag's result, and a task that returned nothing is
        not in it. So what was seen once is remembered, and "nothing was declared" is never concluded.
        """
        task_ids = tool.policy.results or self._known_result(tool) or await self._only_task(tool)
        if task_ids is None:
            raw = await self._api.fetch_results(run.dag_id, run.run_id, None)
            if raw:
                self._declared[tool.dag_id] = (tool.dag, tuple(raw))
                return await self._completed(run, tuple(raw), raw)
            task_ids = await self._leaves(tool)
        if seen is None:
            seen = await self._api.fetch_results(run.dag_id, run.run_id, task_ids)
        return await self._completed(run, task_ids, seen)

    def _known_result(self, tool: Tool) -> tuple[str, ...] | None:
        dag, task_ids = self._declared.get(tool.dag_id, (None, None))
        return task_ids if dag == tool.dag else None

    async def _only_task(self, tool: Tool) -> tuple[str, ...] | None:
        """Return the task of a dag that has just one: whatever is declared, it is the result."""
        tasks = await self._fetch_tasks(tool)
        return (tasks[0].task_id,) if len(tasks) == 1 else None

    async def _leaves(self, tool: Tool) -> tuple[str, ...]:
        return leaf_task_ids(await self._fetch_tasks(tool))

    async def _fetch_tasks(self, tool: Tool) -> tuple[Task, ...]:
        """Return the dag's tasks, asked once for each definition of it."""
        dag, tasks = self._tasks.get(tool.dag_id, (None, ()))
        if dag != tool.dag:
            tasks = await self._api.fetch_tasks(tool.dag_id)
            self._tasks[tool.dag_id] = (tool.dag, tasks)
        return tasks

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

    async def _one_by_one(self, run: Run, task_ids: tuple[str, ...]) -> dict[str, Json]:
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
