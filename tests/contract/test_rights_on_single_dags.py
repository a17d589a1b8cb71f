"""An account with permissions for some dags only, on the fake and on the real Airflow.

Airflow's simple auth manager does not support such accounts, so the real Airflow uses a subclass that does. Airflow
itself decides which requests it refuses and which lists it filters.
"""

import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from dagcall.airflow.client import AirflowApi, DagQuery
from dagcall.airflow.credentials import Credentials, static_token
from dagcall.airflow.gate import Gate
from dagcall.airflow.rest import AirflowRest
from dagcall.errors import AirflowRefused
from dagcall.tools.catalog import Catalog
from dagcall.tools.policy import ToolPolicy
from tests.contract.conftest import AIRFLOWS
from tests.contract.fake_side import ContractAirflow, fake_side
from tests.contract.real_airflow import real_airflow
from tests.fake_airflow import Version
from tests.fake_airflow.access import FakeUser
from tests.support.plain_http import PLAIN
from tests.support.terminal import terminal_of

SEEN = ("many_000", "one_task")
MANAGER = f"""
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class Manager(SimpleAuthManager):
    def is_authorized_dag(self, *, details=None, **more):
        if details is not None and details.id is not None and details.id not in {SEEN}:
            return False
        if more.get("access_entity") == DagAccessEntity.VERSION and more["user"].username == "viewer":
            return False
        return super().is_authorized_dag(details=details, **more)
"""


@pytest.fixture(scope="module", params=AIRFLOWS)
def airflow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContractAirflow]:
    kind, version = cast("str", request.param).split("-")
    if kind == "fake":
        side = fake_side(cast("Version", version))
        side.fake.access.users["admin"] = FakeUser("admin", "admin", readable=frozenset(SEEN))
        side.fake.access.users["viewer"] = FakeUser("viewer", "viewer", "viewer", may_read_versions=False)
        yield side
        return
    with real_airflow(
        cast("Version", version),
        cache=request.config.cache.mkdir("airflow"),
        home=tmp_path_factory.mktemp(f"airflow-{version}"),
        tell=terminal_of(request.config),
        auth_manager=MANAGER,
    ) as real:
        yield real


@pytest.fixture(params=["admin"])
async def api(request: pytest.FixtureRequest, airflow: ContractAirflow) -> AsyncIterator[AirflowApi]:
    credentials = Credentials(static_token(airflow.token(request.param)), now=time.time)
    rest = AirflowRest(airflow.url, credentials, gate=Gate(), transport=airflow.transport, verify=PLAIN)
    yield AirflowApi(rest)
    await rest.aclose()


@pytest.mark.parametrize("dag_id", ["required_param", "no_such_dag"])
async def test_hidden_and_missing_dags_are_refused_in_the_same_way(api: AirflowApi, dag_id: str) -> None:
    for question in (api.fetch_summary(dag_id), api.fetch_dag(dag_id), api.fetch_run(dag_id, "r")):
        with pytest.raises(AirflowRefused, match="403: Forbidden"):
            await question


async def test_lists_omit_hidden_dags(api: AirflowApi) -> None:
    assert [dag.dag_id for dag in await api.fetch_dags(DagQuery())] == list(SEEN)
    assert await api.count_dags() == len(SEEN)
    assert {version.dag_id for version in await api.fetch_versions()} == set(SEEN)


@pytest.mark.parametrize("api", ["viewer"], indirect=True)
async def test_versions_are_refused_to_an_account_that_may_not_read_them(api: AirflowApi) -> None:
    with pytest.raises(AirflowRefused, match=r"/dags/~/dagVersions \(403: Forbidden\)"):
        await api.fetch_versions()


async def test_shared_request_with_a_hidden_dag_is_answered_for_the_others(api: AirflowApi, run_id: str) -> None:
    await api.trigger("one_task", run_id=run_id, conf={}, logical_date=None, note="")
    dag_ids = ["one_task", "required_param"]
    assert ("one_task", run_id) in await api.fetch_unfinished_run_ids(dag_ids)
    await api.set_run_failed("one_task", run_id)
    day = datetime.now(UTC) - timedelta(days=1)  # noqa: TID251 - a day is enough for any clock
    ended = await api.fetch_finished_runs(dag_ids, since=day, triggered_since=day)
    assert run_id in [run.dag_run_id for run in ended]
    await api.fetch_insides({("one_task", run_id), ("required_param", "r")})
    await api.fetch_questions({("one_task", run_id)})


async def test_allow_list_with_hidden_dags_publishes_the_others(api: AirflowApi) -> None:
    entries = ("one_task", "required_param", "no_such_dag")
    catalog = Catalog(api, (*(ToolPolicy(dag=dag_id) for dag_id in entries), ToolPolicy(dags="many_*")))
    found = await catalog.refresh()
    assert found.problem is None
    assert list(found.tools) == ["many_000", "one_task"]
    assert {item.what for item in found.withheld} == {"required_param", "no_such_dag"}
    assert all("403: Forbidden" in item.reason for item in found.withheld)
