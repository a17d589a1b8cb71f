"""When Python collects garbage while dagcall serves."""

import asyncio
import gc

import pytest

from dagcall import gc_tuning as garbage
from dagcall.gc_tuning import LEAST_PAUSE_SECONDS, YOUNG_OF_FEW, YOUNG_OF_MANY, searched_sparingly
from tests.support.virtual_time import VirtualTimeLoop


class Circle:
    """Refers to itself."""

    def __init__(self) -> None:
        self.own = self


@pytest.mark.virtual_time
@pytest.mark.skipif(garbage.IS_INCREMENTAL, reason="Python collects incrementally by itself")
@pytest.mark.parametrize(
    ("search_seconds", "pause_seconds"), [(0.001, LEAST_PAUSE_SECONDS), (0.05, 10.0), (2.5, 500.0)]
)
async def test_pause_grows_with_the_duration_of_the_last_search(search_seconds: float, pause_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    begun = []

    def search() -> bool:
        begun.append(loop.time())
        loop.idle(search_seconds)
        return True

    async with searched_sparingly(search):
        await asyncio.sleep(1.5 * (search_seconds + pause_seconds))
    assert begun == pytest.approx([0.0, search_seconds + pause_seconds])


@pytest.mark.virtual_time
@pytest.mark.skipif(garbage.IS_INCREMENTAL, reason="Python collects incrementally by itself")
async def test_young_objects_are_searched_less_often_when_there_are_few_objects() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    searches = iter([0.2, None, 0.001, None, 0.2])
    thresholds = []

    def search() -> bool:
        thresholds.append(gc.get_threshold()[:2])
        seconds = next(searches, None)
        loop.idle(seconds or 0)
        return seconds is not None  # nothing was searched, so the number of objects is unknown

    async with searched_sparingly(search):
        await asyncio.sleep(100)

    assert thresholds[:6] == [YOUNG_OF_MANY, YOUNG_OF_MANY, YOUNG_OF_MANY, YOUNG_OF_FEW, YOUNG_OF_FEW, YOUNG_OF_MANY]


@pytest.mark.virtual_time
@pytest.mark.skipif(garbage.IS_INCREMENTAL, reason="Python collects incrementally by itself")
async def test_old_garbage_is_still_collected() -> None:
    async with searched_sparingly():
        await asyncio.sleep(0)
        Circle()
        gc.collect(1)
        assert any(isinstance(thing, Circle) for thing in gc.get_objects()) is False
        circle = Circle()
        gc.collect(1)  # makes it old
        del circle
        assert any(isinstance(thing, Circle) for thing in gc.get_objects())
        await asyncio.sleep(2 * LEAST_PAUSE_SECONDS + 1)
        assert not any(isinstance(thing, Circle) for thing in gc.get_objects())


async def test_original_thresholds_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = gc.get_threshold()
    async with searched_sparingly():
        assert (gc.get_threshold() == before) == garbage.IS_INCREMENTAL
    assert gc.get_threshold() == before
    monkeypatch.setattr(garbage, "IS_INCREMENTAL", True)
    async with searched_sparingly():
        assert gc.get_threshold() == before
