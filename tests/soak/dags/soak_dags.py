# ruff: noqa: INP001 - a file in a dags folder, not in a package
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""Dags for many calls: one computes, one fails, one has a large result, and one has runs that a test ends."""

from airflow.sdk import Param, dag, get_current_context, task

ROWS = 8000


@dag(schedule=None, max_active_runs=200, params={"x": Param(type="integer")})
def add() -> None:
    """Add one to x."""

    @task
    def total() -> int:
        return get_current_context()["params"]["x"] + 1

    total()


@dag(schedule=None, max_active_runs=200, params={"x": Param(type="integer")})
def broken() -> None:
    """Fail."""

    @task
    def total() -> int:
        raise ValueError(f"{get_current_context()['params']['x']} is no good")

    total()


@dag(schedule=None, max_active_runs=200, params={"x": Param(type="integer")})
def rows() -> None:
    """Return a few hundred kilobytes."""

    @task
    def total() -> list[dict[str, int]]:
        first = get_current_context()["params"]["x"]
        return [{"x": first, "number": number} for number in range(ROWS)]

    total()


@dag(schedule=None, max_active_runs=200, params={"x": Param(type="integer")})
def held() -> None:
    """Wait for a slot in a pool without slots."""

    @task(pool="closed")
    def total() -> None:
        """Never start."""

    total()


add()
broken()
rows()
held()
