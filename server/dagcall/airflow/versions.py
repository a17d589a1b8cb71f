"""Differences between Airflow versions that dagcall needs to know."""

import re
from collections.abc import Iterable

OLDEST = (3, 1)
NEWEST_TESTED = (3, 3)
RESULTS_THROUGH_WAIT = (3, 3)
"""From this version on, `/wait` returns results in map-index order and does not leak connections."""
AWAITING_INPUT = (3, 3)
"""From this version on, a task that waits for a person has its own state; before, it is `deferred`."""
BULK_RUNS = (3, 3)
"""From this version on, one request can change several runs."""


def version_in(text: str) -> tuple[int, ...]:
    """Return a version as numbers: `3.3.2rc1` as `(3, 3, 2)`."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def known_states(version: tuple[int, ...], states: Iterable[str]) -> tuple[str, ...]:
    """Return the task states that a version knows, sorted; a request for an unknown state is refused."""
    return tuple(sorted(state for state in states if state != "awaiting_input" or version >= AWAITING_INPUT))
