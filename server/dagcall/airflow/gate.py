"""The gate that every request to Airflow passes.

A stock api-server (one worker, 15 database connections) stops answering for a minute when it gets 30 to 40 requests at
once. So only as many are in flight as it answers without delay, fewer when it shows trouble, and only probes while it
is unavailable. Waiting requests are admitted by purpose; triggers take turns by caller and tool.
"""

import asyncio
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from enum import IntEnum
from typing import Self

from dagcall.airflow.overload import Breaker, Limit, RetryBudget
from dagcall.errors import CircuitOpen, QueueFull

DEFAULT_CEILING = 32
"""Maximum requests in flight: what four api-servers take."""
DEFAULT_FLOOR = 1
DISCOVERIES = 2
"""So many places are enough to read the dags quickly at the start; others come first, and these requests are short."""
STREAMING_LIMIT = 8
"""Up to half as many streams are open although few requests are in flight: streams wait, and cost Airflow little."""
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
    """A stream of states: holds its place while it lasts, and takes only a free place. Opening it is a request."""


class Gate:
    """Admits a few requests at a time; discovery gets two or a quarter of the places, streams have their own.

    Args:
        ceiling: the most requests in flight.
        floor: the limit that remains, however slow Airflow is.
        queue: maximum queued triggers.
        now: a monotonic clock, in seconds; default: the running loop's.
    """

    def __init__(
        self,
        ceiling: int = DEFAULT_CEILING,
        *,
        floor: int = DEFAULT_FLOOR,
        queue: int = DEFAULT_QUEUE,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._limit = Limit(ceiling, floor)
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
        """How many streams may be open now: half of the limit, or of that of a calm time; none at a limit of one."""
        limit = self._limit.current
        return 0 if limit == 1 else max(limit, min(STREAMING_LIMIT, self.ceiling)) // 2

    @property
    def in_flight(self) -> int:
        """How many requests are in flight, with the streams."""
        return self._inside.total()

    def in_flight_for(self, purpose: Purpose) -> int:
        """Return how many requests are in flight for this purpose."""
        return self._inside[purpose]

    @property
    def _short(self) -> int:
        """How many requests are in flight that end soon."""
        return self._inside.total() - self._inside[Purpose.STREAM]

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

    async def enter(self, purpose: Purpose, who: str) -> tuple[float, float]:
        """Wait for a place and take it: the first half of `place`.

        Returns:
            Since when it is held, and which share of the limit was in use.
        """
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
        return now, self._limit.admitted(self._short, waiting=self._in_line.total(), now=now)

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

    def took(self, kind: str, *, calm: float, since: float, use: float) -> None:
        """Record how long the usual answer took.

        Args:
            kind: requests of one kind take about as long.
            calm: how long this kind takes while Airflow has little to do, until that is measured.
            since: when the request was admitted.
            use: which share of the limit was in use then.
        """
        now = self._now()
        self._limit.answered(kind, now - since, calm=calm, use=use, now=now)

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

        Streams are long, and cost Airflow little once they are open, so they take no places from others.
        """
        if purpose is Purpose.STREAM:
            return self._inside[purpose] < self.streams
        limit = self._limit.current
        share = max(limit // 4, DISCOVERIES) if purpose is Purpose.DISCOVERY else limit
        return self._short < limit and self._inside[purpose] < share

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
        """Admit as many requests as there are places, in order of purpose.

        Whenever a request leaves is often enough: while some are queued, others are inside, except right after the
        breaker has closed, and then the first answer admits them.
        """
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

    __slots__ = ("_gate", "_purpose", "_since", "_use", "_who")

    def __init__(self, gate: Gate, purpose: Purpose, who: str) -> None:
        self._gate, self._purpose, self._who = gate, purpose, who
        self._since = self._use = 0.0

    async def __aenter__(self) -> Self:
        self._since, self._use = await self._gate.enter(self._purpose, self._who)
        return self

    def took(self, kind: str, *, calm: float) -> None:
        """Record that the usual answer has come; see `Gate.took`."""
        self._gate.took(kind, calm=calm, since=self._since, use=self._use)

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
