"""The findings of the last chaos run as a part of docs/proof.md."""

from collections.abc import Mapping
from typing import Any

from tests.proof.markdown import table

VERDICTS = {
    "lost": "calls whose caller never got their outcome",
    "doubled": "more than one run for a call",
    "wrong": "answers that differ from Airflow's own records, and a false “Nothing was started”",
    "unexplained": "runs without a call, strange errors, attempts that never ended, tracebacks",
}


def section(findings: Mapping[str, Any]) -> str:
    """Return the section as Markdown."""
    story = (
        f"{findings['callers']} MCP clients called {findings['replicas']} servers for {findings['seconds']:.0f} s "
        "while every part between them and Airflow's database failed at times. They gave up calls in different ways, "
        "repeated them on the other server, cancelled, and answered questions. At the end all faults stopped, every "
        "caller came back, and every call was compared with every run in Airflow. "
        f"`make chaos SEED={findings['seed']} SECONDS={findings['seconds']:.0f}` repeats the schedule."
    )
    numbers = (
        f"{findings['calls']} calls ({findings['calls_with_a_key']} with an idempotency key) in "
        f"{findings['attempts']} attempts, {findings['runs']} runs ({_listed(findings['runs_by_state'])}). "
        f"Attempts by how the caller ended them: {_listed(findings['attempts_by_way'])}. "
        f"Answers: {_listed(findings['told'])}."
    )
    verdicts = table(
        ["", "found", "what is counted"], [[name, findings[name], what] for name, what in VERDICTS.items()]
    )
    faults = table(["fault", "times"], list(findings["faults"].items()))
    return "\n\n".join([story, verdicts, numbers, _excuses(findings), faults])


def _excuses(findings: Mapping[str, Any]) -> str:
    stuck = f"Runs that Airflow itself lost and that were set to failed: {findings['runs_that_airflow_lost']}."
    if not findings["excused"]:
        return f"Nothing had to be excused. {stuck}"
    return f"Additional runs, as documented: {_listed(findings['excused'])}. {stuck}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
