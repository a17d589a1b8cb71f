from dagcall.airflow.overload import (
    FAILURES_TO_OPEN,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    RETRY_RESERVE,
    Breaker,
    RetryBudget,
)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES_TO_OPEN):
        assert breaker.allows(now)
        breaker.failure(now)
    return breaker


def test_breaker_opens_only_after_consecutive_failures() -> None:
    breaker = Breaker()
    for _ in range(FAILURES_TO_OPEN - 1):
        breaker.failure(0)
    breaker.success()
    breaker.failure(0)

    assert not breaker.is_open
    assert opened().is_open


def test_open_breaker_allows_one_request_after_each_pause() -> None:
    breaker = opened()

    assert not breaker.allows(FIRST_PAUSE_SECONDS - 0.1)
    assert breaker.seconds_to_next_try(0.5) == FIRST_PAUSE_SECONDS - 0.5
    assert breaker.allows(FIRST_PAUSE_SECONDS)
    assert not breaker.allows(FIRST_PAUSE_SECONDS)
    assert breaker.seconds_away(FIRST_PAUSE_SECONDS) == FIRST_PAUSE_SECONDS


def test_late_failure_of_an_earlier_request_does_not_extend_the_pause() -> None:
    breaker = opened()
    breaker.failure(1)
    assert breaker.seconds_to_next_try(1) == FIRST_PAUSE_SECONDS - 1


def test_pauses_double_up_to_a_maximum_and_end_with_an_answer() -> None:
    breaker, now = opened(), 0.0
    for _ in range(10):
        now += breaker.seconds_to_next_try(now)
        assert breaker.allows(now)
        breaker.failure(now)

    assert breaker.seconds_to_next_try(now) == LONGEST_PAUSE_SECONDS
    breaker.success()
    assert breaker.allows(now)
    assert breaker.seconds_to_next_try(now) == 0


def test_retry_budget_is_a_reserve_plus_a_tenth_of_the_requests() -> None:
    budget = RetryBudget()

    assert [budget.take() for _ in range(int(RETRY_RESERVE) + 1)] == [True] * int(RETRY_RESERVE) + [False]
    for _ in range(20):
        budget.request()
    assert [budget.take() for _ in range(3)] == [True, True, False]  # 20 * 0.1 = 2
