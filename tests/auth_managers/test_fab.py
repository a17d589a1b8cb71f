"""dagcall in front of an Airflow with the FAB auth manager, with accounts of different roles."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client
from mcp_types import CallToolResult

from dagcall.airflow.client import AirflowApi
from dagcall.airflow.credentials import Credentials, static_token
from dagcall.airflow.gate import Gate
from dagcall.airflow.rest import AirflowRest, log_in
from dagcall.errors import AirflowRefused
from tests.auth_managers.conftest import Serve
from tests.auth_managers.fab import TOKEN_SECONDS, deactivate
from tests.e2e.clients import text_of
from tests.e2e.serving_process import HttpServer
from tests.faults.record import Record
from tests.support.own_airflow import OwnAirflow

pytestmark = pytest.mark.asyncio(loop_scope="package")
CALL_SECONDS = 120.0


@asynccontextmanager
async def client_of(server: HttpServer) -> AsyncIterator[Client]:
    async with asyncio.timeout(CALL_SECONDS), Client(server.url) as client:
        yield client


async def dag_tools(client: Client) -> set[str]:
    """Return the names of the tools that are dags."""
    own = {"wait_for_dag_run", "read_dag_result", "cancel_dag_run"}
    return {tool.name for tool in (await client.list_tools()).tools} - own


def content_of(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error, result.content
    assert isinstance(result.structured_content, dict)
    return result.structured_content


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
    token = await log_in(airflow.url, account, account, gate=gate)
    rest = AirflowRest(airflow.url, Credentials(static_token(token), now=time.time), gate=gate)
    try:
        if may:
            assert {version.dag_id for version in await AirflowApi(rest).fetch_versions()} >= {"add", "held"}
        else:
            with pytest.raises(AirflowRefused, match=r"/dags/~/dagVersions \(403: Forbidden\)"):
                await AirflowApi(rest).fetch_versions()
    finally:
        await rest.aclose()


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
