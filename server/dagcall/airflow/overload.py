"""Overload protection: an adaptive limit, a circuit breaker, and a retry budget.

Pure: every method takes the time, in seconds of any one clock. The numbers follow measurements of a stock Airflow
3.3.2: with 30 to 40 concurrent requests, it stops answering for a minute.
"""

import math
from dataclasses import dataclass, field

from dagcall.airflow.latency import Latency

FIRST_LIMIT = 2
"""The limit of an idle gate. Eight of them, asked together, let in 16: Airflow answers bursts of 20 triggers."""
TOLERATED_SLOWDOWN = 1.5
"""An answer may take so many times as long as while Airflow is calm; most of it is noise."""
QUEUE = 0.7
"""Places in the queue of a busy Airflow, as a multiple of the square root of the limit."""
GIVE_UP_AFTER_SECONDS = 1.0
GOLDEN_RATIO = 0.618
"""Its multiples are spread evenly between whole numbers, so that fractions of a place are given fairly."""

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
    """Maximum requests in flight: follows latency, is halved on overload, and falls to what is used.

    After each round of answers, the limit is multiplied by how much faster a calm Airflow answers, and a few places are
    added, in proportion to its square root (Netflix's gradient limit). So a gate holds few places in the queue of a
    busy Airflow, and several gates, which know nothing of each other, the same number each.
    """

    ceiling: int
    floor: int = 1
    _reach: float = 0.0
    """The limit that latency allows."""
    _cap: int = 0
    """The limit after overload."""
    _turn: float = 0.0
    _changed: float = float("-inf")
    _needed_at: float = float("-inf")
    _used: int = 0
    _latencies: dict[str, Latency] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._cap = self.ceiling
        self._reach = float(self.first)

    @property
    def first(self) -> int:
        """The limit of an idle gate."""
        return min(max(FIRST_LIMIT, self.floor), self.ceiling)

    @property
    def current(self) -> int:
        """The limit; where the law says one and a half, it is one and two in turn."""
        return max(min(int(self._reach + self._turn), self._cap), self.floor)

    def admitted(self, in_flight: int, *, waiting: int, now: float) -> float:
        """Record that a request was let in; return which share of the limit is in use, or wanted.

        Places that were not needed for a second are given up: what was found long ago, or by few requests, says nothing
        about many.
        """
        wanted = in_flight + waiting if in_flight >= self.current else in_flight  # some wait only for their share
        use = wanted / max(self.current, self.first)
        if use >= 1:
            self._needed_at, self._used = now, 0
            return use
        self._used = max(self._used, in_flight)
        if now - self._needed_at > GIVE_UP_AFTER_SECONDS:
            self._reach = max(min(self._reach, self._used), self.first)
            self._needed_at, self._used = now, 0
        return use

    def answered(self, kind: str, seconds: float, *, calm: float, use: float, now: float) -> None:
        """Record how long a request took.

        Args:
            kind: requests of one kind take about as long.
            seconds: from being let in to the answer.
            calm: how long this kind takes while Airflow has little to do, until that is measured.
            use: what `admitted` returned for it.
            now: the time.
        """
        latency = self._latencies.get(kind)
        if latency is None:
            latency = self._latencies[kind] = Latency(calm)
        slowdown = latency.slowdown(seconds, use=use, now=now)
        if slowdown is not None:
            reach = self._reach * min(TOLERATED_SLOWDOWN / slowdown, 1) + QUEUE * math.sqrt(self._reach)
            self._reach = min(max(reach, self.floor), self.ceiling)
            self._turn = (self._turn + GOLDEN_RATIO) % 1

    def trouble(self, now: float) -> None:
        """Record a time-out, a 5xx or a 429."""
        if now - self._changed >= HALVE_AT_MOST_EVERY_SECONDS:
            self._cap = max(self.current // 2, self.floor)
            self._changed = now

    def success(self, now: float) -> None:
        """Record an answer of any kind."""
        if self._cap < self.ceiling and now - self._changed >= RAISE_EVERY_SECONDS:
            self._cap += 1
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
