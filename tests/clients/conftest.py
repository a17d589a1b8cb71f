"""One real Airflow, one dagcall in front of it, and the programs of all clients."""

import asyncio
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.clients.table import TOOLS, Trial
from tests.clients.trials import Trials
from tests.e2e.commands import clean_environ
from tests.e2e.running_demo import RunningDemo, running_demo
from tests.e2e.serving_process import http_server
from tests.faults.record import Record, until
from tests.support.terminal import terminal_of

DAGS = Path(__file__).parent / "dags"
SETTINGS = """
[airflow]
url = "{url}"
username = "{username}"
password_file = "{password_file}"
"""


@pytest.fixture(scope="package")
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """Run a demo with this folder's dags."""
    dags = {"client_dags.py": (DAGS / "client_dags.py").read_text()}
    with running_demo(tmp_path_factory.mktemp("clients"), dags, tell=terminal_of(request.config)) as running:
        asyncio.run(dags_of(running))
        yield running


async def dags_of(demo: RunningDemo) -> None:
    """Wait until Airflow has all dags."""

    async def has_all() -> bool:
        return all([await record.has_dag(dag) for dag in TOOLS])

    async with Record(demo.airflow_url, demo.admin_password) as record:
        await until(has_all)


@pytest.fixture(scope="package")
def environ(demo: RunningDemo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of a dagcall that publishes this folder's dags."""
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
