"""Why a run failed: the task instances and their logs, read and put together."""

import logging

from dagcall.airflow import AirflowApi
from dagcall.errors import AirflowError
from dagcall.failures import MAX_TASKS, exception_in, failed_instances, failure_text
from dagcall.model import Run, TaskInstance

logger = logging.getLogger(__name__)


class Dossiers:
    """Reads runs that failed."""

    def __init__(self, api: AirflowApi) -> None:
        self._api = api

    async def failure(self, run: Run, url: str) -> str:
        """Return what a caller reads of a run that failed."""
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
