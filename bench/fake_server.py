"""tests/fake_airflow behind a socket. Run as a process.

python fake_server.py PORT DAGS
"""

import sys

import uvicorn
from tests.fake_airflow import FakeAirflow, FakeDag, FakeParam, FakeTask
from tests.fake_airflow.serving import WallClock, as_asgi

NUMBER = {"n": FakeParam(1, type="integer")}


def doubling_airflow(dags: int) -> FakeAirflow:
    """Return an Airflow of so many dags that double a number, whose runs end at once."""
    airflow = FakeAirflow(clock=WallClock(), steady_streams=True)
    for number in range(dags):
        task = FakeTask("double", lambda params: {"double": 2 * params["n"]})
        airflow.add_dag(FakeDag(f"double_{number}", params=NUMBER, tasks=[task], checks=0, max_active_runs=10**6))
    return airflow


def main(port: int, dags: int) -> None:
    """Serve them, and one dag whose runs never end."""
    airflow = doubling_airflow(dags)
    airflow.add_dag(FakeDag("wait", params=NUMBER, tasks=[FakeTask("sleep")], checks=None))
    # Not `served`: uvicorn opens the port itself here, and so sets TCP_NODELAY, as a real api-server's does.
    uvicorn.run(as_asgi(airflow), host="127.0.0.1", port=port, log_level="critical", lifespan="off")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
