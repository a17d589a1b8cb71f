"""The retry policy."""

import asyncio
from collections.abc import Callable

import pytest

from dagcall.airflow.retry_policy import LONGEST_PAUSE_SECONDS, is_not_sent, is_unreachable, retry
from dagcall.errors import AirflowError, AirflowNotFound, AirflowUnreachable, CircuitOpen

pytestmark = pytest.mark.virtual_time

AWAY = AirflowUnreachable("no answer", is_effect_possible=False)
LATER = AirflowUnreachable("later", is_effect_possible=False, retry_after_seconds=20.0)
OPEN = CircuitOpen("not sent", is_effect_possible=False, retry_after_seconds=1.0)


class Flaky:
    """A request that fails a number of times."""

    def __init__(self, error: AirflowError, failures: int) -> None:
        self.error = error
        self.failures = failures
        self.asked_at: list[float] = []

    async def __call__(self) -> str:
        self.asked_at.append(asyncio.get_running_loop().time())
        if len(self.asked_at) <= self.failures:
            raise self.error
        return "done"

    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.asked_at, self.asked_at[1:], strict=False)]


async def test_pauses_grow_up_to_a_limit() -> None:
    ask = Flaky(AWAY, failures=12)

    assert await retry(ask, may_retry=is_unreachable) == "done"
    pauses = ask.pauses()
    assert 0.2 <= pauses[0] <= 1.2
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE_SECONDS)


async def test_retry_after_replaces_the_pause() -> None:
    ask = Flaky(LATER, failures=1)

    await retry(ask, may_retry=is_unreachable)
    assert 20.0 <= ask.pauses()[0] <= 20.5


@pytest.mark.parametrize(("error", "until", "asked"), [(AWAY, 0.1, 1), (LATER, 19.0, 1), (LATER, 21.0, 2)])
async def test_no_attempt_begins_after_the_deadline(error: AirflowError, until: float, asked: int) -> None:
    ask = Flaky(error, failures=100)
    now = asyncio.get_running_loop().time()

    with pytest.raises(AirflowUnreachable):
        await retry(ask, may_retry=is_unreachable, until=now + until)
    assert len(ask.asked_at) == asked


async def test_the_last_error_is_raised_after_all_attempts() -> None:
    ask = Flaky(AWAY, failures=100)

    with pytest.raises(AirflowUnreachable, match="no answer"):
        await retry(ask, may_retry=is_unreachable, attempts=3)
    assert len(ask.asked_at) == 3


@pytest.mark.parametrize(
    ("error", "may_retry", "is_retried"),
    [
        (AWAY, is_unreachable, True),
        (OPEN, is_unreachable, True),
        (OPEN, is_not_sent, True),
        (AWAY, is_not_sent, False),
        (AirflowNotFound("gone"), is_unreachable, False),
    ],
)
async def test_only_errors_that_the_rule_names_are_retried(
    error: AirflowError, may_retry: Callable[[Exception], bool | float], *, is_retried: bool
) -> None:
    ask = Flaky(error, failures=1)

    if is_retried:
        assert await retry(ask, may_retry=may_retry) == "done"
    else:
        with pytest.raises(type(error)):
            await retry(ask, may_retry=may_retry)
    assert len(ask.asked_at) == 1 + is_retried
