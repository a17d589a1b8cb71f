"""Airflow's clock as its answers tell it: never ahead, hardly behind."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagcall.airflow.clock import DRIFT, STALE_SECONDS, AirflowClock
from tests.fake_airflow import FakeAirflow
from tests.fake_airflow.serving import WallClock
from tests.server.test_calls import add, answer
from tests.support.in_memory import Served

START = datetime(2026, 11, 28, 12, tzinfo=UTC)


class Clocks:
    """Airflow's true clock and dagcall's own, and an answer of Airflow now and then."""

    def __init__(self, ahead: timedelta = timedelta(hours=1)) -> None:
        self.seconds = 0.0
        self.ahead = ahead
        self.start = START
        self.clock = AirflowClock(own=lambda: self.true + self.ahead, monotonic=lambda: self.seconds)

    @property
    def true(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)

    def answer(self, *, sending: float = 0.0, coming: float = 0.0, old: float = 0.0) -> None:
        """Ask Airflow: it takes a while to arrive, to be answered from a Date that is a little old, and to come."""
        sent_at = self.seconds
        self.seconds += sending
        date = format_datetime(self.true - timedelta(seconds=old), usegmt=True)
        self.seconds += coming
        self.clock.hear(date, sent_at=sent_at)

    @property
    def behind(self) -> float:
        """How far the clock is behind Airflow's."""
        return (self.true - self.clock.now()).total_seconds()


def test_before_any_answer_it_is_dagcalls_own() -> None:
    clocks = Clocks()
    assert clocks.clock.now() == START + timedelta(hours=1)
    assert clocks.clock.timestamp() == (START + timedelta(hours=1)).timestamp()
    assert clocks.clock.seconds_since(START) == 0


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1)])
def test_after_the_first_answer_it_is_airflows(ahead: timedelta) -> None:
    clocks = Clocks(ahead)
    clocks.seconds = 0.4
    clocks.answer(sending=0.1, coming=0.2)
    assert 0 <= clocks.behind <= 1.2
    assert clocks.clock.seconds_since(START - timedelta(seconds=100)) == pytest.approx(100, abs=1)
    assert clocks.clock.seconds_since(START + timedelta(seconds=100)) == 0
    assert clocks.clock.timestamp() == pytest.approx(START.timestamp(), abs=1)


@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 2), st.floats(0, 2), st.floats(0, 1)), min_size=1, max_size=60)
)
def test_it_is_never_ahead_of_airflows(answers: list[tuple[float, float, float, float]]) -> None:
    clocks = Clocks()
    for pause, sending, coming, old in answers:
        clocks.seconds += pause
        clocks.answer(sending=sending, coming=coming, old=old)
        assert clocks.behind > -0.001  # a microsecond for each time that it was read at the same moment


def test_many_answers_bring_it_close() -> None:
    clocks = Clocks()
    for _ in range(200):
        clocks.seconds += 0.37
        clocks.answer(sending=0.01, coming=0.01)
    assert 0 <= clocks.behind < 0.1


def test_one_slow_answer_does_not_set_it_back() -> None:
    clocks = Clocks()
    clocks.answer()
    clocks.seconds += 10
    clocks.answer(coming=30)
    assert 0 <= clocks.behind < 1


def test_clock_that_is_set_back_is_followed_at_once() -> None:
    clocks = Clocks()
    clocks.answer()
    clocks.start -= timedelta(seconds=60)
    clocks.seconds += 1
    clocks.answer()
    assert 0 <= clocks.behind <= 1


def test_clock_that_is_set_ahead_is_followed_at_once() -> None:
    clocks = Clocks()
    clocks.answer()
    clocks.start += timedelta(seconds=60)
    clocks.seconds += 1
    clocks.answer()
    assert 0 <= clocks.behind <= 1


def test_clock_that_runs_slower_is_followed() -> None:
    clocks = Clocks()
    clocks.answer()
    for _ in range(1000):
        clocks.seconds += 100
        clocks.start -= timedelta(seconds=100 * DRIFT / 10)
        clocks.answer()
        assert -0.001 < clocks.behind <= 1 + STALE_SECONDS


@pytest.mark.parametrize("date", ["", "yesterday", "Sat, 31 Feb 2026 00:00:00 GMT"])
def test_date_that_is_none_is_passed_over(date: str) -> None:
    clocks = Clocks()
    clocks.clock.hear(date, sent_at=0)
    assert clocks.clock.now() == START + timedelta(hours=1)


def test_no_two_readings_are_the_same() -> None:
    clocks = Clocks()
    clocks.answer()
    readings = [clocks.clock.now() for _ in range(100)]
    assert len(set(readings)) == 100
    assert readings == sorted(readings)


class AnotherClock(WallClock):
    """Airflow's, where dagcall's own is ahead of it, or behind."""

    def __init__(self, ahead: timedelta) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        return super().now() - self.ahead


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1)])
async def test_logical_date_is_never_in_airflows_future(served: Served, ahead: timedelta) -> None:
    """Tasks of a run wait for its logical date."""
    airflow = FakeAirflow(clock=AnotherClock(ahead))
    airflow.add_dag(add())
    async with served(airflow) as dagcall:
        await answer(dagcall, "add", x=1)
    (run,) = airflow.runs
    assert run.logical_date is not None
    assert timedelta() <= run.queued_at - run.logical_date < timedelta(seconds=STALE_SECONDS)


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1)])
async def test_token_is_renewed_by_airflows_clock(served: Served, ahead: timedelta) -> None:
    airflow = FakeAirflow(clock=AnotherClock(ahead))
    airflow.access.token_seconds = 300
    airflow.add_dag(add())
    async with served(airflow) as dagcall:
        for x in range(5):
            await answer(dagcall, "add", x=x)
    assert airflow.access.logins == 1


async def test_airflow_behind_something_that_hides_its_date(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.says_date = False
    airflow.add_dag(add())
    async with served(airflow) as dagcall:
        assert (await answer(dagcall, "add", x=1))["results"] == {"total": 3}
