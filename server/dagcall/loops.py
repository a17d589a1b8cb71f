"""Background loops that survive errors.

An asyncio task that ends with an error goes unnoticed, and its work stops. So a failed turn is logged, with its
traceback the first time, and the next turn follows after a pause.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


class Loop:
    """Keeps one loop running.

    Args:
        name: its name in log lines.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._failures = 0
        """How many turns in a row have failed."""

    @property
    def is_working(self) -> bool:
        """Whether the last turn succeeded."""
        return not self._failures

    async def run(self, turn: Callable[[], Awaitable[bool]]) -> None:
        """Run turns until one returns False."""
        goes_on = True
        while goes_on:
            try:
                goes_on = await turn()
            except asyncio.CancelledError as error:
                if _is_being_cancelled():
                    raise
                await self._pause_after(error)  # something that the turn awaited was cancelled
            except Exception as error:  # noqa: BLE001 - the loop survives any error
                await self._pause_after(error)
            else:
                self._recover()

    async def _pause_after(self, error: BaseException) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.error("%s failed and will be retried", self.name, exc_info=error)
        else:
            logger.debug("%s failed again: %r", self.name, error)
        await asyncio.sleep(min(FIRST_PAUSE_SECONDS * 2 ** (self._failures - 1), LONGEST_PAUSE_SECONDS))

    def _recover(self) -> None:
        if self._failures:
            logger.warning("%s works again", self.name)
        self._failures = 0


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
