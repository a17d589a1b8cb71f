"""The part of docs/proof.md about older versions of Airflow."""

from typing import Any

from tests.proof.markdown import table

INTRODUCTION = """\
The core of the end-to-end suite, unchanged, on the demo with another Airflow: every example dag over every connection,
20 calls at once, failures, results of every type, arguments of every type, results of several MB, and questions to
people. `make test` runs the same on Airflow 3.3.2.
"""


def section(findings: dict[str, Any]) -> str:
    """Return how many tests passed on each version."""
    rows = [(f"Airflow {version}", f"{count:,}") for version, count in findings["passed"].items()]
    return f"{INTRODUCTION}\n{table(('version', 'tests passed'), rows)}"
