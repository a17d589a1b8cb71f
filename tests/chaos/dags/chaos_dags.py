# ruff: noqa: INP001 - a file in a dags folder, not in a package
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""Dags that return x + 1: at once, after a few seconds, or after an approval; and one that fails."""

import time
from datetime import timedelta

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, dag, get_current_context, task

DAG = {"max_active_runs": 200, "params": {"x": Param(type="integer")}}
TRIES = {"retries": 4, "retry_delay": timedelta(seconds=1)}
"""Retries, because the tests break Airflow itself."""


@task(**TRIES)
def total(seconds: int = 0) -> int:
    x = get_current_context()["params"]["x"]
    time.sleep(x % 7 if seconds else 0)
    return x + 1


@dag(schedule=None, **DAG)
def quick() -> None:
    """Add one to x."""
    total()


@dag(schedule=None, **DAG)
def slow() -> None:
    """Add one to x, within six seconds."""
    total(seconds=1)


@dag(schedule=None, **DAG)
def approved() -> None:
    """Add one to x after a person's approval."""
    ApprovalOperator(task_id="approve", subject="Add one to {{ params.x }}?", **TRIES) >> total()


@dag(schedule=None, **DAG)
def failing() -> None:
    """Fail."""

    @task(task_id="total")
    def fail() -> int:
        raise ValueError("there is no total")

    fail()


quick()
slow()
approved()
failing()
