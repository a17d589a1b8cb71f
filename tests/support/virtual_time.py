"""An event loop in virtual time: when nothing can run, its clock jumps to the next timer.

It is for code in memory only, because it does not wait for sockets and threads.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any


class NothingLeftToWaitFor(Exception):
    """All tasks are waiting and there is no timer: a deadlock."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """asyncio's loop with its own clock, in seconds since its creation."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._settled: asyncio.Future[None] | None = None
        super().__init__(_NoWaiting(self))

    def time(self) -> float:
        return self._seconds

    def settle(self) -> None:
        """Run everything that can run without a timer."""
        self._settled = self.create_future()
        self.run_until_complete(self._settled)

    def pass_time(self, seconds: float) -> None:
        self.run_until_complete(asyncio.sleep(seconds))

    def end(self) -> None:
        """Cancel all tasks and close the loop."""
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.run_until_complete(self.shutdown_asyncgens())
        self.close()

    def idle(self, until_next_timer: float | None) -> None:
        """Jump to the next timer, because nothing else can run; None if there is no timer."""
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
    """Run a test on its own virtual time loop."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


class LoopClock:
    """A clock for the fake Airflow that follows the loop's time."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self._loop.time())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
