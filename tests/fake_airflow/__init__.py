"""Airflow in memory, over HTTP; `tests/contract/test_airflow.py` compares it with the real one.

    airflow = FakeAirflow("3.3.2")
    airflow.add_dag(FakeDag("add", params={"x": 1}, tasks=[FakeTask("one", lambda params: params["x"] + 1)]))
    async with httpx.AsyncClient(transport=airflow.transport, base_url=airflow.url) as client: ...

The modules: `dags` (what a test declares), `runs` (the life of a run), `bodies` (objects to JSON, by version),
`questions` (what Airflow accepts, and its 422), `access` (tokens and users), `wire` (recorded requests, faults),
`server` (the front), `…_routes` and `routing`, `serving` (the same behind a real socket).
"""

from tests.fake_airflow.access import FakeUser
from tests.fake_airflow.dags import NO_SUCH_POOL, NOTSET, FakeDag, FakeParam, FakeQuestion, FakeTask, SkipTask
from tests.fake_airflow.questions import Version
from tests.fake_airflow.runs import FakeClock, FakeRun, FakeTaskInstance
from tests.fake_airflow.server import FakeAirflow, FakeImportError
from tests.fake_airflow.wire import Fault, Hold, SeenRequest

__all__ = [
    "NOTSET",
    "NO_SUCH_POOL",
    "FakeAirflow",
    "FakeClock",
    "FakeDag",
    "FakeImportError",
    "FakeParam",
    "FakeQuestion",
    "FakeRun",
    "FakeTask",
    "FakeTaskInstance",
    "FakeUser",
    "Fault",
    "Hold",
    "SeenRequest",
    "SkipTask",
    "Version",
]
