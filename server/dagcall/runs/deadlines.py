"""How long work for callers may take: until its caller needs an answer, or until dagcall stops.

One for each process: when dagcall is about to stop, all that is under a deadline is given the same few seconds.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Deadlines:
    """Ends work that takes too long."""

    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._open: set[asyncio.Timeout] = set()
        self._latest = float("inf")
        """The time by which everything has to end."""

    @property
    def is_draining(self) -> bool:
        """Whether dagcall is about to stop."""
        return self._latest != float("inf")

    @asynccontextmanager
    async def until(self, when: float) -> AsyncIterator[None]:
        """Cancel a block that is still at work at this time, by the loop's clock.

        Raises:
            TimeoutError: the time was over.
        """
        async with asyncio.timeout_at(min(when, self._latest)) as limit:
            self._open.add(limit)
            try:
                yield
            finally:
                self._open.discard(limit)

    def drain(self, seconds: float) -> None:
        """Give everything that is at work, and whatever begins from now on, no more than this."""
        self._latest = self._now() + seconds
        for limit in self._open:
            when = limit.when()
            if not limit.expired() and when is not None:
                limit.reschedule(min(when, self._latest))
