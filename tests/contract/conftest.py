"""A fixture for six Airflows: the fake and the real one, each in three versions. One real server runs at a time."""

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import cast, get_args

import httpx
import pytest

from tests.contract.fake_side import ContractAirflow, fake_side
from tests.contract.real_airflow import real_airflow
from tests.fake_airflow import Version
from tests.support.plain_http import PLAIN
from tests.support.terminal import terminal_of

AIRFLOWS = [f"{kind}-{version}" for version in get_args(Version) for kind in ("fake", "real")]


@pytest.fixture(scope="package", params=AIRFLOWS)
def airflow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContractAirflow]:
    """An Airflow with the dags of `dags/`. It also contains the runs of other tests."""
    kind, version, *rest = cast("str", request.param).split("-")
    all_admins = rest == ["open"]
    if kind == "fake":
        yield fake_side(cast("Version", version), all_admins=all_admins)
        return
    with real_airflow(
        cast("Version", version),
        cache=request.config.cache.mkdir("airflow"),
        home=tmp_path_factory.mktemp(f"airflow-{version}"),
        tell=terminal_of(request.config),
        all_admins=all_admins,
    ) as real:
        yield real


@pytest.fixture
async def http(airflow: ContractAirflow) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the REST API, logged in as an admin."""
    async with httpx.AsyncClient(
        base_url=f"{airflow.url}/api/v2",
        transport=airflow.transport,
        headers={"Authorization": f"Bearer {airflow.token()}"},
        trust_env=False,
        verify=PLAIN,
        timeout=120,
    ) as client:
        yield client


@pytest.fixture
def run_id() -> str:
    """A run id that no other test uses."""
    return f"mcp__{uuid.uuid4().hex}"
