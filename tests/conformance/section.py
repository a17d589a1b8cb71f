"""The findings of the conformance suite, as a part of `docs/proof.md`."""

from typing import Any

from tests.conformance.findings import WORDS
from tests.proof.markdown import table

INTRODUCTION = """\
The official conformance suite of MCP calls `dagcall serve`, which serves a real Airflow. The suite specifies the tools
it needs; where possible, a dag implements the tool (`tests/conformance/dags`). A dag run takes seconds, so the suite's
timeouts, which are not part of the specification, are {patience} times as long. The suite uses HTTP; for stdio, a
bridge forwards its messages.

{versions}.
"""
PROBES = """\
Third-party probes for MCP servers, on the same Airflow:"""
EXPECTED = """\
The checks that do not pass, with reasons. A run fails if a check fails that is not in this list, or if a check in this
list passes."""


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
        ["reason", "revision", "checks"],
        [
            [entry["reason"], ", ".join(entry["parts"]), ", ".join(f"`{_short(check)}`" for check in entry["checks"])]
            for entry in findings["expected"]
        ],
    )
    probes = table(
        ["probe", "checks", "result"],
        [[" ".join(probe["name"].rsplit("-", 1)), probe["looks at"], probe["said"]] for probe in findings["probes"]],
    )
    introduction = INTRODUCTION.format(patience=findings["patience"], versions=versions).strip()
    return f"{introduction}\n\n{parts}\n\n{EXPECTED}\n\n{expected}\n\n{PROBES}\n\n{probes}"


def _short(check: str) -> str:
    """Return the name of a check, without its scenario if both are the same."""
    scenario, _, name = check.partition(":")
    return scenario if scenario == name else check
