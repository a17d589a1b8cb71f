"""What Airflow has from which version on, as far as dagcall has to know."""

import re
from collections.abc import Iterable

OLDEST = (3, 1)
RESULTS_THROUGH_WAIT = (3, 3)
"""From here on `/wait` returns results in map-index order and leaks nothing."""
AWAITING_INPUT = (3, 3)
"""From here on a task that waits for a person has a state of its own; before, it is `deferred`."""
BULK_RUNS = (3, 3)
"""From here on several runs can be changed with one request."""


def version_in(text: str) -> tuple[int, ...]:
    """Return a version as numbers: `3.3.2rc1` as `(3, 3, 2)`."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def known_states(version: tuple[int, ...], states: Iterable[str]) -> tuple[str, ...]:
    """Return those of a task's states that a version can be asked for, sorted; it refuses to be asked for another."""
    return tuple(sorted(state for state in states if state != "awaiting_input" or version >= AWAITING_INPUT))
