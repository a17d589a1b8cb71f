"""Python's search for garbage, kept away from what a process loads once and keeps."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Import without a search after every few hundred objects, and never search through what was imported again.

    The searches take a fifth of the time that importing takes, and later pause every call for a tenth of a second.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
