"""How often the dags are listed, and how many of them are reread each time. Pure.

An idle catalog should cost Airflow little, however large it is. A small one is read as often as the operator asks.
"""

import math
from dataclasses import dataclass

SMALL = 50
"""Up to this many dags, each one that may have changed is reread at each refresh."""
REQUESTS_A_DAG = 2
"""The maximum: its details, and its tasks."""
REQUESTS_A_MINUTE = 20
"""The maximum for a larger catalog in which nothing changes."""
LISTINGS_A_MINUTE = 10
"""The share of these requests that lists the dags. The others reread dags, the longest unread first."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What one refresh may do, and how long the next one waits."""

    pause_seconds: float
    rereads: int
    """How many requests may reread dags that only may have changed."""

    def seconds_for(self, requests: int) -> float:
        """Return how long so many rereads take."""
        return math.ceil(requests / self.rereads) * self.pause_seconds


def pace_of(dags: int, listing_requests: int, every_seconds: float) -> Pace:
    """Return the pace of a catalog.

    Args:
        dags: how many dags the allow-list selects.
        listing_requests: how many requests it takes to see which dags there are, and which have a new version.
        every_seconds: the operator's `refresh_seconds`.
    """
    if dags <= SMALL:
        return Pace(every_seconds, dags * REQUESTS_A_DAG)
    pause_seconds = max(every_seconds, listing_requests * 60 / LISTINGS_A_MINUTE)
    return Pace(pause_seconds, int(pause_seconds / 60 * REQUESTS_A_MINUTE) - listing_requests)
