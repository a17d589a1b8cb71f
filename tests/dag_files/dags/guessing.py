"""Dags that leave a model guessing."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param

print("printed while the file is parsed")  # noqa: T201

with DAG("guessing", schedule=None, params={"what": Param(None), "how": {}}):
    EmptyOperator(task_id="nothing")

with DAG("no_tasks", schedule=None, description="Does nothing at all."):
    pass
