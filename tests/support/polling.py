"""Waiting for what happens in another process."""

import time
from collections.abc import Callable


def until(is_it: Callable[[], bool]) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + 120
    while not is_it():
        assert time.monotonic() < deadline, "it did not happen within 120 s"
        time.sleep(0.05)
