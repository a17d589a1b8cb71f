"""Why a run failed: the run, its task instances and their logs, read and put together."""

import asyncio
import logging

from dagcall.airflow import AirflowApi, LogEvent, Run, Task, TaskInstance, left_out_because
from dagcall.errors import AirflowAnswerTooLarge, AirflowError, AirflowNotFound, AirflowRefused, AirflowUnreachable
from dagcall.masking import Masker
from dagcall.results.failure_report import FailureReport, Omission, TaskLog, instances_to_read, report_of
from dagcall.results.results import Results

logger = logging.getLogger(__name__)

NOT_HANDED_OUT = "Airflow could not hand out its log"
LOG_SECONDS = 10.0
"""How long it is tried to read logs that Airflow cannot hand out just now, all of them together."""
PAUSE_SECONDS = 0.5
"""How long before the second try; each further pause is twice as long."""


class FailureReader:
    """Reads runs that failed.

    Args:
        api: Airflow.
        masker: hides secrets.
        log_lines: how many of the last lines of a failed task's log are shown.
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
            run: the run, as it was at any time.
            url: where people see it.
            logs_until: when the failure is told without the logs that have not come, by the loop's clock.
            is_over: False where the run goes on, but what it was called for can no longer come.
            log_lines: in place of what holds for all tools.
            results: of a run that succeeded, where these are not complete.

        Raises:
            AirflowNotFound: the run was deleted.
        """
        instances = await self._api.fetch_task_instances(run.dag_id, run.run_id)
        until = min(logs_until, asyncio.get_running_loop().time() + LOG_SECONDS)
        logs = {
            (instance.task_id, instance.map_index): await self._log(run, instance, until)
            for instance in instances_to_read(instances)
        }
        # The run comes last: one that was deleted meanwhile has no task instances, and no logs.
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
        """Return why the run has no instance of tasks that make the result; None where it has."""
        if not (results.absent or results.has_no_tasks):
            return None
        tasks = {task.task_id: task for task in await self._api.fetch_tasks(run.dag_id)} if results.absent else {}
        return {task_id: _omission(tasks.get(task_id), run) for task_id in results.absent}

    async def _log(self, run: Run, instance: TaskInstance, until: float) -> TaskLog:
        """Read a log; without it, the failure is told all the same."""
        try:
            async with asyncio.timeout_at(until):
                return TaskLog(await self._patiently_read(run, instance))
        except TimeoutError:
            return TaskLog(missing=NOT_HANDED_OUT)
        except AirflowError as error:
            logger.info("the log of task %s of run %s could not be read: %s", instance.task_id, run.run_id, error)
            return TaskLog(missing=_why_missing(error))

    async def _patiently_read(self, run: Run, instance: TaskInstance) -> tuple[LogEvent, ...]:
        pause = PAUSE_SECONDS
        while True:
            try:
                return await self._api.fetch_log(run.dag_id, run.run_id, instance)
            except AirflowUnreachable as error:
                logger.info("the log of task %s of run %s is asked for again: %s", instance.task_id, run.run_id, error)
            await asyncio.sleep(pause)
            pause *= 2
            # Where only logs are out of order, this answer keeps the breaker closed for everybody else.
            await self._api.fetch_run(run.dag_id, run.run_id)


def _omission(task: Task | None, run: Run) -> Omission:
    if task is None:
        return Omission("the dag has no such task any more")
    if run.logical_date is not None and (why := left_out_because(task, run.logical_date)):
        return Omission(f"{why}, and the run's logical date is {run.logical_date.isoformat()}", is_for_dates=True)
    return Omission("the run has no instance of it; the dag was probably changed since")


def _why_missing(error: AirflowError) -> str:
    if isinstance(error, AirflowRefused):
        return "dagcall's account in Airflow may not read task logs"
    if isinstance(error, AirflowAnswerTooLarge):
        return "its log is larger than dagcall reads (airflow.max_answer_bytes)"
    if isinstance(error, AirflowNotFound):
        return "Airflow has no log of it"
    return NOT_HANDED_OUT
