"""What a caller is told while its call goes on."""

import asyncio
from collections.abc import Callable
from typing import Self

from mcp.server.session import ServerSession

IN_LINE = "in line"
PROGRESS_SECONDS = 2.0
PROGRESS_LONGEST_SECONDS = 10.0
"""A progress message at least this often: proxies and clients cut off what is silent for 30 to 60 s."""


class Progress:
    """Tells a caller how its run is doing, every few seconds and at every change; the SDK drops what none asked for."""

    def __init__(self, session: ServerSession, in_line: Callable[[], int]) -> None:
        self._session = session
        self._in_line = in_line
        self._stage = IN_LINE
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def entered(self, stage: str) -> None:
        """Take note of what is going on."""
        if stage != self._stage:
            self._stage = stage
            self._changed.set()

    async def __aenter__(self) -> Self:
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
            seconds = loop.time() - started  # strictly increasing, as the protocol demands
            others = f" ({self._in_line()} calls wait to be started)" if self._stage == IN_LINE else ""
            await self._session.report_progress(seconds, None, f"{self._stage}{others}, {seconds:.0f} s since the call")
