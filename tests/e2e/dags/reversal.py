# ruff: noqa: INP001 - a file in a dags folder, not in a package
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""A dag that a test adds while clients are connected."""

from airflow.sdk import Param, dag, get_current_context, task


@task
def reverse() -> str:
    """Reverse the text."""
    return get_current_context()["params"]["text"][::-1]


@dag(schedule=None, tags=["mcp"], description="Turn a text round.", params={"text": Param(type="string")})
def reversal() -> None:
    """One task."""
    reverse()


reversal()
