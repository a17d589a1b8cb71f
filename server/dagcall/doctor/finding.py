"""What a check has found, and what to do about it. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a check ended, from good to bad."""

    OK = "ok"
    SKIPPED = "skipped"
    """It does not apply, cannot be told, or needs another check that failed."""
    WARNING = "warning"
    """It works, but slowly, not for long, or not for everything."""
    FAILURE = "failure"
    """Calls fail, or will."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    status: Status
    found: str
    """What was found, as a clause."""
    advice: str = ""
    """What to do, as a sentence without a full stop; empty if there is nothing to do."""


def ok(found: str) -> Finding:
    """Return that all is well."""
    return Finding(Status.OK, found)


def skipped(reason: str, advice: str = "") -> Finding:
    """Return that nothing can be said."""
    return Finding(Status.SKIPPED, reason, advice)


def warning(found: str, advice: str) -> Finding:
    """Return something that may be better."""
    return Finding(Status.WARNING, found, advice)


def failure(found: str, advice: str = "") -> Finding:
    """Return something that has to be fixed. The advice may be empty if `found` says what to do."""
    return Finding(Status.FAILURE, found, advice)


def duration(seconds: float) -> str:
    """Return a duration for people: `14 ms`, `2.5 s`, `4 min`, `3 h`, `12 days`."""
    for limit, unit, size, digits in (
        (1, "ms", 0.001, 0),
        (10, "s", 1, 1),
        (120, "s", 1, 0),
        (7200, "min", 60, 0),
        (172_800, "h", 3600, 0),
    ):
        if seconds < limit:
            return f"{seconds / size:.{digits}f} {unit}".replace(".0 ", " ")
    return f"{seconds / 86_400:.0f} days"


def listed(names: list[str], most: int = 5) -> str:
    """Return some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
