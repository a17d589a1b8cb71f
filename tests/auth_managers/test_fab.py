"""dagcall in front of an Airflow with the FAB auth manager, with accounts of different roles."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dagcall.airflow.auth_token import as_user, log_in
from dagcall.airflow.client import AirflowApi
from dagcall.airflow.credentials import Credentials, static_token
from dagcall.airflow.gate import Gate
from dagcall.airflow.rest import AirflowRest
from dagcall.errors import AirflowRefused
from tests.auth_managers.calls import client_of, content_of, dag_tools
from tests.auth_managers.conftest import Serve
from tests.auth_managers.fab import TOKEN_SECONDS, deactivate, fab_airflow
from tests.faults.record import Record
from tests.support.clients import text_of
from tests.support.commands import clean_environ, run_dagcall
from tests.support.nginx import nginx
from tests.support.own_airflow import OwnAirflow
from tests.support.terminal import terminal_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def airflow(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[OwnAirflow]:
    async with fab_airflow(tmp_path_factory.mktemp("fab"), terminal_of(request.config)) as running:
        yield running


async def test_account_with_the_role_user_can_do_everything(serve: Serve, record: Record) -> None:
    async with client_of(serve("user")) as client:
        assert await dag_tools(client) == {"add", "held", "broken", "approved"}
        assert content_of(await client.call_tool("add", {"x": 1}))["results"] == {"total": 2}
        failed = await client.call_tool("broken", {"x": 1})
        assert "ValueError: 1 is no good" in text_of(failed)
        calling = asyncio.create_task(client.call_tool("held", {"x": 1}))
        run = await record.the_new_run("held", 1)
        cancelled = await client.call_tool("cancel_dag_run", {"tool": "held", "dag_run_id": run["dag_run_id"]})
        assert content_of(cancelled)["state"] == "failed"
        assert (await calling).is_error


async def test_account_with_rights_on_one_dag_publishes_and_runs_only_this_dag(serve: Serve) -> None:
    server = serve("add")
    async with client_of(server) as client:
        assert await dag_tools(client) == {"add"}
        assert content_of(await client.call_tool("add", {"x": 2}))["results"] == {"total": 3}
    _, errors = server.stop()
    assert "ERROR" not in errors
    assert "WARNING" not in errors


@pytest.mark.parametrize(("account", "x"), [("viewer", 3), ("reader", 4)])
async def test_refused_run_names_the_missing_right(serve: Serve, record: Record, account: str, x: int) -> None:
    async with client_of(serve(account)) as client:
        refused = await client.call_tool("add", {"x": x})
    assert refused.is_error
    assert text_of(refused).startswith("Nothing was started")
    assert "it needs the right to create runs of dag add (with FAB: can_edit on DAG:add" in text_of(refused)
    assert await record.runs_with("add", x) == []


@pytest.mark.parametrize(("account", "may"), [("user", True), ("viewer", True), ("add", False)])
async def test_reading_dag_versions_needs_a_permission_of_its_own(
    airflow: OwnAirflow, account: str, *, may: bool
) -> None:
    gate = Gate()
    token = await log_in(airflow.url, as_user(account, account), gate=gate)
    rest = AirflowRest(airflow.url, Credentials(static_token(token), now=time.time), gate=gate)
    try:
        if may:
            assert {version.dag_id for version in await AirflowApi(rest).fetch_versions()} >= {"add", "held"}
        else:
            with pytest.raises(AirflowRefused, match=r"/dags/~/dagVersions \(403: Forbidden\)"):
                await AirflowApi(rest).fetch_versions()
    finally:
        await rest.aclose()


@pytest.mark.parametrize(
    ("account", "refused"),
    [
        ("user", set()),
        ("add", {"may read questions", "may read dag versions"}),
        ("approved", {"may read dag versions"}),
        ("reader", {"may start runs", "may change runs", "may read questions", "may read dag versions"}),
        ("viewer", {"may start runs", "may change runs"}),
    ],
)
async def test_doctor_names_missing_rights_and_uses_none(
    airflow: OwnAirflow, record: Record, account: str, refused: set[str]
) -> None:
    dag = "approved" if account == "approved" else "add"
    environ = clean_environ(
        DAGCALL_AIRFLOW_URL=airflow.url,
        DAGCALL_AIRFLOW_USERNAME=account,
        DAGCALL_AIRFLOW_PASSWORD=account,
        DAGCALL_DAGS="*",
    )
    before = await record.count("dags/~/dagRuns"), await record.count("eventLogs", owner=account)
    done = await asyncio.to_thread(run_dagcall, "doctor", dag, "--json", environ=environ)
    assert (await record.count("dags/~/dagRuns"), await record.count("eventLogs", owner=account)) == before
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["auth manager"]["found"] == "FAB"
    assert {name for name, check in checks.items() if check["found"].startswith("not granted")} == refused
    assert checks["may start runs"]["status"] == ("failure" if "may start runs" in refused else "ok")
    assert done.returncode == ("may start runs" in refused)


async def test_wrong_password_is_reported(serve: Serve) -> None:
    server = serve("user", password="wrong")
    line = server.errors.until(lambda line: "wrong user name or password" in line, seconds=30)
    assert "'user'" in line


async def test_token_that_expires_during_a_call_is_renewed(serve: Serve, record: Record) -> None:
    async with client_of(serve("user")) as client:
        calling = asyncio.create_task(client.call_tool("held", {"x": 5}))
        run = await record.the_new_run("held", 5)
        await asyncio.sleep(TOKEN_SECONDS + 5)
        async with Record(record.url, "admin") as renewed:
            await renewed.end(run)
        assert content_of(await calling)["results"] == {"total": 6}


async def test_person_answers_with_the_smallest_permissions(serve: Serve) -> None:
    async with client_of(serve("approved")) as client:
        assert await dag_tools(client) == {"approved"}
        asked = content_of(await client.call_tool("approved", {"x": 6}))
    assert asked["state"] == "awaiting_input"


async def test_account_deactivated_during_a_call_is_reported_with_its_run(
    serve: Serve, airflow: OwnAirflow, record: Record
) -> None:
    meta: Any = {"dagcall/wait_seconds": 60}
    async with client_of(serve("leaver")) as client:
        calling = asyncio.create_task(client.call_tool("held", {"x": 7}, meta=meta))
        run = await record.the_new_run("held", 7)
        await deactivate(airflow, "leaver")
        answer = await calling
    assert answer.is_error
    assert run["dag_run_id"] in text_of(answer)


async def test_doctor_names_a_deactivated_account(airflow: OwnAirflow) -> None:
    await deactivate(airflow, "leaver")
    environ = clean_environ(
        DAGCALL_AIRFLOW_URL=airflow.url,
        DAGCALL_AIRFLOW_USERNAME="leaver",
        DAGCALL_AIRFLOW_PASSWORD="leaver",
        DAGCALL_DAGS="*",
    )
    done = await asyncio.to_thread(run_dagcall, "doctor", "--json", environ=environ)
    failed = [check for check in json.loads(done.stdout)["checks"] if check["status"] == "failure"]
    assert [check["name"] for check in failed] == ["log-in"]
    assert "wrong user name or password" in failed[0]["found"]  # the name is masked: it is also the password
    assert "a deactivated account" in failed[0]["advice"]


@pytest.mark.parametrize(
    ("location", "pasted"),
    [("location /airflow/", "/airflow/home"), ("location /data/", "/data/home?tags=mcp")],
    ids=["kept", "replaced"],
)
async def test_airflow_is_reached_below_a_path_of_a_proxy(
    serve: Serve, airflow: OwnAirflow, tmp_path: Path, location: str, pasted: str
) -> None:
    meta: Any = {"dagcall/wait_seconds": 3}
    async with (
        nginx(tmp_path, f"{location} {{ proxy_pass {airflow.url}/; }}") as proxy,
        client_of(serve("user", DAGCALL_AIRFLOW_URL=proxy + pasted)) as client,
    ):
        assert content_of(await client.call_tool("add", {"x": 8}))["results"] == {"total": 9}
        assert content_of(await client.call_tool("held", {"x": 8}, meta=meta))["state"] == "running"
