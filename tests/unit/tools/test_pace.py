"""What one refresh may do, and how long the next one waits."""

import pytest

from dagcall.tools.pace import REQUESTS_A_MINUTE, SMALL, Pace, pace_of


@pytest.mark.parametrize("dags", [0, 1, SMALL])
@pytest.mark.parametrize("every_seconds", [1, 30, 3600])
def test_small_catalog_is_reread_at_each_refresh(dags: int, every_seconds: float) -> None:
    assert pace_of(dags, 3, every_seconds) == Pace(every_seconds, 2 * dags)


@pytest.mark.parametrize(
    ("dags", "listing_requests", "pace"),
    [
        pytest.param(100, 3, Pace(30, 7), id="as often as the operator asks"),
        pytest.param(1000, 12, Pace(72, 12), id="less often, because the list is long"),
        pytest.param(10_000, 102, Pace(612, 102), id="much less often"),
    ],
)
def test_large_catalog_is_listed_and_reread_by_turns(dags: int, listing_requests: int, pace: Pace) -> None:
    assert pace_of(dags, listing_requests, 30) == pace


@pytest.mark.parametrize("every_seconds", [1, 5, 30, 300, 86_400])
@pytest.mark.parametrize("listing_requests", [3, 7, 12, 40, 1000])
def test_large_catalog_in_which_nothing_changes_stays_within_the_budget(
    listing_requests: int, every_seconds: float
) -> None:
    pace = pace_of(1000, listing_requests, every_seconds)
    assert pace.rereads >= 1
    assert listing_requests + pace.rereads <= REQUESTS_A_MINUTE * pace.pause_seconds / 60
    assert pace.pause_seconds >= every_seconds


def test_seconds_for_rereads_are_those_of_whole_refreshes() -> None:
    assert Pace(72, 12).seconds_for(1000) == 84 * 72
