"""The gate that every request to Airflow passes.

A stock api-server (one worker, 15 database connections) stops answering for a minute when it gets 30 to 40 requests at
once. So only a few are in flight, fewer when Airflow shows trouble, and only probes while it is unavailable. Waiting
requests are admitted by purpose; triggers take turns by caller and tool.
"""

import asyncio
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from enum import IntEnum

from dagcall.airflow.overload import Breaker, Limit, RetryBudget
from dagcall.errors import CircuitOpen, QueueFull

DEFAULT_LIMIT = 8
"""Maximum requests in flight. A stock Airflow 3.3.2 handled 20 concurrent GETs, but not 40."""
DEFAULT_QUEUE = 1000
"""Maximum queued triggers: 20 to 30 s at 30 to 60 triggers a second, the rate of one api-server worker."""
LONGEST_BUSY_SECONDS = 60
"""The longest wait that a refusal suggests: the estimate is worst when very many calls come at once."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Maximum size of an answer. XComs are mostly below 1 MB; parsed, they take several times their size in memory."""
LOOK_AGAIN_SECONDS = 1.0
"""How often waiting calls look whether the breaker has closed."""
TYPICAL_TRIGGER_SECONDS = 0.05
"""The initial estimate; measurements replace it."""


class Purpose(IntEnum):
    """The purpose of a request, in order of priority."""

    RESULT = 0
    """States and results: what callers wait for."""
    TRIGGER = 1
    DISCOVERY = 2
    """Listing and reading dags in the background."""
    STREAM = 3
    """A stream of states: holds its place while it lasts, and takes only a free place."""


class Gate:
    """Admits a few requests at a time; discovery gets at most a quarter of the places, streams at most half.

    Args:
        limit: maximum requests in flight.
        queue: maximum queued triggers.
        now: a monotonic clock, in seconds; default: the running loop's.
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
        """The maximum limit."""
        return self._limit.ceiling

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return self._limit.current

    @property
    def streams(self) -> int:
        """How many streams may be open now."""
        return self._limit.current // 2

    @property
    def in_flight(self) -> int:
        """How many requests are in flight."""
        return self._inside.total()

    def waiting(self, purpose: Purpose) -> int:
        """Return how many requests are queued for this purpose."""
        return self._in_line[purpose]

    def waiting_for(self, purpose: Purpose, caller: str) -> int:
        """Return how many requests of one caller are queued for this purpose, for any tool."""
        line = self._waiting[purpose].items()
        return sum(len(theirs) for who, theirs in line if who.rpartition("/")[0] == caller)

    def place(self, purpose: Purpose, *, who: str = "") -> "_Place":
        """Wait for a place and hold it: `async with gate.place(…)`.

        Args:
            purpose: the purpose of the request.
            who: the caller and tool; these take turns.

        Raises:
            CircuitOpen: Airflow is unavailable, and this is not the trial request.
            QueueFull: the queue is full.
        """
        return _Place(self, purpose, who)

    async def enter(self, purpose: Purpose, who: str) -> float:
        """Wait for a place and take it; return since when it is held. The first half of `place`."""
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
        """Take a place if one is free; give it back with `leave`."""
        if self.breaker.is_open or not self._has_place(purpose):
            return False
        self._inside[purpose] += 1
        return True

    def leave(self, purpose: Purpose, *, since: float | None = None) -> None:
        """Give a place back.

        Args:
            purpose: its purpose.
            since: when the request was admitted; None if there was none.
        """
        if purpose is Purpose.TRIGGER and since is not None:
            self._trigger_seconds += 0.1 * (self._now() - since - self._trigger_seconds)
        self._inside[purpose] -= 1
        self._admit()

    def answered(self) -> None:
        """Record an answer of any kind."""
        self.breaker.success()
        self._limit.success(self._now())
        self._admit()

    def failed(self, *, is_overload: bool) -> None:
        """Record that there was no answer.

        Args:
            is_overload: whether too many requests may be the reason (a time-out, a 5xx, a 429).
        """
        self.breaker.failure(self._now())
        if self.breaker.is_open:
            self.on_open()
        if is_overload:
            self._limit.trouble(self._now())

    def _away(self) -> CircuitOpen:
        now = self._now()
        return CircuitOpen(
            f"Airflow has not answered for {self.breaker.seconds_away(now):.0f} s; dagcall checks every few seconds "
            "whether it is back",
            is_effect_possible=False,
            retry_after_seconds=min(self.breaker.seconds_to_next_try(now), LOOK_AGAIN_SECONDS),
        )

    def _has_place(self, purpose: Purpose) -> bool:
        """Return whether there is a place for this purpose. Requests that wait only for their share block no others.

        Streams are long: if the limit was lowered after they were opened, those beyond their share take no places from
        others; otherwise no answer could come that raises the limit again.
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
            raise QueueFull(f"Nothing was started: too many calls are queued; try again in {seconds} s.")
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[purpose].setdefault(who, deque()).append(admitted)
        self._in_line[purpose] += 1
        self._admit()
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled():  # admitted and cancelled at the same moment
                self.leave(purpose)
            raise
        finally:
            self._in_line[purpose] -= 1

    def _admit(self) -> None:
        """Admit as many requests as there are places, in order of purpose."""
        for purpose, line in self._waiting.items():
            while line and self._has_place(purpose):
                admitted = _next_in_turn(line)
                if not admitted.cancelled():
                    self._inside[purpose] += 1
                    admitted.set_result(None)
            if line:
                _drop_those_who_left(line)


class _Place:
    """A place in the gate, held during a block; a generator-based context manager would be four times as slow."""

    __slots__ = ("_gate", "_purpose", "_since", "_who")

    def __init__(self, gate: Gate, purpose: Purpose, who: str) -> None:
        self._gate, self._purpose, self._who = gate, purpose, who
        self._since = 0.0

    async def __aenter__(self) -> None:
        self._since = await self._gate.enter(self._purpose, self._who)

    async def __aexit__(self, *_: object) -> None:
        self._gate.leave(self._purpose, since=self._since)


def _next_in_turn(line: OrderedDict[str, deque[asyncio.Future[None]]]) -> asyncio.Future[None]:
    """Return the next request of the caller whose turn it is, and move that caller to the end."""
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
