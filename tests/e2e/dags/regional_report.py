# ruff: noqa: INP001 - a file for a dags folder, not of a package
# Airflow is not in the environment that checks this.
# mypy: ignore-errors
"""A dag that Airflow never gets to see: its file cannot be imported."""

from airflow.sdk import dag, task
from no_such_package import REGION


@dag(schedule=None, tags=["mcp"])
def regional_report() -> None:
    @task
    def report() -> str:
        return REGION

    report()


regional_report()
