# ruff: noqa: INP001 - a file in a dags folder, not in a package
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""Dags that compute x + 1: at once, after some seconds, after more than a minute, and when a test ends them."""

import time
from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task

INTEGER = {"x": Param(type="integer")}
SOME_SECONDS = 5
MORE_THAN_A_MINUTE = 70


def after(seconds: int) -> int:
    """Return x + 1 after some seconds."""
    time.sleep(seconds)
    return get_current_context()["params"]["x"] + 1


@dag(schedule=None, max_active_runs=200, params=INTEGER)
def add() -> None:
    """Add one to x; retry if Airflow itself fails."""

    @task(retries=3, retry_delay=timedelta(seconds=1))
    def total() -> int:
        return after(0)

    total()


@dag(schedule=None, max_active_runs=200, params=INTEGER)
def slow() -> None:
    """Add one to x, slowly."""

    @task
    def total() -> int:
        return after(SOME_SECONDS)

    total()


@dag(schedule=None, max_active_runs=200, params=INTEGER)
def slow_with_a_retry() -> None:
    """Add one to x, slowly; retry once."""

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def total() -> int:
        return after(SOME_SECONDS)

    total()


@dag(schedule=None, max_active_runs=200, params=INTEGER)
def minute() -> None:
    """Add one to x in more than a minute."""

    @task
    def total() -> int:
        return after(MORE_THAN_A_MINUTE)

    total()


@dag(schedule=None, max_active_runs=200, params=INTEGER)
def held() -> None:
    """Wait for a slot in a pool without slots."""

    @task(pool="closed")
    def total() -> None:
        """Never start."""

    total()


add()
slow()
slow_with_a_retry()
minute()
held()
