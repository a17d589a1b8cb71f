"""Which requests are being worked on, and whether new ones are taken."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Intake:
    """Counts requests."""

    def __init__(self) -> None:
        self.is_closed = False
        """Whether no new request is taken, because this process is about to stop."""
        self.in_progress = 0
        self.idle = asyncio.Event()
        """Set while no request is in progress."""
        self.idle.set()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request as long as the block takes."""
        self.in_progress += 1
        self.idle.clear()
        try:
            yield
        finally:
            self.in_progress -= 1
            if not self.in_progress:
                self.idle.set()
