"""Reads why a run failed: the run, its task instances and their logs."""

import asyncio
import logging

from dagcall.airflow import AirflowApi, Run, Task, TaskInstance, excluding_date, is_unreachable, retry
from dagcall.errors import AirflowAnswerTooLarge, AirflowError, AirflowNotFound, AirflowRefused
from dagcall.masking import Masker
from dagcall.results.failure_report import FailureReport, MissingLog, Omission, TaskLog, instances_to_read, report_of
from dagcall.results.results import Results

logger = logging.getLogger(__name__)

LOG_SECONDS = 10.0
"""How long to retry logs that Airflow cannot return now, for all of them together."""


class FailureReader:
    """Reads runs that failed.

    Args:
        api: Airflow.
        masker: masks secrets.
        log_lines: how many of the last lines of a failed task's log to include.
    """

    def __init__(self, api: AirflowApi, masker: Masker, *, log_lines: int) -> None:
        self._api = api
        self._masker = masker
        self._log_lines = log_lines

    async def failure(
        self,
        run: Run,
        url: str,
        *,
        logs_until: float,
        is_over: bool = True,
        log_lines: int | None = None,
        results: Results | None = None,
    ) -> FailureReport:
        """Return the report of a run that failed.

        Args:
            run: the run, in any earlier state.
            url: the run in Airflow's UI.
            logs_until: when to stop waiting for logs, by the loop's clock.
            is_over: False if the run continues, but can no longer produce its result.
            log_lines: overrides the default of all tools.
            results: the incomplete results of a run that succeeded.

        Raises:
            AirflowNotFound: the run was deleted.
        """
        instances = await self._api.fetch_task_instances(run.dag_id, run.run_id)
        until = min(logs_until, asyncio.get_running_loop().time() + LOG_SECONDS)
        logs = {
            (instance.task_id, instance.map_index): await self._log(run, instance, until)
            for instance in instances_to_read(instances)
        }
        # The run is read last, because one deleted meanwhile has no task instances and no logs.
        run = await self._api.fetch_run(run.dag_id, run.run_id)
        return report_of(
            run=run,
            url=url,
            instances=instances,
            logs=logs,
            log_lines=self._log_lines if log_lines is None else log_lines,
            masker=self._masker,
            is_over=is_over,
            left_out=await self._left_out(run, results) if results else None,
        )

    async def _left_out(self, run: Run, results: Results) -> dict[str, Omission] | None:
        """Return why the run has no instance of result tasks; None if it has them."""
        if not (results.absent or results.has_no_tasks):
            return None
        tasks = {task.task_id: task for task in await self._api.fetch_tasks(run.dag_id)} if results.absent else {}
        return {task_id: _omission(tasks.get(task_id), run) for task_id in results.absent}

    async def _log(self, run: Run, instance: TaskInstance, until: float) -> TaskLog:
        """Read a log; if that fails, the failure is reported without it."""
        try:
            async with asyncio.timeout_at(until):
                return TaskLog(
                    await retry(lambda: self._api.fetch_log(run.dag_id, run.run_id, instance), may_retry=is_unreachable)
                )
        except TimeoutError:
            return TaskLog(missing=MissingLog.NOT_RETURNED)
        except AirflowError as error:
            logger.info("the log of task %s of run %s could not be read: %s", instance.task_id, run.run_id, error)
            return TaskLog(missing=_why_missing(error))


def _omission(task: Task | None, run: Run) -> Omission:
    if task is None:
        return Omission(is_in_dag=False)
    return Omission(excluding_date=excluding_date(task, run.logical_date), logical_date=run.logical_date)


def _why_missing(error: AirflowError) -> MissingLog:
    match error:
        case AirflowRefused():
            return MissingLog.NOT_ALLOWED
        case AirflowAnswerTooLarge():
            return MissingLog.TOO_LARGE
        case AirflowNotFound():
            return MissingLog.NOT_FOUND
        case _:
            return MissingLog.NOT_RETURNED
