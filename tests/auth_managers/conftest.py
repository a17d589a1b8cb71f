"""One Airflow per module, of the fixture `airflow` that it defines; each test has its own dagcall."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest
import pytest_asyncio

from tests.faults.record import Record
from tests.support.commands import clean_environ
from tests.support.own_airflow import OwnAirflow
from tests.support.serving_process import HttpServer, http_server

Serve = Callable[..., HttpServer]


@pytest_asyncio.fixture(loop_scope="module")
async def record(airflow: OwnAirflow) -> AsyncIterator[Record]:
    async with Record(airflow.url, "admin") as found:
        yield found


@pytest.fixture
def serve(airflow: OwnAirflow) -> Iterator[Serve]:
    """Return a function that runs `dagcall serve` with one of Airflow's accounts until the test ends."""
    with ExitStack() as running:

        def start(account: str = "", *, password: str | None = None, **settings: str) -> HttpServer:
            by_name = {"DAGCALL_AIRFLOW_USERNAME": account, "DAGCALL_AIRFLOW_PASSWORD": password or account}
            usual = {
                "DAGCALL_AIRFLOW_URL": airflow.url,
                "DAGCALL_DAGS": "*",
                "DAGCALL_REMEMBER": "false",
                "DAGCALL_REFRESH_SECONDS": "1",
            }
            environ = clean_environ(**usual | (by_name if account else {}) | settings)
            return running.enter_context(http_server(environ))

        yield start
