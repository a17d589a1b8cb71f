"""The gate that every request to Airflow passes.

A stock api-server (one worker, 15 database connections) answers nobody for a minute when 30 to 40 requests reach it at
once. So no more than a few are in flight, fewer when Airflow shows trouble, and none but a probe while it is away. Who
waits is let in by what it is for, and among triggers each caller and tool in turn.
"""

import asyncio
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from enum import IntEnum

from dagcall.airflow.overload import Breaker, Limit, RetryBudget
from dagcall.errors import Busy, CircuitOpen

DEFAULT_LIMIT = 8
"""Requests in flight. 20 concurrent GETs were fine on a stock Airflow 3.3.2; 40 were not."""
DEFAULT_QUEUE = 1000
"""Triggers in line. At 30 to 60 triggers a second, which is what one api-server worker takes, 20 to 30 s."""
LONGEST_BUSY_SECONDS = 60
"""What a refused caller is told to wait at most: the guess is at its worst when very many come in one moment."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""What is read of one answer. An XCom is mostly below 1 MB, and parsed it takes several times its size in memory."""
TYPICAL_TRIGGER_SECONDS = 0.05
"""A first guess; what is measured takes its place."""


class Purpose(IntEnum):
    """What a request is for, in the order in which requests are let in."""

    RESULT = 0
    """States and results: a caller waits for nothing else."""
    TRIGGER = 1
    DISCOVERY = 2
    """Listing and reading dags in the background."""
    STREAM = 3
    """A stream of states: holds its place for as long as it lasts, and takes one only if one is free."""


