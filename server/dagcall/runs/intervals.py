"""How long until the next look at a run.

Pure: ages and intervals in seconds, no clock. The interval is a share of the run's age, so that the delay it adds stays
a small share of the run, whether that takes half a second or half a day, and a long run costs Airflow next to nothing.
"""

from typing import NamedTuple

SHARE_OF_AGE = 0.05
"""Of shared questions. On average half of it is added to a run: 2.5 %."""
STREAMED_SHARE = 0.025
"""Of streams, which are few, and answer the calls that somebody waits for alone."""
SHORTEST_SECONDS = 0.05
"""A one-task dag takes 0.4 to 0.5 s on a tuned Airflow; the mean delay added to it is half of this."""
LONGEST_SECONDS = 5.0
POLL_SHORTEST_SECONDS = 0.25
"""One query for all waiting runs takes Airflow 20 to 40 ms of CPU: at most a tenth of a core."""


class StreamPlan(NamedTuple):
    """How to watch one run for a while: with this interval, for so long; then ask anew, for the run is older."""

    interval_seconds: float
    lasts_seconds: float


def interval_seconds(age_seconds: float, *, shortest: float, share: float = SHARE_OF_AGE) -> float:
    """Return how long to wait before looking again at a run of this age."""
    return min(max(age_seconds * share, shortest), LONGEST_SECONDS)


def next_stream(age_seconds: float) -> StreamPlan:
    """Return how to stream the states of a run of this age.

    Airflow keeps the interval it was given when the stream was opened. The stream is opened anew when the interval
    would have doubled: seven times in the first two hundred seconds, and not again once it is the longest.
    """
    interval = interval_seconds(age_seconds, shortest=SHORTEST_SECONDS, share=STREAMED_SHARE)
    if interval >= LONGEST_SECONDS:
        return StreamPlan(LONGEST_SECONDS, 3600.0)
    return StreamPlan(interval, max(2 * interval / STREAMED_SHARE - age_seconds, interval))
