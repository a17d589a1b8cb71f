"""How much Airflow takes just now: a limit that gives way, a breaker, and a budget for retries.

Pure: every method takes the time, in seconds of any one clock. The numbers are our choice, after what a stock Airflow
3.3.2 was seen to do: with 30 to 40 requests at once it answers nobody for a minute.
"""

from dataclasses import dataclass

HALVE_AT_MOST_EVERY_SECONDS = 1.0
"""What fails together failed for one reason, and counts once."""
RAISE_EVERY_SECONDS = 10.0

FAILURES_TO_OPEN = 5
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 30.0

RETRY_SHARE = 0.1
"""Retries may be this share of all requests …"""
RETRY_RESERVE = 10.0
"""… after a first few, which a quiet process has in reserve."""


@dataclass(slots=True)
class Limit:
    """How many requests may be in flight: halved at trouble, raised by one when there was none for a while."""

    ceiling: int
    current: int = 0
    _changed: float = float("-inf")

    def __post_init__(self) -> None:
        self.current = self.current or self.ceiling

    def trouble(self, now: float) -> None:
        """Take note of a time-out, a 5xx or a 429."""
        if now - self._changed >= HALVE_AT_MOST_EVERY_SECONDS:
            self.current = max(self.current // 2, 1)
            self._changed = now

    def success(self, now: float) -> None:
        """Take note of an answer."""
        if self.current < self.ceiling and now - self._changed >= RAISE_EVERY_SECONDS:
            self.current += 1
            self._changed = now


@dataclass(slots=True)
class Breaker:
    """Closed while Airflow answers. After some failures in a row it opens, and lets one request try now and then."""

    _failures: int = 0
    _pause_seconds: float = FIRST_PAUSE_SECONDS
    _closed_again_at: float | None = None
    """When the next request may try; None while closed."""
    _failing_since: float = 0.0
    _is_tried: bool = False
    """Whether a request is out to try while open."""

    @property
    def is_open(self) -> bool:
        """Whether Airflow is taken to be away."""
        return self._closed_again_at is not None

    def allows(self, now: float) -> bool:
        """Say whether a request may go out; while open, one may each time the pause is over."""
        if self._closed_again_at is None:
            return True
        if now < self._closed_again_at:
            return False
        self._closed_again_at = now + self._pause_seconds  # this one tries; the others wait for what it finds
        self._is_tried = True
        return True

    def success(self) -> None:
        """Take note of an answer, of whatever kind: somebody is there."""
        self._failures = 0
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._closed_again_at = None
        self._is_tried = False

    def failure(self, now: float) -> None:
        """Take note of no answer, or of one that only says that Airflow cannot answer."""
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        if self._closed_again_at is not None:
            if not self._is_tried:  # sent before it opened, and fails for the same reason
                return
            self._is_tried = False
            self._pause_seconds = min(self._pause_seconds * 2, LONGEST_PAUSE_SECONDS)
        elif self._failures < FAILURES_TO_OPEN:
            return
        self._closed_again_at = now + self._pause_seconds

    def seconds_away(self, now: float) -> float:
        """Return for how long there has been no answer."""
        return now - self._failing_since

    def seconds_to_next_try(self, now: float) -> float:
        """Return when asking again makes sense."""
        return max((self._closed_again_at or now) - now, 0.0)


@dataclass(slots=True)
class RetryBudget:
    """Keeps retries from adding to the load that makes them necessary."""

    _left: float = RETRY_RESERVE

    def request(self) -> None:
        """Take note of a first try."""
        self._left = min(self._left + RETRY_SHARE, RETRY_RESERVE)

    def take(self) -> bool:
        """Say whether one retry is left, and use it."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
