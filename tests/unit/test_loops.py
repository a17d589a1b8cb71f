import asyncio
import logging
from typing import Literal

import pytest

from dagcall.loops import LONGEST_PAUSE_SECONDS, Loop

pytestmark = pytest.mark.virtual_time


class Turns:
    """The turns of a loop, one after the other."""

    def __init__(self, *turns: Literal["on", "end"] | BaseException) -> None:
        self.turns = list(turns)
        self.taken_at: list[float] = []

    async def __call__(self) -> bool:
        self.taken_at.append(asyncio.get_running_loop().time())
        turn = self.turns.pop(0)
        if isinstance(turn, BaseException):
            raise turn
        return turn == "on"


async def test_loop_ends_when_there_is_nothing_left_to_do() -> None:
    turns = Turns("on", "on", "end")
    await Loop("the loop").run(turns)
    assert len(turns.taken_at) == 3


async def test_loop_continues_after_any_error_and_logs_it_once(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop("the loop")
    turns = Turns(ValueError("odd"), KeyError("odd"), asyncio.CancelledError(), "on", OSError("odd"), "end")
    with caplog.at_level(logging.INFO):
        await loop.run(turns)

    assert turns.taken_at == [0, 1, 3, 7, 7, 8]
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", "the loop failed and will be retried"),
        ("WARNING", "the loop works again"),
        ("ERROR", "the loop failed and will be retried"),
        ("WARNING", "the loop works again"),
    ]
    assert "ValueError: odd" in caplog.text
    assert loop.is_working


async def test_failing_loop_is_not_working_and_is_retried_less_and_less_often() -> None:
    loop = Loop("the loop")
    turns = Turns(*[ValueError("odd")] * 20)
    running = asyncio.create_task(loop.run(turns))
    await asyncio.sleep(600)
    assert not loop.is_working
    assert turns.taken_at[-1] - turns.taken_at[-2] == LONGEST_PAUSE_SECONDS
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_cancelled_loop_ends() -> None:
    running = asyncio.create_task(Loop("the loop").run(lambda: asyncio.sleep(60, result=True)))
    await asyncio.sleep(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
