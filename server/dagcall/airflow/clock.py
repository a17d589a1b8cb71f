"""Airflow's clock, derived from the `Date` headers of its answers.

Times that are compared with Airflow's times (the end of a run, the expiry of a token), or that Airflow compares (a
logical date: tasks wait for one in the future), come from this clock, not from dagcall's own, which may be minutes
ahead or behind.

Every answer has a `Date`, in whole seconds and in the past. The clock keeps the latest time that the answers imply, so
that it is never ahead of Airflow's, and mostly less than a second behind.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

STALE_SECONDS = 2.5
"""How old a `Date` may be: it has whole seconds, and Airflow's server renews it about once a second."""
DRIFT = 0.001
"""How much slower than dagcall's clock Airflow's may run: older answers are discounted by this."""
TICK, AT_ONCE = timedelta(microseconds=1), timedelta(milliseconds=10)


class AirflowClock:
    """Returns the time by Airflow's clock; until the first answer, by dagcall's own.

    Args:
        own: the time in UTC by dagcall's clock.
        monotonic: seconds by a monotonic clock, the running loop's.
    """

    def __init__(self, *, own: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._own = own
        self._monotonic = monotonic
        self._date = ""
        """The last `Date`: most answers repeat it."""
        self._heard_at = 0.0
        self._offset: float | None = None
        """Airflow's clock, in seconds since 1970, less the monotonic clock."""
        self._last = datetime.min.replace(tzinfo=UTC)
        """The last time returned."""

    def hear(self, date: str, *, sent_at: float) -> None:
        """Process the `Date` of an answer.

        Args:
            date: the header's value; an invalid one is ignored.
            sent_at: when the request was sent, by the monotonic clock.
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
        """Return the time in UTC; never the same twice, because Airflow accepts a logical date once per dag."""
        if self._offset is None:
            return self._own()
        now = datetime.fromtimestamp(self._offset + self._monotonic(), UTC)
        if now <= self._last < now + AT_ONCE:
            now = self._last + TICK
        self._last = now
        return now

    def timestamp(self) -> float:
        """Return the time in seconds since 1970."""
        return self._own().timestamp() if self._offset is None else self._offset + self._monotonic()

    def seconds_since(self, moment: datetime) -> float:
        """Return the seconds since a moment, by Airflow's clock; 0 if unknown or in the future."""
        return 0.0 if self._offset is None else max(self.timestamp() - moment.timestamp(), 0.0)
