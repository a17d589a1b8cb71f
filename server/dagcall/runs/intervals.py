"""Poll intervals for runs.

Pure: ages and intervals in seconds, no clock. The interval is a share of the run's age. So polling delays a run by a
small share of its duration, whether that is half a second or half a day, and a long run costs Airflow next to nothing.
"""

from typing import NamedTuple

SHARE_OF_AGE = 0.05
"""For the shared poll. The mean delay is half of it: 2.5 % of a run."""
STREAMED_SHARE = 0.025
"""For streams: they are few, and serve calls while only a few wait."""
SHORTEST_SECONDS = 0.05
"""A one-task dag takes 0.4 to 0.5 s on a tuned Airflow; the mean delay is half of this."""
LONE_SHARE, LONE_SHORTEST_SECONDS = 0.0125, 0.025
"""For a stream while dagcall waits for no other run, and so asks Airflow for little else."""
LONGEST_SECONDS = 5.0
POLL_SHORTEST_SECONDS = 0.25
"""One query for all waiting runs costs Airflow 20 to 40 ms of CPU: at this interval, less than a fifth of a core."""


class StreamPlan(NamedTuple):
    """How to stream one run's states: the interval, and when to open a new stream because the run is older."""

    interval_seconds: float
    lasts_seconds: float


def interval_seconds(age_seconds: float, *, shortest: float, share: float = SHARE_OF_AGE) -> float:
    """Return the pause before the next poll of a run of this age."""
    return min(max(age_seconds * share, shortest), LONGEST_SECONDS)


def next_stream(age_seconds: float, *, is_alone: bool) -> StreamPlan:
    """Return how to stream the states of a run of this age.

    A stream's interval is fixed when it is opened. A new stream is opened when the interval would have doubled: seven
    or eight times until the interval is the longest, and not again then.

    Args:
        age_seconds: the run's age.
        is_alone: whether no other run is waited for.
    """
    share, shortest = (LONE_SHARE, LONE_SHORTEST_SECONDS) if is_alone else (STREAMED_SHARE, SHORTEST_SECONDS)
    interval = interval_seconds(age_seconds, shortest=shortest, share=share)
    if interval >= LONGEST_SECONDS:
        return StreamPlan(LONGEST_SECONDS, 3600.0)
    return StreamPlan(interval, max(2 * interval / share - age_seconds, interval))
