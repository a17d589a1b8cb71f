# ruff: noqa: INP001 - a file for a dags folder, not of a package
# Airflow is not in the environment that checks this.
# mypy: ignore-errors
"""Two dags: one that computes, and one whose runs go on until a test ends them."""

from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task


@dag(schedule=None, max_active_runs=200, params={"x": Param(type="integer")})
def add() -> None:
    """Add one to x, on another try where Airflow itself broke down."""

    @task(retries=3, retry_delay=timedelta(seconds=1))
    def total() -> int:
        return get_current_context()["params"]["x"] + 1

    total()


@dag(schedule=None, max_active_runs=200, params={"x": Param(type="integer")})
def held() -> None:
    """Wait for a place in a pool that has none."""

    @task(pool="closed")
    def total() -> None:
        """Never begin."""

    total()


add()
held()
