"""Many ask in the same moment, one question goes out."""

import asyncio

import pytest

from dagcall.errors import AirflowNotFound
from dagcall.singleflight import SingleFlight
from tests.support.virtual_time import in_virtual_time


class Oracle:
    """Answers with how often it was asked, after a second."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_away = False

    async def answer(self, about: str) -> int:
        self.asked.append(about)
        number = len(self.asked)
        await asyncio.sleep(1)
        if self.is_away:
            raise AirflowNotFound(about)
        return number


@in_virtual_time
async def test_those_who_ask_in_the_same_moment_share_a_question() -> None:
    oracle = Oracle()
    shared = SingleFlight(oracle.answer)
    answers = await asyncio.gather(shared("a"), shared("b"), shared("a"))
    assert list(answers) == [1, 2, 1]
    assert oracle.asked == ["a", "b"]


@in_virtual_time
async def test_an_answer_is_good_for_as_long_as_was_said() -> None:
    oracle = Oracle()
    shared = SingleFlight(oracle.answer, seconds=3)
    assert await shared("a") == 1
    await asyncio.sleep(2)
    assert await shared("a") == 1
    await asyncio.sleep(0.5)
    assert await shared("a") == 2


@in_virtual_time
async def test_a_question_on_its_way_is_shared_however_long_it_takes() -> None:
    oracle = Oracle()
    shared = SingleFlight(oracle.answer, seconds=0.1)
    first = asyncio.create_task(shared("a"))
    await asyncio.sleep(0.5)
    assert await shared("a") == await first == 1


@in_virtual_time
async def test_an_error_is_for_those_who_asked_before_it_came() -> None:
    oracle = Oracle()
    oracle.is_away = True
    shared = SingleFlight(oracle.answer, seconds=60)
    errors = await asyncio.gather(shared("a"), shared("a"), return_exceptions=True)
    assert [type(error) for error in errors] == [AirflowNotFound, AirflowNotFound]
    oracle.is_away = False
    assert await shared("a") == 2


@in_virtual_time
async def test_a_caller_that_leaves_cancels_no_request() -> None:
    oracle = Oracle()
    shared = SingleFlight(oracle.answer)
    leaver = asyncio.create_task(shared("a"))
    await asyncio.sleep(0.5)
    other = asyncio.create_task(shared("a"))
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    assert await other == 1
    assert oracle.asked == ["a"]
