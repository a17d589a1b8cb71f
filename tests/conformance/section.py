"""What the conformance suite found, as a part of `docs/proof.md`."""

from typing import Any

from tests.conformance.findings import WORDS
from tests.proof.markdown import table

INTRODUCTION = """\
The official conformance suite of MCP calls `dagcall serve`, which serves a real Airflow. The suite says which tools it
needs and how each behaves; wherever a dag can be such a tool, a dag is one
(`tests/conformance/dags`). A run of a dag takes seconds, so the suite's own windows, which are no part of the
specification, are {patience} times as long. The suite speaks HTTP; on stdio a bridge passes its messages on.

{versions}.
"""
PROBES = """\
Other people's probes of MCP servers, on the same Airflow:"""
EXPECTED = """\
What does not pass, and why. A check that fails without being in this list fails the run, and so does one that is in it
and passes."""


def section(findings: dict[str, Any]) -> str:
    """Return the findings in Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in findings["versions"].items())
    parts = table(
        ["revision", "transport", "scenarios", *WORDS.values()],
        [
            [part["name"], part["transport"], part["scenarios"], *(part[status] for status in WORDS)]
            for part in findings["parts"]
        ],
    )
    expected = table(
        ["why not", "revision", "checks"],
        [
            [entry["reason"], ", ".join(entry["parts"]), ", ".join(f"`{_short(check)}`" for check in entry["checks"])]
            for entry in findings["expected"]
        ],
    )
    probes = table(
        ["probe", "looks at", "said"],
        [[" ".join(probe["name"].rsplit("-", 1)), probe["looks at"], probe["said"]] for probe in findings["probes"]],
    )
    introduction = INTRODUCTION.format(patience=findings["patience"], versions=versions).strip()
    return f"{introduction}\n\n{parts}\n\n{EXPECTED}\n\n{expected}\n\n{PROBES}\n\n{probes}"


def _short(check: str) -> str:
    """Return the name of a check without its scenario where both have the same."""
    scenario, _, name = check.partition(":")
    return scenario if scenario == name else check
