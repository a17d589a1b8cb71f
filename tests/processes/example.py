"""The Airflow of most of these tests."""

from tests.fake_airflow import NOTSET, FakeAirflow, FakeDag, FakeParam, FakeTask
from tests.fake_airflow.serving import WallClock


def airflow_with_dags() -> FakeAirflow:
    """Return an Airflow with two dags that return their argument, and one whose runs do not end."""
    airflow = FakeAirflow(clock=WallClock())
    airflow.add_dag(FakeDag("echo", params={"it": ""}, tasks=[FakeTask("back", lambda params: params["it"])]))
    airflow.add_dag(FakeDag("nest", params={"it": []}, tasks=[FakeTask("back", lambda params: params["it"])]))
    required = {"x": FakeParam(NOTSET, type="integer")}
    airflow.add_dag(FakeDag("endless", params=required, tasks=[FakeTask("work")], checks=None))
    return airflow
