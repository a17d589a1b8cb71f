# ruff: noqa: INP001 - a file for a dags folder, not of a package
# Airflow is not in the environment that checks this.
# mypy: ignore-errors
"""A dag that somebody adds while clients are connected."""

from airflow.sdk import Param, dag, get_current_context, task


@task
def reverse() -> str:
    """Turn the text round."""
    return get_current_context()["params"]["text"][::-1]


@dag(schedule=None, tags=["mcp"], description="Turn a text round.", params={"text": Param(type="string")})
def reversal() -> None:
    """One task."""
    reverse()


reversal()
