"""How much is tried: little in `make test`, much in `make fuzz`; and how much was."""

import os
from collections import Counter

from hypothesis import HealthCheck, settings

FACTOR = float(os.environ.get("FUZZ_FACTOR") or 1)  # noqa: TID251 - says how to test, not how to serve
counts = Counter[str]()
"""How many inputs of each kind were tried."""


def trying(count: int) -> settings:
    """Return how to try examples, where `make test` tries so many. What is found becomes a case, and not a file."""
    return settings(
        max_examples=max(1, round(count * FACTOR)),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def tried(kind: str) -> None:
    """Count one input."""
    counts[kind] += 1