class Gate:
    """Lets a few requests through at a time; discovery gets a quarter of the places at most, and streams half.

    Args:
        limit: how many at most.
        queue: how many triggers may wait in line.
        now: a monotonic clock, in seconds; the running loop's where none is given.
    """

    def __init__(
        self, limit: int = DEFAULT_LIMIT, *, queue: int = DEFAULT_QUEUE, now: Callable[[], float] | None = None
    ) -> None:
        self._limit = Limit(limit)
        self._queue = queue
        self._now = now or asyncio.get_running_loop().time
        self.breaker = Breaker()
        self.on_open: Callable[[], None] = lambda: None
        """Called while the breaker is open, at each failure."""
        self.retries = RetryBudget()
        self._inside: Counter[Purpose] = Counter()
        self._in_line: Counter[Purpose] = Counter()
        self._waiting: dict[Purpose, OrderedDict[str, deque[asyncio.Future[None]]]] = {
            purpose: OrderedDict() for purpose in Purpose
        }
        self._trigger_seconds = TYPICAL_TRIGGER_SECONDS

    @property
    def ceiling(self) -> int:
        """How many requests are let through at the most."""
        return self._limit.ceiling

    @property
    def limit(self) -> int:
        """How many requests are let through now."""
        return self._limit.current

    @property
    def streams(self) -> int:
        """How many streams are let through now."""
        return self._limit.current // 2

    @property
    def in_flight(self) -> int:
        """How many requests are inside."""
        return self._inside.total()

    def waiting(self, purpose: Purpose) -> int:
        """Return how many wait in line for this."""
        return self._in_line[purpose]

    def waiting_for(self, purpose: Purpose, caller: str) -> int:
        """Return how many wait in line for this on behalf of one caller, whatever the tool."""
        line = self._waiting[purpose].items()
        return sum(len(theirs) for who, theirs in line if who.rpartition("/")[0] == caller)

    def place(self, purpose: Purpose, *, who: str = "") -> "_Place":
        """Wait for a place and hold it: `async with gate.place(…)`.

        Args:
            purpose: what the request is for.
            who: on whose behalf; each gets its turn.

        Raises:
            CircuitOpen: Airflow is away, and this request is not the one that tries whether it is back.
            Busy: the line is full.
        """
        return _Place(self, purpose, who)

    async def enter(self, purpose: Purpose, who: str) -> float:
        """Wait for a place and take it; return since when it is held. As `place`, whose first half this is."""
        if self.breaker.is_open and self.breaker.seconds_to_next_try(self._now()) > 0:
            raise self._away()
        if self._waiting[purpose] or not self._has_place(purpose):
            await self._wait(purpose, who)
        else:
            self._inside[purpose] += 1
        now = self._now()
        if not self.breaker.allows(now):
            self.leave(purpose)
            raise self._away()
        return now

    def try_enter(self, purpose: Purpose) -> bool:
        """Take a place if there is one now; whoever took it gives it back with `leave`."""
        if self.breaker.is_open or not self._has_place(purpose):
            return False
        self._inside[purpose] += 1
        return True

    def leave(self, purpose: Purpose, *, since: float | None = None) -> None:
        """Give a place back.

        Args:
            purpose: what it was for.
            since: when a request was let in for which it was held; None where there was none.
        """
        if purpose is Purpose.TRIGGER and since is not None:
            self._trigger_seconds += 0.1 * (self._now() - since - self._trigger_seconds)
        self._inside[purpose] -= 1
        self._admit()

    def answered(self) -> None:
        """Take note of an answer, of whatever kind."""
        self.breaker.success()
        self._limit.success(self._now())
        self._admit()

    def failed(self, *, is_overload: bool) -> None:
        """Take note of no answer.

        Args:
            is_overload: too many requests may be the reason (a time-out, a 5xx, a 429), and not only an absence.
        """
        self.breaker.failure(self._now())
        if self.breaker.is_open:
            self.on_open()
        if is_overload:
            self._limit.trouble(self._now())

    def _away(self) -> CircuitOpen:
        now = self._now()
        return CircuitOpen(
            f"Airflow has not answered for {self.breaker.seconds_away(now):.0f} s; dagcall looks every few seconds "
            "whether it is back",
            is_effect_possible=False,
        )

    def _has_place(self, purpose: Purpose) -> bool:
        """Say whether there is a place for this. What waits for its own share only stands in nobody else's way.

        Streams last: where the limit has been lowered since they were opened, those beyond their share take no places
        from others, for without an answer it would never be raised again.
        """
        limit = share = self._limit.current
        in_flight = self.in_flight
        if purpose is Purpose.STREAM:
            share = self.streams
        else:
            in_flight -= max(self._inside[Purpose.STREAM] - self.streams, 0)
        if purpose is Purpose.DISCOVERY:
            share = max(limit // 4, 1)
        return in_flight < limit and self._inside[purpose] < share

    async def _wait(self, purpose: Purpose, who: str) -> None:
        in_line = self.waiting(purpose)
        if purpose is Purpose.TRIGGER and in_line >= self._queue:
            seconds = min(math.ceil(in_line * self._trigger_seconds / self._limit.current), LONGEST_BUSY_SECONDS)
            raise Busy(f"Nothing was started: too many calls are in line already; try again in {seconds} s.")
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[purpose].setdefault(who, deque()).append(admitted)
        self._in_line[purpose] += 1
        self._admit()
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled():  # let in and cancelled in the same moment
                self.leave(purpose)
            raise
        finally:
            self._in_line[purpose] -= 1

    def _admit(self) -> None:
        """Let in as many as there are places for, in the order of what they are for."""
        for purpose, line in self._waiting.items():
            while line and self._has_place(purpose):
                admitted = _next_in_turn(line)
                if not admitted.cancelled():
                    self._inside[purpose] += 1
                    admitted.set_result(None)
            if line:
                _drop_those_who_left(line)


class _Place:
    """A place in the gate, held for as long as a block lasts; a generator would take four times as long."""

    __slots__ = ("_gate", "_purpose", "_since", "_who")

    def __init__(self, gate: Gate, purpose: Purpose, who: str) -> None:
        self._gate, self._purpose, self._who = gate, purpose, who
        self._since = 0.0

    async def __aenter__(self) -> None:
        self._since = await self._gate.enter(self._purpose, self._who)

    async def __aexit__(self, *_: object) -> None:
        self._gate.leave(self._purpose, since=self._since)


def _next_in_turn(line: OrderedDict[str, deque[asyncio.Future[None]]]) -> asyncio.Future[None]:
    """Take the first of whoever's turn it is, and put them behind the others."""
    who, theirs = line.popitem(last=False)
    first = theirs.popleft()
    if theirs:
        line[who] = theirs
    return first


def _drop_those_who_left(line: OrderedDict[str, deque[asyncio.Future[None]]]) -> None:
    for who, theirs in list(line.items()):
        while theirs and theirs[0].cancelled():
            theirs.popleft()
        if not theirs:
            del line[who]
