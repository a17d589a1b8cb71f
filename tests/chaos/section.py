"""What the last chaos came to, in words."""

from collections.abc import Mapping
from typing import Any

from tests.proof.markdown import table

VERDICTS = {
    "lost": "calls whose caller was never told what came of them",
    "doubled": "runs beyond one for each call",
    "wrong": "answers that Airflow's own records do not confirm, and a false “Nothing was started”",
    "unexplained": "runs that nobody called for, strange errors, attempts that never ended, tracebacks",
}


def section(findings: Mapping[str, Any]) -> str:
    """Return the section as Markdown."""
    story = (
        f"{findings['callers']} MCP clients called {findings['replicas']} servers for {findings['seconds']:.0f} s "
        "while everything between them and Airflow's database went wrong. They left calls in every way there is, "
        "made them again on the other server, cancelled, and answered questions. At the end all was made well, "
        "everybody came back, and every call was compared with every run in Airflow. "
        f"`make chaos SEED={findings['seed']} SECONDS={findings['seconds']:.0f}` carries out the same schedule."
    )
    numbers = (
        f"{findings['calls']} calls ({findings['calls_with_a_key']} with an idempotency key) in "
        f"{findings['attempts']} attempts, {findings['runs']} runs ({_listed(findings['runs_by_state'])}). "
        f"Attempts by how they ended on the caller's side: {_listed(findings['attempts_by_way'])}. "
        f"What was told: {_listed(findings['told'])}."
    )
    verdicts = table(
        ["", "found", "what is counted"], [[name, findings[name], what] for name, what in VERDICTS.items()]
    )
    faults = table(["fault", "times"], list(findings["faults"].items()))
    return "\n\n".join([story, verdicts, numbers, _excuses(findings), faults])


def _excuses(findings: Mapping[str, Any]) -> str:
    stuck = f"Runs that Airflow itself lost, and that were ended by hand: {findings['runs_that_airflow_lost']}."
    if not findings["excused"]:
        return f"Nothing had to be excused. {stuck}"
    return f"Runs more than calls, as documented: {_listed(findings['excused'])}. {stuck}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
