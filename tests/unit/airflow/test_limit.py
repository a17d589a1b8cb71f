"""The adaptive limit: what one gate does with what it sees. `test_shared_airflow` shows several of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagcall.airflow.latency import ASSUME_SECONDS, FORGET_SECONDS, ROUND
from dagcall.airflow.overload import FIRST_LIMIT, GIVE_UP_AFTER_SECONDS, Limit

CALM = 0.01


def see(
    limit: Limit, seconds: float, *, rounds: int = 1, use: float = 1.0, now: float = 0.0, kind: str = "read"
) -> None:
    for _ in range(rounds * ROUND):
        limit.answered(kind, seconds, calm=CALM, use=use, now=now)


def grown(ceiling: int = 32) -> Limit:
    limit = Limit(ceiling)
    see(limit, CALM, rounds=100)
    assert limit.current == ceiling
    return limit


def test_fast_answers_raise_the_limit_up_to_the_ceiling() -> None:
    limit, seen = Limit(8), []
    for _ in range(8):
        seen.append(limit.current)
        see(limit, CALM)

    assert seen[0] == FIRST_LIMIT
    assert seen[-1] == limit.current == 8
    assert seen == sorted(seen)


def test_slow_answers_lower_the_limit_down_to_the_floor() -> None:
    assert lowered_to(seconds=10 * CALM, floor=1) == 1
    assert lowered_to(seconds=10 * CALM, floor=3) == 3
    assert 2 <= lowered_to(seconds=3 * CALM, floor=1) <= 4


def lowered_to(*, seconds: float, floor: int) -> int:
    limit = Limit(32, floor)
    see(limit, CALM, rounds=100)
    see(limit, seconds, rounds=20)
    return limit.current


def test_a_few_late_answers_do_not_lower_the_limit() -> None:
    limit = grown()
    for n in range(10 * ROUND):
        limit.answered("read", 1.0 if n % 3 == 0 else CALM, calm=CALM, use=1, now=0)

    assert limit.current == 32


def test_kinds_of_requests_are_not_compared_with_each_other() -> None:
    limit = Limit(32)
    for _ in range(60 * ROUND):
        limit.answered("read", CALM, calm=CALM, use=1, now=0)
        limit.answered("log", 50 * CALM, calm=50 * CALM, use=1, now=0)

    assert limit.current == 32


@pytest.mark.parametrize("use", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("seconds", [CALM, 100 * CALM])
def test_answers_of_a_gate_that_is_not_full_change_nothing(use: float, seconds: float) -> None:
    limit = Limit(32)
    see(limit, CALM, rounds=4)
    before = limit.current
    see(limit, seconds, rounds=50, use=use)

    assert limit.current == before


def test_places_that_are_not_needed_are_given_up_after_a_second() -> None:
    limit = grown()

    assert limit.admitted(32, waiting=0, now=10) == 1
    limit.admitted(5, waiting=0, now=10.5)
    assert limit.current == 32
    assert limit.admitted(3, waiting=0, now=10.1 + GIVE_UP_AFTER_SECONDS) == 3 / 32
    assert limit.current == 5
    limit.admitted(1, waiting=0, now=100)
    assert limit.current == FIRST_LIMIT


def test_waiting_requests_count_as_use() -> None:
    assert Limit(32).admitted(FIRST_LIMIT, waiting=FIRST_LIMIT, now=0) == 2


def test_requests_that_wait_only_for_their_share_do_not_count_as_use() -> None:
    assert Limit(32).admitted(1, waiting=100, now=0) == 1 / FIRST_LIMIT


def test_gate_that_was_lowered_to_one_place_starts_anew_after_a_second_of_light_use() -> None:
    limit = Limit(32)
    see(limit, 100 * CALM)
    assert limit.current == 1

    assert limit.admitted(1, waiting=0, now=10) == 1 / FIRST_LIMIT
    assert limit.current == FIRST_LIMIT


def test_busy_gate_does_not_get_used_to_slow_answers() -> None:
    limit = Limit(32)
    for minute in range(100):
        see(limit, 20 * CALM, rounds=10, now=60 * minute)

    assert limit.current == 1


def test_calm_gate_forgets_how_fast_airflow_was() -> None:
    limit = Limit(32)
    see(limit, CALM / 2, use=0.5)
    see(limit, 5 * CALM, use=0.5, now=ASSUME_SECONDS + 1)
    see(limit, 5 * CALM, rounds=20, now=ASSUME_SECONDS + 2)
    assert limit.current == 1

    see(limit, 5 * CALM, use=0.5, now=ASSUME_SECONDS + FORGET_SECONDS + 2)
    see(limit, 5 * CALM, rounds=30, now=ASSUME_SECONDS + FORGET_SECONDS + 3)
    assert limit.current == 32


def test_assumed_latency_is_forgotten_when_calm_answers_differ() -> None:
    limit = Limit(32)
    see(limit, 5 * CALM, use=0.5, now=0)
    see(limit, 5 * CALM, use=0.5, now=ASSUME_SECONDS + 1)
    see(limit, 5 * CALM, rounds=30, now=ASSUME_SECONDS + 2)

    assert limit.current == 32


def test_trouble_halves_the_limit_at_most_once_a_second_and_it_grows_back_slowly() -> None:
    limit = grown(8)

    limit.trouble(now=0)
    limit.trouble(now=0.5)
    assert limit.current == 4
    limit.trouble(now=1)
    assert limit.current == 2
    limit.success(now=10)
    see(limit, CALM, rounds=20, now=10)
    assert limit.current == 2
    limit.success(now=11)
    limit.success(now=12)
    assert limit.current == 3


EVENTS = st.one_of(
    st.just("trouble"), st.just("success"), st.tuples(st.integers(1, 40), st.integers(0, 40), st.floats(0, 60))
)


@given(st.integers(1, 4), st.integers(4, 64), st.lists(st.tuples(EVENTS, st.floats(0, 100)), max_size=50))
def test_the_limit_stays_between_floor_and_ceiling(
    floor: int, ceiling: int, events: list[tuple[str | tuple[int, int, float], float]]
) -> None:
    limit, now = Limit(ceiling, floor), 0.0
    for event, seconds in events:
        now += seconds
        match event:
            case "trouble":
                limit.trouble(now)
            case (int(in_flight), int(waiting), float(latency)):
                use = limit.admitted(in_flight, waiting=waiting, now=now)
                see(limit, latency, use=use, now=now)
            case _:
                limit.success(now)
        assert floor <= limit.current <= ceiling
