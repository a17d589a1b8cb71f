"""Progress notifications during a call."""

import asyncio
from collections.abc import Callable
from typing import Self

from mcp.server.session import ServerSession

from dagcall.runs import IN_LINE, RunObserver
from dagcall.text import in_one_line

PROGRESS_SECONDS = 2.0
SHARE_SECONDS = 30.0
"""After this time, half of the next task counts as done."""
LEAST_STEP = 1e-3
PROGRESS_LONGEST_SECONDS = 10.0
"""The longest pause between messages: proxies and clients close connections that are silent for 30 to 60 s."""


class Progress:
    """Reports a run's progress to the caller, every few seconds and at every change.

    Args:
        session: the caller's session.
        is_wanted: whether the caller asked for progress; if not, nothing is sent.
        in_line: how many calls of the caller are queued.
    """

    def __init__(self, session: ServerSession, *, is_wanted: bool, in_line: Callable[[], int]) -> None:
        self._session = session
        self._is_wanted = is_wanted
        self._in_line = in_line
        self._stage = IN_LINE
        self._observer: RunObserver | None = None
        self._last = 0.0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def entered(self, stage: str) -> None:
        """Record the current stage."""
        if self._is_wanted and stage != self._stage:
            self._stage = stage
            self._changed.set()

    def look_through(self, observer: RunObserver) -> None:
        """Report what this observer sees of the run."""
        self._observer = observer
        observer.on_change = self._changed.set

    async def __aenter__(self) -> Self:
        if self._is_wanted:
            self._task = asyncio.create_task(self._report())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _report(self) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        pause = PROGRESS_SECONDS
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
                self._changed.clear()
            except TimeoutError:
                pause = min(pause * 1.5, PROGRESS_LONGEST_SECONDS)
            seconds = loop.time() - started
            await self._session.report_progress(self._next(seconds), self._total(), self._message(seconds))

    def _next(self, seconds: float) -> float:
        """Return the finished tasks, plus a share of the next one that grows with time: the number must increase."""
        share = seconds / (seconds + SHARE_SECONDS)
        progress = self._observer.progress if self._observer else None
        value = share if progress is None else min(progress.finished + share, float(progress.known))
        self._last = max(value, self._last + LEAST_STEP)
        return self._last

    def _total(self) -> float | None:
        progress = self._observer.progress if self._observer else None
        return float(progress.known) if progress and self._last <= progress.known else None

    def _message(self, seconds: float) -> str:
        what = self._stage
        if what == IN_LINE and (in_line := self._in_line()) > 1:
            what += f" ({in_line} of your calls are queued)"
        usual = ""
        if self._observer is not None:
            if progress_text := self._observer.progress_text:
                what = progress_text if self._observer.progress else f"{what}: {progress_text}"
            if self._observer.usual_seconds is not None:
                usual = f", usually about {self._observer.usual_seconds:.0f} s"
        return in_one_line(f"{what}; {seconds:.0f} s since the call{usual}")
