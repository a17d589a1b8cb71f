# ruff: noqa: INP001 - a file in a dags folder, not in a package
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""A dag that Airflow does not know, because its file cannot be imported."""

from airflow.sdk import dag, task
from no_such_package import REGION


@dag(schedule=None, tags=["mcp"])
def regional_report() -> None:
    @task
    def report() -> str:
        return REGION

    report()


regional_report()
