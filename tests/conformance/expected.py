"""The checks of the suite that dagcall does not pass, with reasons: `expected_failures.toml`."""

import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from tests.conformance.suite import Check, Status

FILE = Path(__file__).parent / "expected_failures.toml"
KINDS: Mapping[Literal["failures", "warnings"], Status] = {"failures": "FAILURE", "warnings": "WARNING"}

Found = Mapping[str, Sequence[Check]]
"""The results of each part of a run, by the part's name."""


class Expected(NamedTuple):
    """Checks that fail for the same reason."""

    status: Status
    reason: str
    parts: tuple[str, ...]
    """The parts of a run to which the entry applies."""
    checks: tuple[str, ...]
    """As `scenario:check`."""


def read(path: Path = FILE) -> list[Expected]:
    """Read the file."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Expected(status, " ".join(entry["reason"].split()), tuple(entry["in"]), tuple(entry["checks"]))
        for kind, status in KINDS.items()
        for entry in tables.get(kind, [])
    ]


def differences(found: Found, expected: Sequence[Expected], *, scenarios: Collection[str] | None = None) -> list[str]:
    """Return one sentence for each check whose result differs from the expected one.

    Args:
        found: the results of the run.
        expected: the expected failures.
        scenarios: the scenarios that were run; None for all.
    """
    return [sentence for part, checks in found.items() for sentence in _of_part(part, checks, expected, scenarios)]


def _of_part(
    part: str, checks: Sequence[Check], expected: Sequence[Expected], scenarios: Collection[str] | None
) -> Iterator[str]:
    wanted = {
        name: entry.status
        for entry in expected
        if part in entry.parts
        for name in entry.checks
        if scenarios is None or name.partition(":")[0] in scenarios
    }
    for check in checks:
        status = wanted.pop(check.name, None)
        if check.status in KINDS.values() and status != check.status:
            yield f"{part}: {check.name} is a {check.status}, which is not expected: {check.message}"
        elif status and check.status != status:
            yield f"{part}: {check.name} is a {check.status} now: remove it from {FILE.name}"
    for name in wanted:
        yield f"{part}: {name} was not checked: remove it from {FILE.name}"
