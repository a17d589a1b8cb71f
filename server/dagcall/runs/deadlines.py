"""Time limits for work on behalf of callers: the call's deadline, or dagcall's shutdown.

There is one instance per process. On shutdown, all work under a deadline gets the same few seconds.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Deadlines:
    """Cancels work that takes too long."""

    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._open: set[asyncio.Timeout] = set()
        self._latest = float("inf")
        """The time by which all work must end."""

    @property
    def is_draining(self) -> bool:
        """Whether dagcall is shutting down."""
        return self._latest != float("inf")

    @asynccontextmanager
    async def until(self, when: float) -> AsyncIterator[None]:
        """Cancel a block that is still running at this time, by the loop's clock.

        Raises:
            TimeoutError: the block was cancelled.
        """
        async with asyncio.timeout_at(min(when, self._latest)) as limit:
            self._open.add(limit)
            try:
                yield
            finally:
                self._open.discard(limit)

    def drain(self, seconds: float) -> None:
        """Limit all running and future work to this many seconds from now."""
        self._latest = self._now() + seconds
        for limit in self._open:
            when = limit.when()
            if not limit.expired() and when is not None:
                limit.reschedule(min(when, self._latest))
