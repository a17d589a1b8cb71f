"""dagcall in front of an Airflow with the auth manager for Keycloak.

Airflow's token lives a day; Keycloak's token inside it, from which Airflow takes the rights, lives minutes.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.auth_managers.airflow import DAGS
from tests.auth_managers.calls import client_of, content_of, dag_tools
from tests.auth_managers.conftest import Serve
from tests.auth_managers.keycloak import CACHE_SECONDS, keycloak_airflow
from tests.auth_managers.realm import CLIENT_ID, CLIENT_SECRET, Realm
from tests.faults.record import Record
from tests.support.clients import text_of
from tests.support.commands import clean_environ, run_dagcall
from tests.support.own_airflow import OwnAirflow
from tests.support.terminal import terminal_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def airflow_and_realm(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[OwnAirflow, Realm]]:
    async with keycloak_airflow(tmp_path_factory.mktemp("keycloak"), terminal_of(request.config)) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(airflow_and_realm: tuple[OwnAirflow, Realm]) -> OwnAirflow:
    return airflow_and_realm[0]


@pytest.fixture
def realm(airflow_and_realm: tuple[OwnAirflow, Realm]) -> Iterator[Realm]:
    """Return the realm, whose settings the test may change."""
    realm = airflow_and_realm[1]
    usual = realm.access_seconds
    yield realm
    realm.access_seconds, realm.is_away = usual, False


async def test_user_can_do_everything(serve: Serve, record: Record) -> None:
    async with client_of(serve("user")) as client:
        assert await dag_tools(client) == set(DAGS)
        assert content_of(await client.call_tool("add", {"x": 1}))["results"] == {"total": 2}
        assert "ValueError: 1 is no good" in text_of(await client.call_tool("broken", {"x": 1}))
        calling = asyncio.create_task(client.call_tool("held", {"x": 1}))
        run = await record.the_new_run("held", 1)
        cancelled = await client.call_tool("cancel_dag_run", {"tool": "held", "dag_run_id": run["dag_run_id"]})
        assert content_of(cancelled)["state"] == "failed"
        assert (await calling).is_error


async def test_doctor_shows_how_long_the_inner_token_lasts(airflow: OwnAirflow) -> None:
    environ = clean_environ(
        DAGCALL_AIRFLOW_URL=airflow.url,
        DAGCALL_AIRFLOW_CLIENT_ID=CLIENT_ID,
        DAGCALL_AIRFLOW_CLIENT_SECRET=CLIENT_SECRET,
        DAGCALL_DAGS="*",
    )
    done = await asyncio.to_thread(run_dagcall, "doctor", "add", "--json", environ=environ)
    found = {check["name"]: check["found"] for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0, found
    assert found["auth manager"] == "Keycloak"
    assert found["token"] == "lasts 24 h, the token inside it 5 min; dagcall renews it before"
    assert found["may start runs"] == "granted on add"


async def test_client_credentials_log_in(serve: Serve, realm: Realm) -> None:
    before = realm.counts["client_credentials"]
    server = serve(DAGCALL_AIRFLOW_CLIENT_ID=CLIENT_ID, DAGCALL_AIRFLOW_CLIENT_SECRET=CLIENT_SECRET)
    async with client_of(server) as client:
        assert content_of(await client.call_tool("add", {"x": 2}))["results"] == {"total": 3}
    assert 1 <= realm.counts["client_credentials"] - before <= 3  # one for each kind of answer that shows nothing


async def test_account_with_rights_on_one_dag_publishes_only_this_dag(serve: Serve) -> None:
    async with client_of(serve("add")) as client:
        assert await dag_tools(client) == {"add"}
        assert content_of(await client.call_tool("add", {"x": 3}))["results"] == {"total": 4}


async def test_refused_run_names_the_missing_right(serve: Serve, record: Record) -> None:
    async with client_of(serve("viewer")) as client:
        refused = text_of(await client.call_tool("add", {"x": 4}))
    assert refused.startswith("Nothing was started")
    assert "it needs the right to create runs of dag add" in refused
    assert await record.runs_with("add", 4) == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"DAGCALL_AIRFLOW_USERNAME": "user", "DAGCALL_AIRFLOW_PASSWORD": "wrong"},
            "did not log in user 'user': wrong user name or password (403: Invalid credentials)",
        ),
        (
            {"DAGCALL_AIRFLOW_CLIENT_ID": "another", "DAGCALL_AIRFLOW_CLIENT_SECRET": CLIENT_SECRET},
            "did not log in client 'another': wrong secret, or not the client that Airflow itself uses (403",
        ),
    ],
)
async def test_refused_log_in_names_the_account(serve: Serve, settings: dict[str, str], sentence: str) -> None:
    assert serve(**settings).errors.until(lambda line: sentence in line, seconds=30)


async def test_token_is_renewed_before_the_token_inside_it_ends(serve: Serve, realm: Realm, record: Record) -> None:
    realm.access_seconds = 15
    server = serve("user")
    async with client_of(server) as client:
        calling = asyncio.create_task(client.call_tool("held", {"x": 5}))
        run = await record.the_new_run("held", 5)
        before = realm.counts["password"]
        await asyncio.sleep(40)
        assert await dag_tools(client) == set(DAGS)
        assert 1 <= realm.counts["password"] - before <= 4  # at most one each 12 s
        await record.end(run)
        assert content_of(await calling)["results"] == {"total": 6}
    _, errors = server.stop()
    assert "WARNING" not in errors


async def test_closed_session_hides_no_dag_and_ends_no_wait(serve: Serve, realm: Realm, record: Record) -> None:
    server = serve("user")
    async with client_of(server) as client:
        calling = asyncio.create_task(client.call_tool("held", {"x": 6}))
        run = await record.the_new_run("held", 6)
        before = realm.counts["password"]
        realm.close_sessions("user")
        await asyncio.sleep(CACHE_SECONDS + 3)
        assert await dag_tools(client) == set(DAGS)
        assert content_of(await client.call_tool("add", {"x": 6}))["results"] == {"total": 7}
        await record.end(run)
        assert content_of(await calling)["results"] == {"total": 7}
        assert realm.counts["password"] - before <= 2
    _, errors = server.stop()
    assert "not published" not in errors
    assert "WARNING" not in errors


async def test_realm_that_is_away_ends_no_wait_and_hides_no_dag(serve: Serve, realm: Realm, record: Record) -> None:
    realm.access_seconds = 15
    async with client_of(serve("user")) as client:
        calling = asyncio.create_task(client.call_tool("held", {"x": 7}))
        run = await record.the_new_run("held", 7)
        realm.is_away = True
        await asyncio.sleep(20)
        assert await dag_tools(client) == set(DAGS)
        realm.is_away = False
        await record.end(run)
        assert content_of(await calling)["results"] == {"total": 8}
