# ruff: noqa: INP001 - a file for a dags folder, not of a package
# Airflow is not in the environment that checks this.
# mypy: ignore-errors
"""A dag of a user's own: one task, and an answer that everybody can check."""

import math

from airflow.sdk import Param, dag, get_current_context, task


@task
def compute() -> str:
    """Answer as text: JSON readers lose digits of numbers this large."""
    return str(math.factorial(get_current_context()["params"]["n"]))


@dag(
    schedule=None,
    tags=["mcp"],
    description="Compute n!, the product of the whole numbers from 1 to n.",
    params={"n": Param(type="integer", minimum=0, maximum=1000, description="The last factor.", examples=[5])},
)
def factorial() -> None:
    """One task."""
    compute()


factorial()
