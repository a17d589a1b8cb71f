"""The retry policy: how a request to Airflow, or several that belong together, are retried.

Pauses double from 0.2 to 3 seconds and vary, so that calls that failed together do not return together; a pause that
Airflow asks for (`Retry-After`) replaces them. No attempt begins after the deadline.

Which errors are retried differs, and each caller passes its rule:

| What                             | Retried                                                                  |
|----------------------------------|--------------------------------------------------------------------------|
| a read, an answer, a cancel      | `AirflowRest.may_retry`: a few times, and within the retry budget        |
| a start while the breaker is     | `is_not_sent`: waits for Airflow until the call's deadline               |
| open                             |                                                                          |
| a start whose outcome is unknown | `is_unreachable`, for a minute: a wrong "nothing was started" costs more |
| an outcome, a task log           | `is_unreachable`, until the deadline: the run has done its work already  |
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina

from dagcall.errors import AirflowError, AirflowUnreachable, CircuitOpen

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 3.0

MayRetry = Callable[[Exception], bool | float]
"""Returns whether to retry after an error; a number above 0 is a pause in seconds before it."""

_T = TypeVar("_T")


async def retry(
    ask: Callable[[], Awaitable[_T]],
    *,
    may_retry: MayRetry,
    attempts: int | None = None,
    until: float = float("inf"),
) -> _T:
    """Send a request, and retry it after errors.

    The first attempt runs without stamina: most succeed, and setting it up costs a twentieth of a call's work.

    Args:
        ask: sends the request.
        may_retry: which errors are retried.
        attempts: maximum attempts; None for as many as fit.
        until: when the last attempt may begin, by the loop's clock.

    Raises:
        AirflowError: that of the last attempt.
    """
    try:
        return await ask()
    except AirflowError as error:
        first = error
    now = asyncio.get_running_loop().time

    def may_retry_in_time(error: Exception) -> bool | float:
        if now() + FIRST_PAUSE_SECONDS > until or not (pause := may_retry(error)):
            return False
        if pause is True:
            return True
        return pause + random.uniform(0, 0.5) if now() + pause <= until else False  # noqa: S311 - spreads the calls

    async for attempt in stamina.retry_context(
        on=may_retry_in_time,
        attempts=attempts,
        wait_initial=FIRST_PAUSE_SECONDS,
        wait_max=LONGEST_PAUSE_SECONDS,
        timeout=None,
    ):
        with attempt:
            if attempt.num == 1:
                raise first
            return await ask()
    raise AssertionError  # pragma: no cover - retry_context ends by returning or raising


def is_unreachable(error: Exception) -> bool | float:
    """Say whether Airflow did not answer, or only that it cannot answer now."""
    if not isinstance(error, AirflowUnreachable):
        return False
    return error.retry_after_seconds or True


def is_not_sent(error: Exception) -> bool | float:
    """Say whether the request was not sent, because the breaker is open."""
    return isinstance(error, CircuitOpen) and is_unreachable(error)
