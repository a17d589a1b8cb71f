"""An event loop in which no time is lost: when nothing can run, its clock jumps to the next timer.

For what happens in memory only: whatever waits for the outside world (sockets, threads) would be waited for in vain.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any


class NothingLeftToWaitFor(Exception):
    """Every task waits, and no timer will ever wake one: a deadlock."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """asyncio's loop with a clock of its own, in seconds since it was made."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._settled: asyncio.Future[None] | None = None
        super().__init__(_NoWaiting(self))

    def time(self) -> float:
        return self._seconds

    def settle(self) -> None:
        """Run what can run now, until only time could change anything."""
        self._settled = self.create_future()
        self.run_until_complete(self._settled)

    def pass_time(self, seconds: float) -> None:
        self.run_until_complete(asyncio.sleep(seconds))

    def end(self) -> None:
        """Cancel what is left, and close."""
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.run_until_complete(self.shutdown_asyncgens())
        self.close()

    def idle(self, until_next_timer: float | None) -> None:
        """Take note that nothing can run before the next timer; None: there is none."""
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)
        elif until_next_timer is None:
            raise NothingLeftToWaitFor
        else:
            self._seconds += until_next_timer


class _NoWaiting(selectors.SelectSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        ready = super().select(0)
        if not ready and timeout != 0:
            self._loop.idle(timeout)
        return ready


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a loop of its own, in which no time is lost."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


class LoopClock:
    """The fake Airflow's clock: the loop's."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self._loop.time())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
