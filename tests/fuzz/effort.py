"""How much is tried: little in `make test`, much in `make fuzz`; and how much was."""

import os
from collections import Counter

FACTOR = float(os.environ.get("FUZZ_FACTOR") or 1)  # noqa: TID251 - says how to test, not how to serve
counts = Counter[str]()
"""How many inputs of each kind were tried."""


def examples(count: int) -> int:
    """Return how many examples to try, where `make test` tries so many."""
    return max(1, round(count * FACTOR))


def tried(kind: str) -> None:
    """Count one input."""
    counts[kind] += 1
