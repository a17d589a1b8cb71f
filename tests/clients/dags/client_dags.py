# ruff: noqa: INP001 - a file in a dags folder, not in a package
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""A dag for each action of a client. All have the param x; all except `large` and `failing` return x + 1."""

import time

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, dag, get_current_context, task

DAG = {"max_active_runs": 50, "params": {"x": Param(type="integer")}}
STEP_SECONDS = 1.5
SLOW_SECONDS = 9
SLOWER_SECONDS = 20
ENDLESS_SECONDS = 90
ROWS = 20_000


def x() -> int:
    """Return the run's param x."""
    return get_current_context()["params"]["x"]


@task
def total() -> int:
    """Add one to x."""
    return x() + 1


@dag(schedule=None, **DAG)
def quick() -> None:
    """Add one to x."""
    total()


@task
def step() -> None:
    """Sleep for a while."""
    time.sleep(STEP_SECONDS)


@dag(schedule=None, **DAG)
def steps() -> None:
    """Add one to x, in three steps."""
    step.override(task_id="first")() >> step.override(task_id="second")() >> total()


@dag(schedule=None, **DAG)
def failing() -> None:
    """Fail."""

    @task
    def total() -> None:
        raise ValueError(f"No disk {x()}")

    total()


@task
def wait(seconds: float) -> int:
    """Add one to x after `seconds`."""
    time.sleep(seconds)
    return x() + 1


@dag(schedule=None, **DAG)
def slow() -> None:
    """Add one to x, after a client with a short timeout has given up."""
    wait.override(task_id="total")(SLOW_SECONDS)


@dag(schedule=None, **DAG)
def slower() -> None:
    """Add one to x, more slowly than `slow`."""
    wait.override(task_id="total")(SLOWER_SECONDS)


@dag(schedule=None, **DAG)
def endless() -> None:
    """Add one to x, unless the run is ended first."""
    wait.override(task_id="total")(ENDLESS_SECONDS)


@dag(schedule=None, **DAG)
def asking() -> None:
    """Add one to x, if a person agrees."""
    ApprovalOperator(task_id="agree", subject="Add one to {{ params.x }}?", defaults="Reject") >> total()


@dag(schedule=None, **DAG)
def large() -> None:
    """Return about 1.5 MB of rows, numbered from 0."""

    @task
    def total() -> list[dict]:
        return [{"row": row, "x": x(), "text": "é" * 20} for row in range(ROWS)]

    total()


quick()
steps()
failing()
slow()
slower()
endless()
asking()
large()
