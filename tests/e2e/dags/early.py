# ruff: noqa: INP001 - a file in a dags folder, not in a package
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""Dags whose outcome is known long before their runs end: one task continues until a test stops it."""

import time
from pathlib import Path

from airflow.sdk import Param, dag, get_current_context, task

LONGEST_SECONDS = 120
PARAMS = {"go_on": Param(type="string", description="The file that lets the last task end.")}


@task
def answer() -> int:
    return 42


@task(retries=0)
def refuse() -> int:
    raise ValueError("there is no answer")


@task
def tidy() -> None:
    """Wait until the file exists."""
    file = Path(get_current_context()["params"]["go_on"])
    ends_at = time.monotonic() + LONGEST_SECONDS
    while not file.exists() and time.monotonic() < ends_at:
        time.sleep(0.1)


@dag(schedule=None, tags=["mcp"], params=PARAMS, description="Answer, and then tidy up for as long as it takes.")
def early_result() -> None:
    answer() >> tidy()


@dag(schedule=None, tags=["mcp"], params=PARAMS, description="Fail to answer, and tidy up meanwhile.")
def early_failure() -> None:
    refuse()
    tidy()


early_result()
early_failure()
