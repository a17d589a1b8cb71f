import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagcall.runs.intervals import (
    LONGEST_SECONDS,
    POLL_SHORTEST_SECONDS,
    SHORTEST_SECONDS,
    interval_seconds,
    next_stream,
)


@pytest.mark.parametrize(
    ("age", "interval"),
    [(0, 0.25), (5, 0.25), (6, 0.3), (20, 1.0), (100, 5.0), (86_400, 5.0)],  # 5 % of the age, between the bounds
)
def test_the_interval_is_a_share_of_the_age(age: float, interval: float) -> None:
    assert interval_seconds(age, shortest=POLL_SHORTEST_SECONDS) == pytest.approx(interval)


def test_a_stream_lasts_until_its_interval_would_have_doubled() -> None:
    assert next_stream(0) == (SHORTEST_SECONDS, 4.0)  # 2 * 0.05 / 2.5 % = 4 s
    assert next_stream(4) == pytest.approx((0.1, 4.0))  # 2 * 0.1 / 2.5 % = 8 s of age
    assert next_stream(1000) == (LONGEST_SECONDS, 3600)


@given(st.floats(min_value=0, max_value=1e7))
def test_stream_interval_is_bounded_and_no_longer_than_the_stream(age: float) -> None:
    stream = next_stream(age)

    assert SHORTEST_SECONDS <= stream.interval_seconds <= LONGEST_SECONDS
    assert stream.lasts_seconds >= stream.interval_seconds
