"""The gate that every request to Airflow passes.

A stock api-server (one worker, 15 database connections) answers nobody for a minute when 30 to 40 requests reach it at
once. So no more than `limit` are in flight, and who waits is let in by what it is for.
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum
from itertools import count

DEFAULT_LIMIT = 8
"""Requests in flight. 20 concurrent GETs were fine on a stock Airflow 3.3.2; 40 were not."""


class Purpose(IntEnum):
    """What a request is for, in the order in which requests are let in."""

    RESULT = 0
    """States and results: a caller waits for nothing else."""
    TRIGGER = 1
    DISCOVERY = 2
    """Listing and reading dags in the background."""
    STREAM = 3
    """A stream of states: holds its place for as long as it lasts."""


class Gate:
    """Lets at most `limit` requests through at a time; discovery and streams get half of the places each at most."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self._share = {Purpose.DISCOVERY: max(limit // 2, 1), Purpose.STREAM: limit // 2}
        self._inside: Counter[Purpose] = Counter()
        self._waiting: list[tuple[Purpose, int, asyncio.Future[None]]] = []
        self._order = count()

    @property
    def in_flight(self) -> int:
        """How many requests are inside."""
        return self._inside.total()

    @asynccontextmanager
    async def place(self, purpose: Purpose) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        if self._waiting or not self._has_place(purpose):
            await self._wait(purpose)
        else:
            self._inside[purpose] += 1
        try:
            yield
        finally:
            self._leave(purpose)

    def try_enter(self, purpose: Purpose) -> bool:
        """Take a place if there is one now; whoever took it gives it back with `leave`."""
        if self._waiting or not self._has_place(purpose):
            return False
        self._inside[purpose] += 1
        return True

    def leave(self, purpose: Purpose) -> None:
        """Give back a place taken with `try_enter`."""
        self._leave(purpose)

    def _has_place(self, purpose: Purpose) -> bool:
        return self.in_flight < self.limit and self._inside[purpose] < self._share.get(purpose, self.limit)

    async def _wait(self, purpose: Purpose) -> None:
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (purpose, next(self._order), admitted))
        self._admit()
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled():  # let in and cancelled in the same moment
                self._leave(purpose)
            raise

    def _leave(self, purpose: Purpose) -> None:
        self._inside[purpose] -= 1
        self._admit()

    def _admit(self) -> None:
        """Let in whoever is first; whoever has left the line meanwhile is passed over."""
        while self._waiting:
            purpose, _, admitted = self._waiting[0]
            if not admitted.cancelled():
                if not self._has_place(purpose):
                    return
                self._inside[purpose] += 1
                admitted.set_result(None)
            heapq.heappop(self._waiting)
