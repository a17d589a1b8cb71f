"""Failed runs as their callers read them, in front of the fake Airflow."""

from typing import Any

import pytest

from dagcall.assembly import Dagcall
from dagcall.errors import RunFailed
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask, Fault
from tests.unit.conftest import Served


def explode(_: Any) -> None:
    raise ValueError("no such region; admin-password was refused")


@pytest.fixture
def airflow() -> FakeAirflow:
    airflow = FakeAirflow()
    log = [f"line {number}" for number in range(20)]
    tasks = [FakeTask("prepare", downstream=["explode"]), FakeTask("explode", explode, log=log)]
    airflow.add_dag(FakeDag("d", tasks=tasks))
    return airflow


async def failure(dagcall: Dagcall) -> list[str]:
    with pytest.raises(RunFailed) as caught:
        await dagcall.runs.call(dagcall.catalog.tool("d"), {}, caller="someone", budget_seconds=5)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"tools": [{"dag": "d"}]}, 15),
        ({"tools": [{"dag": "d"}], "server": {"log_lines": 2}}, 2),
        ({"tools": [{"dag": "d"}], "server": {"log_lines": 0}}, 0),
        ({"tools": [{"dag": "d", "log_lines": 3}], "server": {"log_lines": 0}}, 3),
        ({"tools": [{"dag": "d", "log_lines": 0}]}, 0),
    ],
)
async def test_how_much_of_a_log_is_shown_is_the_operators_choice(
    served: Served, airflow: FakeAirflow, settings: dict[str, Any], shown: int
) -> None:
    async with served(airflow, **settings) as dagcall:
        lines = await failure(dagcall)

    assert [line for line in lines if line.startswith("    ")] == [f"    line {n}" for n in range(20 - shown, 20)]


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (403, "dagcall's account in Airflow may not read task logs"),
        (404, "Airflow has no log of it"),
        (500, "Airflow could not hand out its log"),
    ],
)
async def test_a_failure_is_told_without_its_log(served: Served, airflow: FakeAirflow, status: int, why: str) -> None:
    airflow.add_fault(Fault(route="log", status=status, times=None))
    async with served(airflow) as dagcall:
        lines = await failure(dagcall)

    assert lines[1:4] == [
        f"Task explode failed on try 1 of 1: why is not known here, for {why}",
        "Had succeeded before, and is not undone: prepare.",
        "Calling again starts a new run.",
    ]
