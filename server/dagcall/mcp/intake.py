"""Counts requests in progress, and knows whether new ones are accepted."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Intake:
    """Counts requests."""

    def __init__(self) -> None:
        self.is_closed = False
        """Whether new requests are refused, because this process is stopping."""
        self.in_progress = 0
        self.idle = asyncio.Event()
        """Set while no request is in progress."""
        self.idle.set()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request during the block."""
        self.in_progress += 1
        self.idle.clear()
        try:
            yield
        finally:
            self.in_progress -= 1
            if not self.in_progress:
                self.idle.set()
