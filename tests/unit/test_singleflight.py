"""Concurrent callers share one request."""

import asyncio

import pytest

from dagcall.errors import AirflowNotFound
from dagcall.singleflight import SingleFlight
from tests.support.virtual_time import in_virtual_time


class Oracle:
    """Answers with how often it was asked, after a second."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_failing = False

    async def answer(self, about: str) -> int:
        self.asked.append(about)
        number = len(self.asked)
        await asyncio.sleep(1)
        if self.is_failing:
            raise AirflowNotFound(about)
        return number


@in_virtual_time
async def test_concurrent_callers_share_a_request() -> None:
    oracle = Oracle()
    shared = SingleFlight(oracle.answer)
    answers = await asyncio.gather(shared("a"), shared("b"), shared("a"))
    assert list(answers) == [1, 2, 1]
    assert oracle.asked == ["a", "b"]


@in_virtual_time
async def test_answer_is_reused_for_the_given_seconds() -> None:
    oracle = Oracle()
    shared = SingleFlight(oracle.answer, seconds=3)
    assert await shared("a") == 1
    await asyncio.sleep(2)
    assert await shared("a") == 1
    await asyncio.sleep(0.5)
    assert await shared("a") == 2


@in_virtual_time
async def test_request_in_flight_is_shared_however_long_it_takes() -> None:
    oracle = Oracle()
    shared = SingleFlight(oracle.answer, seconds=0.1)
    first = asyncio.create_task(shared("a"))
    await asyncio.sleep(0.5)
    assert await shared("a") == await first == 1


@in_virtual_time
async def test_error_is_shared_but_not_reused() -> None:
    oracle = Oracle()
    oracle.is_failing = True
    shared = SingleFlight(oracle.answer, seconds=60)
    errors = await asyncio.gather(shared("a"), shared("a"), return_exceptions=True)
    assert [type(error) for error in errors] == [AirflowNotFound, AirflowNotFound]
    oracle.is_failing = False
    assert await shared("a") == 2


@in_virtual_time
async def test_cancelled_caller_does_not_cancel_the_request() -> None:
    oracle = Oracle()
    shared = SingleFlight(oracle.answer)
    cancelled = asyncio.create_task(shared("a"))
    await asyncio.sleep(0.5)
    other = asyncio.create_task(shared("a"))
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await other == 1
    assert oracle.asked == ["a"]
