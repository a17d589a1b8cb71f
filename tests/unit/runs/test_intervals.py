import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagcall.runs.intervals import (
    LONE_SHORTEST_SECONDS,
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
    assert next_stream(0, is_alone=False) == (SHORTEST_SECONDS, 4.0)  # 2 * 0.05 / 2.5 % = 4 s
    assert next_stream(4, is_alone=False) == pytest.approx((0.1, 4.0))  # 2 * 0.1 / 2.5 % = 8 s of age
    assert next_stream(1000, is_alone=False) == (LONGEST_SECONDS, 3600)


def test_stream_of_the_only_run_has_shorter_intervals() -> None:
    assert next_stream(0, is_alone=True) == (LONE_SHORTEST_SECONDS, 4.0)  # 2 * 0.025 / 1.25 % = 4 s
    assert next_stream(4, is_alone=True) == pytest.approx((0.05, 4.0))
    assert next_stream(1000, is_alone=True) == (LONGEST_SECONDS, 3600)


@given(st.floats(min_value=0, max_value=1e7), st.booleans())
def test_stream_interval_is_bounded_and_no_longer_than_the_stream(age: float, is_alone: bool) -> None:  # noqa: FBT001 - hypothesis
    stream = next_stream(age, is_alone=is_alone)

    assert LONE_SHORTEST_SECONDS <= stream.interval_seconds <= LONGEST_SECONDS
    assert stream.lasts_seconds >= stream.interval_seconds
