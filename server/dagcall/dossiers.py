"""Why a run failed: the run, its task instances and their logs, read and put together."""

import logging

from dagcall.airflow import AirflowApi
from dagcall.errors import AirflowAnswerTooLarge, AirflowError, AirflowNotFound, AirflowRefused
from dagcall.failures import TaskLog, failure_text, instances_to_read
from dagcall.masking import Masker
from dagcall.model import Run, TaskInstance

logger = logging.getLogger(__name__)


class Dossiers:
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

    async def failure(self, run: Run, url: str, *, is_over: bool = True, log_lines: int | None = None) -> str:
        """Return what a caller reads of a run that failed.

        Args:
            run: the run, as it was at any time.
            url: where people see it.
            is_over: False where the run goes on, but what it was called for can no longer come.
            log_lines: in place of what holds for all tools.
        """
        run = await self._api.fetch_run(run.dag_id, run.run_id)
        instances = await self._api.fetch_task_instances(run.dag_id, run.run_id)
        logs = {
            (instance.task_id, instance.map_index): await self._log(run, instance)
            for instance in instances_to_read(instances)
        }
        return failure_text(
            run=run,
            url=url,
            instances=instances,
            logs=logs,
            log_lines=self._log_lines if log_lines is None else log_lines,
            masker=self._masker,
            is_over=is_over,
        )

    async def _log(self, run: Run, instance: TaskInstance) -> TaskLog:
        """Read a log; without it, the failure is told all the same."""
        try:
            return TaskLog(await self._api.fetch_log(run.dag_id, run.run_id, instance))
        except AirflowError as error:
            logger.info("the log of task %s of run %s could not be read: %s", instance.task_id, run.run_id, error)
            return TaskLog(missing=_why_missing(error))


def _why_missing(error: AirflowError) -> str:
    if isinstance(error, AirflowRefused):
        return "dagcall's account in Airflow may not read task logs"
    if isinstance(error, AirflowAnswerTooLarge):
        return "its log is larger than dagcall reads (airflow.max_answer_bytes)"
    if isinstance(error, AirflowNotFound):
        return "Airflow has no log of it"
    return "Airflow could not hand out its log"
