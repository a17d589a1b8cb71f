"""Runs the official conformance suite of MCP part by part and reads its results."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from tests.support.node import NodeProject

PROJECT = Path(__file__).parent / "conformance_suite"
PACKAGE = "@modelcontextprotocol/conformance"
PATIENCE = 30
"""By which factor the suite's timeouts are extended; see `patience.mjs`."""
PART_SECONDS = 1800.0

Status = Literal["FAILURE", "WARNING", "SUCCESS", "SKIPPED", "INFO"]
FROM_WORST: Sequence[Status] = ("FAILURE", "WARNING", "SUCCESS", "SKIPPED", "INFO")

TASKS = (
    *("tasks-lifecycle", "tasks-capability-negotiation", "tasks-wire-fields", "tasks-request-state-removal"),
    *("tasks-mrtr-input", "tasks-request-headers", "tasks-dispatch-and-envelope", "tasks-required-task-error"),
    *("tasks-mrtr-composition",),
)
"""All except `tasks-status-notifications`, which the suite itself skips."""
OVER_STDIO = (
    *("server-initialize", "ping", "tools-list", "tools-call-simple-text", "tools-call-error"),
    *("tools-call-with-progress", "resources-list", "tools-call-elicitation"),
)
"""The scenarios that are not about HTTP."""

SINCE_2025_11_25 = ("json-schema-2020-12", "elicitation-sep1034-defaults", "elicitation-sep1330-enums")


class Part(NamedTuple):
    """One part of a run."""

    name: str
    transport: Literal["HTTP", "stdio"]
    revision: str | None
    """The protocol revision; None lets the suite choose, which extensions require."""
    scenarios: tuple[str, ...] = ()
    """Empty for all scenarios that the suite has for this revision."""


PARTS = (
    Part("2025-03-26", "HTTP", "2025-03-26"),
    Part("2025-06-18", "HTTP", "2025-06-18"),
    Part("2025-11-25", "HTTP", "2025-11-25"),
    Part("2026-07-28", "HTTP", "2026-07-28"),
    Part("tasks extension", "HTTP", None, TASKS),
    Part("2025-06-18 on stdio", "stdio", "2025-06-18", OVER_STDIO),
    Part("2025-11-25 on stdio", "stdio", "2025-11-25", (*OVER_STDIO, *SINCE_2025_11_25)),
)
SHORT = (
    Part(
        "2025-11-25",
        "HTTP",
        "2025-11-25",
        (
            *("server-initialize", "tools-list", "tools-call-simple-text", "tools-call-error"),
            *("tools-call-with-progress", "dns-rebinding-protection"),
        ),
    ),
    Part(
        "2026-07-28",
        "HTTP",
        "2026-07-28",
        (
            *("tools-list", "tools-call-simple-text", "tools-call-error", "caching", "http-header-validation"),
            *("input-required-result-request-state", "input-required-result-tampered-state"),
        ),
    ),
    Part("tasks extension", "HTTP", None, ("tasks-capability-negotiation", "tasks-mrtr-input")),
    Part("2025-11-25 on stdio", "stdio", "2025-11-25", ("elicitation-sep1034-defaults",)),
)
"""The most important scenarios of each era, in about a minute."""


@dataclass(frozen=True)
class Check:
    """The suite's result for one check; the worst one if it is repeated."""

    name: str
    """`scenario:check`."""
    status: Status
    message: str


def run_part(project: NodeProject, part: Part, *, url: str, folder: Path) -> list[Check]:
    """Run a part of the suite.

    Args:
        project: the suite.
        part: the part to run.
        url: the server's URL.
        folder: an empty folder for the suite's output.
    """
    version = ["--spec-version", part.revision] if part.revision else []
    each = [["--scenario", scenario] for scenario in part.scenarios] or [["--suite", "all"]]
    environ = project.environ(
        PATIENCE=str(PATIENCE), NODE_OPTIONS=f"--import={(project.folder / 'patience.mjs').as_uri()}"
    )
    said = ""
    for words in each:
        ended = project.run(
            "conformance",
            *("server", "--url", url, "--output-dir", str(folder), *words, *version),
            environ=environ,
            seconds=PART_SECONDS,
        )
        said += ended.stdout + ended.stderr
    checks = read_checks(folder)
    seen = {check.name.partition(":")[0] for check in checks}
    assert checks, said
    assert seen >= set(part.scenarios), f"{set(part.scenarios) - seen} said nothing:\n{said}"
    return checks


def read_checks(folder: Path) -> list[Check]:
    """Read the suite's output, sorted by name."""
    worst: dict[str, Check] = {}
    for path in folder.glob("*/checks.json"):
        scenario = re.sub(r"^server-|-\d{4}-\d\d-\d\dT[\dZ-]+$", "", path.parent.name)
        for found in json.loads(path.read_text(encoding="utf-8")):
            check = Check(f"{scenario}:{found['id']}", found["status"], _one_line(found.get("errorMessage")))
            known = worst.setdefault(check.name, check)
            if FROM_WORST.index(check.status) < FROM_WORST.index(known.status):
                worst[check.name] = check
    return [worst[name] for name in sorted(worst)]


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())[:300]
