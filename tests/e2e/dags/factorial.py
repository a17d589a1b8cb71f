# ruff: noqa: INP001 - a file in a dags folder, not in a package
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""A user's dag: one task with an easily checked result."""

import math

from airflow.sdk import Param, dag, get_current_context, task


@task
def compute() -> str:
    """Return text, because JSON parsers lose digits of numbers this large."""
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
