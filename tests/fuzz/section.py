"""The fuzzing's part of docs/proof.md."""

from typing import Any

from tests.proof.markdown import table

INTRODUCTION = """\
Each input is right but for one to three changes: something in it is gone, twice there, of another type, or in another
place. Airflow's answers are changed on their way to dagcall, under calls that succeed, fail and ask a person. No input
led to a crash, a hang, an error that nobody had thought of, a second run, or a success that was none.

Arguments are made up from the tools' own schemas in `tests/server/test_any_arguments.py`, and sent to real Airflows in
`tests/contract/test_any_arguments.py`.
"""


def section(findings: dict[str, Any]) -> str:
    """Return how many inputs of each kind were tried."""
    rows = [(kind, f"{count:,}") for kind, count in findings["tried"].items()]
    return f"{INTRODUCTION}\n{table(('what is changed', 'inputs'), rows)}"
