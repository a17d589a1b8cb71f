"""The part of docs/proof.md about fuzzing."""

from typing import Any

from tests.proof.markdown import table

INTRODUCTION = """\
Each input is valid except for one to three changes: a part is missing, repeated, moved, or has another type. Airflow's
answers are changed on their way to dagcall, during calls that succeed, fail and ask a person. No input caused a crash,
a hang, an unexpected error, a second run, or a false success.

`tests/server/test_any_arguments.py` generates arguments from the tools' schemas, and
`tests/contract/test_any_arguments.py` sends them to real Airflows.
"""


def section(findings: dict[str, Any]) -> str:
    """Return how many inputs of each kind were tried."""
    rows = [(kind, f"{count:,}") for kind, count in findings["tried"].items()]
    return f"{INTRODUCTION}\n{table(('changed input', 'number'), rows)}"
