"""Waiting for what happens in another process."""

import time
from collections.abc import Callable


def until(is_it: Callable[[], bool], *, seconds: float = 120, interval: float = 0.05) -> None:
    """Poll until a condition holds, at most for so many seconds."""
    deadline = time.monotonic() + seconds
    while not is_it():
        assert time.monotonic() < deadline, f"it did not happen within {seconds:.0f} s"
        time.sleep(interval)
