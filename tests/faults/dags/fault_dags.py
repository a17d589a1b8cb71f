# ruff: noqa: INP001 - a file in a dags folder, not in a package
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""Two dags: one that computes, and one whose runs continue until a test ends them."""

from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task


@dag(schedule=None, max_active_runs=200, params={"x": Param(type="integer")})
def add() -> None:
    """Add one to x; retry if Airflow itself fails."""

    @task(retries=3, retry_delay=timedelta(seconds=1))
    def total() -> int:
        return get_current_context()["params"]["x"] + 1

    total()


@dag(schedule=None, max_active_runs=200, params={"x": Param(type="integer")})
def held() -> None:
    """Wait for a slot in a pool without slots."""

    @task(pool="closed")
    def total() -> None:
        """Never start."""

    total()


add()
held()
