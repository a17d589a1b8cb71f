# ruff: noqa: INP001 - a file in a dags folder, not in a package
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""Dags that return x + 1, wait for a place in a closed pool, fail, or ask a person."""

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, dag, get_current_context, task

DAG = {"max_active_runs": 100, "params": {"x": Param(type="integer")}}


@task
def total() -> int:
    return get_current_context()["params"]["x"] + 1


@dag(schedule=None, **DAG)
def add() -> None:
    """Add one to x."""
    total()


@dag(schedule=None, **DAG)
def held() -> None:
    """Add one to x, in a pool without slots."""
    total.override(pool="closed")()


@dag(schedule=None, **DAG)
def broken() -> None:
    """Fail."""

    @task(task_id="total")
    def fail() -> int:
        raise ValueError(f"{get_current_context()['params']['x']} is no good")

    fail()


@dag(schedule=None, **DAG)
def approved() -> None:
    """Add one to x after a person's approval."""
    ApprovalOperator(task_id="approve", subject="Add one to {{ params.x }}?") >> total()


add()
held()
broken()
approved()
