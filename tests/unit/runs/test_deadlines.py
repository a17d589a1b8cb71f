"""Deadlines of work for callers, and how a drain shortens them."""

import asyncio

import pytest

from dagcall.runs.deadlines import Deadlines

pytestmark = pytest.mark.virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


async def ended_at(deadlines: Deadlines, when: float, seconds: float) -> float:
    """Return when work of so many seconds ended or reached this deadline."""
    try:
        async with deadlines.until(when):
            await asyncio.sleep(seconds)
    except TimeoutError:
        pass
    return now()


async def test_work_ends_at_its_deadline() -> None:
    deadlines = Deadlines()

    with pytest.raises(TimeoutError):
        async with deadlines.until(5):
            await asyncio.sleep(6)

    assert now() == 5
    assert await ended_at(deadlines, 9, 3) == 8
    assert not deadlines.is_draining


async def test_drain_shortens_current_and_new_deadlines_and_extends_none() -> None:
    deadlines = Deadlines()
    work = [asyncio.create_task(ended_at(deadlines, when, 100)) for when in (13, 20, 90)]
    await asyncio.sleep(10)

    deadlines.drain(5)

    assert deadlines.is_draining
    await asyncio.sleep(1)
    work += [asyncio.create_task(ended_at(deadlines, when, 100)) for when in (12, 90)]
    assert await asyncio.gather(*work) == [13, 15, 15, 12, 15]


async def test_drain_does_not_affect_expired_work() -> None:
    deadlines = Deadlines()
    reached = asyncio.Event()

    async def slow_to_stop() -> None:
        try:
            async with deadlines.until(1):
                try:
                    await asyncio.sleep(9)
                finally:
                    reached.set()
                    await asyncio.sleep(2)
        except TimeoutError:
            return

    work = asyncio.create_task(slow_to_stop())
    await reached.wait()
    deadlines.drain(5)
    await work
    assert now() == 3

    deadlines.drain(5)
    assert await ended_at(deadlines, 99, 50) == 8
