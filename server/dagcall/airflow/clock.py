"""Airflow's clock, as its answers tell it.

Whatever is compared with a time that Airflow has written (the end of a run, the expiry of a token), or is written for
Airflow to compare (a logical date: tasks of one in the future wait for it), is taken from this clock and not from
dagcall's own, which may be minutes ahead or behind.

Every answer bears a `Date`, in whole seconds and of the past. The latest of what the answers imply is kept, so that the
clock is never ahead of Airflow's, and mostly less than a second behind.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

STALE_SECONDS = 2.5
"""How far behind a `Date` may be: whole seconds, and renewed about once a second by Airflow's server."""
DRIFT = 0.001
"""How much slower than dagcall's Airflow's clock may run: so much is an older answer discounted."""
TICK, AT_ONCE = timedelta(microseconds=1), timedelta(milliseconds=10)


class AirflowClock:
    """Tells the time by Airflow's clock; by dagcall's own until an answer has told it.

    Args:
        own: the time in UTC by dagcall's clock.
        monotonic: seconds by a clock that nobody sets, the running loop's.
    """

    def __init__(self, *, own: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._own = own
        self._monotonic = monotonic
        self._date = ""
        """The last `Date`: most answers bear it again."""
        self._heard_at = 0.0
        self._offset: float | None = None
        """Airflow's clock, in seconds since 1970, less the monotonic clock."""
        self._told = datetime.min.replace(tzinfo=UTC)
        """What was told last."""

    def hear(self, date: str, *, sent_at: float) -> None:
        """Take note of an answer.

        Args:
            date: its `Date`, as it stands in the header; one that is none is passed over.
            sent_at: when its request was sent, by the monotonic clock.
        """
        now = self._monotonic()
        if date == self._date and now - self._heard_at < STALE_SECONDS:
            return
        try:
            seconds = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        offset = seconds - now
        if self._offset is not None and self._offset <= seconds + STALE_SECONDS - sent_at:  # else it was set back
            offset = max(offset, self._offset - DRIFT * (now - self._heard_at))
        self._date, self._heard_at, self._offset = date, now, offset

    def now(self) -> datetime:
        """Return the time in UTC; never twice the same, for Airflow takes a logical date once per dag."""
        if self._offset is None:
            return self._own()
        now = datetime.fromtimestamp(self._offset + self._monotonic(), UTC)
        if now <= self._told < now + AT_ONCE:
            now = self._told + TICK
        self._told = now
        return now

    def timestamp(self) -> float:
        """Return the time in seconds since 1970."""
        return self._own().timestamp() if self._offset is None else self._offset + self._monotonic()

    def seconds_since(self, moment: datetime) -> float:
        """Return how long ago something was, by Airflow's clock; 0 where that is not known, or is still to come."""
        return 0.0 if self._offset is None else max(self.timestamp() - moment.timestamp(), 0.0)
