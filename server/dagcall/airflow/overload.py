"""Overload protection: an adaptive limit, a circuit breaker, and a retry budget.

Pure: every method takes the time, in seconds of any one clock. The numbers follow measurements of a stock Airflow
3.3.2: with 30 to 40 concurrent requests, it stops answering for a minute.
"""

from dataclasses import dataclass

HALVE_AT_MOST_EVERY_SECONDS = 1.0
"""Requests that fail together have one cause, which counts once."""
RAISE_EVERY_SECONDS = 10.0

FAILURES_TO_OPEN = 5
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 30.0

RETRY_SHARE = 0.1
"""Retries may be this share of all requests, …"""
RETRY_RESERVE = 10.0
"""… plus a reserve for a quiet process."""


@dataclass(slots=True)
class Limit:
    """Maximum requests in flight: halved on overload, raised by one after a time without."""

    ceiling: int
    current: int = 0
    _changed: float = float("-inf")

    def __post_init__(self) -> None:
        self.current = self.current or self.ceiling

    def trouble(self, now: float) -> None:
        """Record a time-out, a 5xx or a 429."""
        if now - self._changed >= HALVE_AT_MOST_EVERY_SECONDS:
            self.current = max(self.current // 2, 1)
            self._changed = now

    def success(self, now: float) -> None:
        """Record an answer."""
        if self.current < self.ceiling and now - self._changed >= RAISE_EVERY_SECONDS:
            self.current += 1
            self._changed = now


@dataclass(slots=True)
class Breaker:
    """Closed while Airflow answers. Several failures in a row open it; then a single request may try at times."""

    _failures: int = 0
    _pause_seconds: float = FIRST_PAUSE_SECONDS
    _closed_again_at: float | None = None
    """When the next request may try; None while closed."""
    _failing_since: float = 0.0
    _is_tried: bool = False
    """Whether a trial request is in flight."""

    @property
    def is_open(self) -> bool:
        """Whether Airflow counts as unavailable."""
        return self._closed_again_at is not None

    def allows(self, now: float) -> bool:
        """Return whether a request may be sent; while open, one may after each pause."""
        if self._closed_again_at is None:
            return True
        if now < self._closed_again_at:
            return False
        self._closed_again_at = now + self._pause_seconds  # this request tries; the others wait for its outcome
        self._is_tried = True
        return True

    def success(self) -> None:
        """Record an answer of any kind."""
        self._failures = 0
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._closed_again_at = None
        self._is_tried = False

    def failure(self, now: float) -> None:
        """Record that there was no answer, or one that only says that Airflow cannot answer."""
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        if self._closed_again_at is not None:
            if not self._is_tried:  # sent before it opened; failed for the same reason
                return
            self._is_tried = False
            self._pause_seconds = min(self._pause_seconds * 2, LONGEST_PAUSE_SECONDS)
        elif self._failures < FAILURES_TO_OPEN:
            return
        self._closed_again_at = now + self._pause_seconds

    def seconds_away(self, now: float) -> float:
        """Return how long there has been no answer."""
        return now - self._failing_since

    def seconds_to_next_try(self, now: float) -> float:
        """Return the seconds until the next try."""
        return max((self._closed_again_at or now) - now, 0.0)


@dataclass(slots=True)
class RetryBudget:
    """Keeps retries from adding to the overload that causes them."""

    _left: float = RETRY_RESERVE

    def request(self) -> None:
        """Record a first try."""
        self._left = min(self._left + RETRY_SHARE, RETRY_RESERVE)

    def take(self) -> bool:
        """Use one retry; return whether one was left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
