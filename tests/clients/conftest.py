"""One dagcall, and the programs of all clients."""

import asyncio
import tomllib
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.clients.table import TOOLS, Trial
from tests.clients.trials import Trials
from tests.faults.record import Record, until
from tests.support.commands import clean_environ
from tests.support.running_demo import RunningDemo
from tests.support.serving_process import http_server

SETTINGS = """
[airflow]
url = "{url}"
username = "{username}"
password_file = "{password_file}"
"""


async def dags_of(demo: RunningDemo) -> None:
    """Wait until Airflow has all dags."""

    async def has_all() -> bool:
        return all([await record.has_dag(dag) for dag in TOOLS])

    async with Record(demo.airflow_url, demo.admin_password) as record:
        await until(has_all)


@pytest.fixture(scope="package")
def environ(demo: RunningDemo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of a dagcall that publishes this folder's dags."""
    asyncio.run(dags_of(demo))
    airflow = tomllib.loads(demo.config.read_text())["airflow"]
    settings = SETTINGS.format(
        url=demo.airflow_url,
        username=airflow["username"],
        password_file=demo.folder / airflow["password_file"],
    )
    tools = [
        f'\n[[tools]]\ndag = "{dag}"\nwait_seconds = 200\n' + ('on_cancel = "fail"\n' if dag == "endless" else "")
        for dag in TOOLS
    ]
    folder = tmp_path_factory.mktemp("settings")
    path = folder / "dagcall.toml"
    path.write_text("".join((settings, *tools)))
    # As for a user, a stdio server starts with the remembered tools of the previous one.
    return clean_environ(DAGCALL_CONFIG=str(path), DAGCALL_REMEMBER="true", XDG_CACHE_HOME=str(folder))


@pytest.fixture(scope="package")
def running(request: pytest.FixtureRequest, environ: dict[str, str]) -> Iterator[Trials]:
    """Run the trials of all selected tests, in their order."""
    parametrized = [getattr(item, "callspec", None) for item in request.session.items]
    selected = [spec.params["trial"] for spec in parametrized if spec is not None and "trial" in spec.params]
    with http_server(environ) as server, Trials(server.url, environ, request.config) as trials:
        trials.begin([trial for trial in selected if isinstance(trial, Trial)])
        yield trials


@pytest.fixture
async def airflow(demo: RunningDemo) -> AsyncIterator[Record]:
    """Airflow's own records."""
    async with Record(demo.airflow_url, demo.admin_password) as record:
        yield record
