"""Airflow's clock, estimated from its answers: never ahead of the true one, and at most about a second behind."""

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
    """Airflow's true clock, dagcall's own clock, and answers of Airflow."""

    def __init__(self, ahead: timedelta = timedelta(hours=1)) -> None:
        self.seconds = 0.0
        self.ahead = ahead
        self.start = START
        self.clock = AirflowClock(own=lambda: self.true + self.ahead, monotonic=lambda: self.seconds)

    @property
    def true(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)

    def answer(self, *, sending: float = 0.0, coming: float = 0.0, old: float = 0.0) -> None:
        """Exchange a request and an answer: both take a while, and the answer's Date is a little old."""
        sent_at = self.seconds
        self.seconds += sending
        date = format_datetime(self.true - timedelta(seconds=old), usegmt=True)
        self.seconds += coming
        self.clock.hear(date, sent_at=sent_at)

    @property
    def behind(self) -> float:
        """How many seconds the clock is behind Airflow's."""
        return (self.true - self.clock.now()).total_seconds()


def test_clock_is_dagcalls_own_before_the_first_answer() -> None:
    clocks = Clocks()
    assert clocks.clock.now() == START + timedelta(hours=1)
    assert clocks.clock.timestamp() == (START + timedelta(hours=1)).timestamp()
    assert clocks.clock.seconds_since(START) == 0


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1)])
def test_clock_follows_airflow_after_the_first_answer(ahead: timedelta) -> None:
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
def test_clock_is_never_ahead_of_airflow(answers: list[tuple[float, float, float, float]]) -> None:
    clocks = Clocks()
    for pause, sending, coming, old in answers:
        clocks.seconds += pause
        clocks.answer(sending=sending, coming=coming, old=old)
        assert clocks.behind > -0.001  # readings at the same moment differ by a microsecond each


def test_many_answers_make_the_clock_accurate() -> None:
    clocks = Clocks()
    for _ in range(200):
        clocks.seconds += 0.37
        clocks.answer(sending=0.01, coming=0.01)
    assert 0 <= clocks.behind < 0.1


def test_slow_answer_does_not_set_the_clock_back() -> None:
    clocks = Clocks()
    clocks.answer()
    clocks.seconds += 10
    clocks.answer(coming=30)
    assert 0 <= clocks.behind < 1


def test_backward_jump_of_airflows_clock_is_followed_at_once() -> None:
    clocks = Clocks()
    clocks.answer()
    clocks.start -= timedelta(seconds=60)
    clocks.seconds += 1
    clocks.answer()
    assert 0 <= clocks.behind <= 1


def test_forward_jump_of_airflows_clock_is_followed_at_once() -> None:
    clocks = Clocks()
    clocks.answer()
    clocks.start += timedelta(seconds=60)
    clocks.seconds += 1
    clocks.answer()
    assert 0 <= clocks.behind <= 1


def test_slow_airflow_clock_is_followed() -> None:
    clocks = Clocks()
    clocks.answer()
    for _ in range(1000):
        clocks.seconds += 100
        clocks.start -= timedelta(seconds=100 * DRIFT / 10)
        clocks.answer()
        assert -0.001 < clocks.behind <= 1 + STALE_SECONDS


@pytest.mark.parametrize("date", ["", "yesterday", "Sat, 31 Feb 2026 00:00:00 GMT"])
def test_invalid_date_is_ignored(date: str) -> None:
    clocks = Clocks()
    clocks.clock.hear(date, sent_at=0)
    assert clocks.clock.now() == START + timedelta(hours=1)


def test_readings_are_unique_and_increasing() -> None:
    clocks = Clocks()
    clocks.answer()
    readings = [clocks.clock.now() for _ in range(100)]
    assert len(set(readings)) == 100
    assert readings == sorted(readings)


class AnotherClock(WallClock):
    """Airflow's clock, which differs from dagcall's."""

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
async def test_token_is_not_renewed_early_when_the_clocks_differ(served: Served, ahead: timedelta) -> None:
    airflow = FakeAirflow(clock=AnotherClock(ahead))
    airflow.access.token_seconds = 300
    airflow.add_dag(add())
    async with served(airflow) as dagcall:
        for x in range(5):
            await answer(dagcall, "add", x=x)
    assert airflow.access.logins == 1


async def test_call_succeeds_without_a_date_header(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.says_date = False
    airflow.add_dag(add())
    async with served(airflow) as dagcall:
        assert (await answer(dagcall, "add", x=1))["results"] == {"total": 3}
