"""`dagcall call` costs Airflow little, however many dags there are."""

import json
from collections.abc import Iterator

import pytest

from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask
from tests.fake_airflow.serving import WallClock, served
from tests.support.commands import run_dagcall
from tests.support.serving_process import environ_for


@pytest.fixture
def airflow() -> FakeAirflow:
    airflow = FakeAirflow(clock=WallClock())
    for name in ("invoice", "payroll", "report"):
        airflow.add_dag(FakeDag(name, tasks=[FakeTask("it", lambda _: 42)]))
    return airflow


@pytest.fixture
def environ(airflow: FakeAirflow) -> Iterator[dict[str, str]]:
    with served(airflow) as url:
        yield environ_for(url)


def test_call_reads_no_other_dag(airflow: FakeAirflow, environ: dict[str, str]) -> None:
    done = run_dagcall("call", "report", environ=environ)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"] == {"it": 42}
    read = [request.path for request in airflow.requests if request.route in {"dag_details", "tasks"}]
    assert read
    assert all("/report/" in path for path in read)


def test_misspelt_tool_is_suggested(environ: dict[str, str]) -> None:
    done = run_dagcall("call", "payrol", environ=environ)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("there is no tool 'payrol'; did you mean 'payroll'?")
