"""The findings of a full run, as JSON for `docs/proof/conformance.json`."""

import json
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from dagcall.demo.installation import AIRFLOW_VERSION
from tests.conformance.expected import Expected, read
from tests.conformance.probes import PROBES
from tests.conformance.suite import PACKAGE, PARTS, PATIENCE, PROJECT, Check
from tests.proof import record
from tests.support.node import NODE

WORDS = {"SUCCESS": "passed", "FAILURE": "failed as expected", "WARNING": "warned as expected", "SKIPPED": "skipped"}


class Findings:
    """Collects the results of a run, and stores them if the run was complete and as expected."""

    def __init__(self) -> None:
        self.parts: dict[str, Sequence[Check]] = {}
        """The results of each part that went as expected, by its name."""
        self.probes: dict[str, str] = {}
        """The summary of each probe that found no fault, by its name."""
        self._began = time.monotonic()

    def keep(self) -> None:
        """Store the findings if the run was complete."""
        is_whole = self.parts.keys() == {part.name for part in PARTS}
        if is_whole and self.probes.keys() == {probe.name for probe in PROBES}:
            findings = as_json(self.parts, read()) | {"probes": probes_as_json(self.probes)}
            record.write("conformance", findings, seconds=time.monotonic() - self._began)


def as_json(parts: Mapping[str, Sequence[Check]], expected: Sequence[Expected]) -> dict[str, Any]:
    """Return the findings of a run that went as expected."""
    locked = json.loads((PROJECT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    return {
        "versions": {
            PACKAGE: locked[f"node_modules/{PACKAGE}"]["version"],
            "Node": NODE.stem.rpartition("-")[2],
            "Airflow": AIRFLOW_VERSION,
            "dagcall": version("dagcall"),
        },
        "patience": PATIENCE,
        "parts": [
            {
                "name": part.name.removesuffix(" on stdio"),
                "transport": part.transport,
                "scenarios": len({check.name.partition(":")[0] for check in parts[part.name]}),
                **counts(parts[part.name]),
            }
            for part in PARTS
        ],
        "expected": [entry._asdict() for entry in expected],
    }


def probes_as_json(said: Mapping[str, str]) -> list[dict[str, str]]:
    """Return what each probe checks, and its summary."""
    return [{"name": probe.name, "looks at": probe.looks_at, "said": said[probe.name]} for probe in PROBES]


def counts(checks: Sequence[Check]) -> Mapping[str, int]:
    """Return the number of checks per status."""
    return {status: sum(check.status == status for check in checks) for status in WORDS}


def in_words(counted: Mapping[str, int]) -> str:
    """Return counts as a phrase."""
    return ", ".join(f"{counted[status]} {word}" for status, word in WORDS.items())
