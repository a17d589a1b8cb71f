"""Tuning of Python's cyclic garbage collector: fewer pauses for waiting calls, and none for objects loaded at start.

The collector searches young objects often, and all objects at times. Each search pauses every call.
"""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from dagcall.loops import Loop

FULL_SEARCH_SHARE = 1 / 200
"""The maximum share of time for full searches, so that a request rarely meets one."""
LEAST_PAUSE_SECONDS = 2.0
YOUNG_OF_MANY = (500, 1)
"""The thresholds while many calls wait: for the youngest generation, and for the next.

With Python's own 700 and 10, a search covers 33,000 objects while ten thousand calls wait, because calls create and
drop objects and their number hardly grows; with these, it covers 6,000. A threshold of 200 would search for every call.
"""
YOUNG_OF_FEW = (10_000, 5)
"""The thresholds while few calls wait: searches are short then, but the others would take 10 % of a call's CPU."""
MANY_SECONDS = 0.05
"""A full search that takes longer means many objects: about two hundred waiting calls."""
NEVER = 2**31 - 1
IS_INCREMENTAL = sys.version_info >= (3, 14)
"""Whether Python itself collects incrementally, with another meaning of thresholds."""


@contextmanager
def loading() -> Iterator[None]:
    """Import without searches, and exclude the imported objects from later ones.

    Searches would take a fifth of the import time, and later pause every call for 0.1 s.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def search_all() -> bool:
    """Search all objects, if any have reached the oldest generation since the last time; return whether it did."""
    if not gc.get_count()[2]:
        return False
    gc.collect()
    return True


@asynccontextmanager
async def searched_sparingly(search: Callable[[], bool] = search_all) -> AsyncIterator[None]:
    """Run full searches at a rate limited by their duration, instead of whenever objects grow by a quarter.

    With ten thousand waiting calls, a full search takes more than two seconds.

    Args:
        search: searches all objects, and returns whether it did; replaced in tests.
    """
    if IS_INCREMENTAL:
        yield
        return
    own = gc.get_threshold()
    gc.set_threshold(*YOUNG_OF_MANY, NEVER)
    searching = asyncio.create_task(_search_sparingly(search), name="search for garbage")
    try:
        yield
    finally:
        searching.cancel()
        await asyncio.gather(searching, return_exceptions=True)
        gc.set_threshold(*own)


async def _search_sparingly(search: Callable[[], bool]) -> None:
    """Search repeatedly, with pauses that keep to the share."""
    now = asyncio.get_running_loop().time

    async def turn() -> bool:
        began = now()
        has_searched = search()
        took = now() - began
        if has_searched:
            gc.set_threshold(*(YOUNG_OF_FEW if took < MANY_SECONDS else YOUNG_OF_MANY), NEVER)
        await asyncio.sleep(max(took / FULL_SEARCH_SHARE, LEAST_PAUSE_SECONDS))
        return True

    await Loop("the search for garbage").run(turn)
