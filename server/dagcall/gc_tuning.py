"""Python's search for garbage, kept away from what a process loads once and keeps, and from waiting calls.

Objects that refer to each other in a circle are found by searching: often among the young, and at times among all.
The pauses that this makes are everybody's.
"""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from dagcall.loops import Loop

FULL_SEARCH_SHARE = 1 / 200
"""Of the time, at most, goes into full searches: so rarely does a request meet one."""
LEAST_PAUSE_SECONDS = 2.0
YOUNG_OF_MANY = (500, 1)
"""A search among the young whenever there are so many more, and after more of these one among those a bit older.

With Python's own 700 and 10 it is 33,000 objects at a time while ten thousand calls wait, for where each makes new ones
and drops old ones their number hardly grows; so it is 6,000. With a threshold of 200 each single call would start one.
"""
YOUNG_OF_FEW = (10_000, 5)
"""Likewise, where few calls wait: searches are short then anyway, and so many would take a tenth of a call's CPU."""
MANY_SECONDS = 0.05
"""A full search that takes so long goes through many objects: two hundred waiting calls, or so."""
NEVER = 2**31 - 1
IS_INCREMENTAL = sys.version_info >= (3, 14)
"""Whether Python itself searches in small steps, and takes thresholds to mean something else."""


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


def search_all() -> bool:
    """Search all objects, if any have grown old since that was done last; say whether that is so."""
    if not gc.get_count()[2]:
        return False
    gc.collect()
    return True


@asynccontextmanager
async def searched_sparingly(search: Callable[[], bool] = search_all) -> AsyncIterator[None]:
    """Search all objects as seldom as a search takes long, instead of whenever their number has grown by a quarter.

    With ten thousand waiting calls a full search takes more than two seconds.

    Args:
        search: searches all objects, and says whether it had to; for tests.
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
    """Search, and then wait for as much longer as the share says, for ever."""
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
