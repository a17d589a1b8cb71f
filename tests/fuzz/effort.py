"""The number of inputs: few in `make test`, many in `make fuzz`; and the count of those tried."""

import os
from collections import Counter

from hypothesis import HealthCheck, settings

FACTOR = float(os.environ.get("FUZZ_FACTOR") or 1)  # noqa: TID251 - configures the test, not dagcall
counts = Counter[str]()
"""How many inputs of each kind were tried."""


def trying(count: int) -> settings:
    """Return settings for `count` examples in `make test`. Failures become test cases, not database entries."""
    return settings(
        max_examples=max(1, round(count * FACTOR)),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def tried(kind: str) -> None:
    """Count one input."""
    counts[kind] += 1
